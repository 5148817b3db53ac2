#include "arguments.h"

namespace headpond::command {

void add_pond_commands(Parser& parser) {
  {
    const auto [command, request] =
        parser.add("create", create, "Make the pond, if it is not there, with limits of your own",
                   "headpond --pond ingest create --limit 64MiB --max-attempts 5");
    CreateRequest* r = request;
    add_size(
        command, "--limit", [r](std::uint64_t v) { r->limit_bytes = v; },
        "memory for items: 1MiB to 64GiB (256MiB)");
    add_count(
        command, "--max-participants", [r](std::uint64_t v) { r->max_participants = v; },
        "processes at once: 1 to 4094 (4094)");
    add_size(
        command, "--min-page", [r](std::uint64_t v) { r->min_page_bytes = v; },
        "smallest page: 1KiB to 64KiB (1KiB)");
    add_size(
        command, "--max-page", [r](std::uint64_t v) { r->max_page_bytes = v; },
        "largest page: 1KiB to 64KiB (64KiB)");
    add_limits(command, r->limits);
  }
  parser.add("ls", ls, "List queues and logs, of all scopes or of --scope", "headpond ls");
  parser.add("stat", stat, "Show the pond's figures", "headpond --json stat | jq .page_bytes");
  {
    const auto [command, request] = parser.add(
        "top", top, "Watch rates, depths, workers and memory; q ends it", "headpond top --interval 0.5");
    add_seconds(
        command, "-i,--interval", [r = request](milliseconds v) { r->interval = v; },
        "between two looks (1)");
    add_most(command, "-n,--count", request->count, "end after this many, or all (all)");
  }
  parser.add("verify", verify, "Check every invariant of the pond; exit code 3 if one is broken",
             "headpond verify");
  parser.add("reap", reap, "Clean up after dead workers now, and print how many there were", "headpond reap");
  {
    const auto [command, request] =
        parser.add("gc", gc, "Park queues and logs that nobody uses, and drop those that nobody will",
                   "headpond gc --spill-idle 3600 --drop-idle 604800");
    add_seconds(
        command, "--spill-idle", [r = request](milliseconds v) { r->limits.spill_idle = v; },
        "to the disk after so long without use (never)");
    add_seconds(
        command, "--drop-idle", [r = request](milliseconds v) { r->limits.drop_idle = v; },
        "dropped, with all they hold, after so long (never)");
  }
  parser.add("flush", flush, "Wait until all that was posted to be durable is on disk", "headpond flush");
  {
    const auto [command, request] =
        parser.add("rm", rm, "Remove the pond with all it holds", "headpond --pond ingest rm");
    command->add_flag("--keep-state", request->keep_state, "keep what its state folder holds");
  }
  parser.add("doctor", doctor,
             "Check what this host offers, and say what to change; exit code 3 if something is wrong",
             "headpond doctor");
}

}  // namespace headpond::command
