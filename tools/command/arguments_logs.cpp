#include "arguments.h"

namespace headpond::command {

namespace {

/// A log has a name of two parts.
template <class Request>
void add_log(CLI::App* command, Request& request) {
  add_name(command, "NS", request.ns, "the log's namespace");
  add_name(command, "KEY", request.key, "the log's key there");
}

}  // namespace

void add_log_commands(Parser& parser) {
  {
    const auto [command, request] = parser.add(
        "append", append, "Append records to a log: the arguments, else each line of standard input",
        "tail -F app.log | headpond append logs app");
    add_log(command, *request);
    add_raw(command, "VALUE", request->items, "the records, after -- if one may begin with -");
    add_separator(command, request->separator, "records of standard input end with NUL, not a newline");
    command->add_flag("--no-wait", request->no_wait, "if there is no room, fail instead of waiting");
    command->add_flag("--durable", request->durable, "end only when SQLite has them: they survive the host");
    command->add_flag("--seqs", request->show_ids, "print the seq that each record got");
  }
  {
    const auto [command, request] = parser.add("scan", scan, "Print records: seq, a tab, the value",
                                               "headpond scan logs app --after 17 --follow");
    add_log(command, *request);
    command->add_option("--after", request->after, "records with a greater seq (0)")->type_name("SEQ");
    add_most(command, "-n,--count", request->most, "at most this many, or all (all)");
    command->add_flag("-f,--follow", request->follow, "then wait for more");
    add_separator(command, request->separator, "end each record with NUL, not a newline");
  }
  {
    const auto [command, request] =
        parser.add("trim", trim, "Drop the records below a seq, and print how far the log is trimmed",
                   "headpond trim logs app 1000");
    add_log(command, *request);
    add_count(
        command, "BELOW", [r = request](std::uint64_t v) { r->below = v; },
        "the lowest seq to keep; without it what every cursor has committed is dropped")
        ->type_name("");
  }
  {
    const auto [command, request] =
        parser.add("cursor", cursor, "Print a reader's committed place, or move it forward",
                   "headpond cursor logs app mailer 17");
    add_log(command, *request);
    add_name(command, "NAME", request->name, "the cursor's name");
    CLI::Option* seq = add_count(
        command, "SEQ", [r = request](std::uint64_t v) { r->seq = v; },
        "the last seq that was read: the cursor's place from now on");
    seq->type_name("");
    command->add_flag("--drop", request->drop, "forget the cursor")->excludes(seq);
  }
}

}  // namespace headpond::command
