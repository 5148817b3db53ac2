#include "arguments.h"

namespace headpond::command {

namespace {

constexpr const char* kQueue = "the queue's name";

void add_feed(CLI::App* command, FeedRequest& request, const char* ids) {
  add_separator(command, request.separator, "items of standard input end with NUL, not a newline");
  command->add_flag("--no-wait", request.no_wait, "if there is no room, fail instead of waiting");
  command->add_flag("--durable", request.durable, "end only when SQLite has them: they survive the host");
  command->add_flag(ids, request.show_ids, "print the number that each item got");
}

void add_push(Parser& parser) {
  const auto [command, request] =
      parser.add("push", push, "Put items into a queue: the arguments, else each line of standard input",
                 "find . -name '*.jpg' -print0 | headpond push -0 pictures");
  add_name(command, "QUEUE", request->queue, kQueue);
  add_raw(command, "ITEM", request->items, "the items, after -- if one may begin with -");
  add_seconds(
      command, "--delay", [r = request](milliseconds v) { r->delay = v; }, "ready only after this time");
  command->add_option("--priority", request->priority, "0 to 7, a higher one is claimed first")
      ->check(CLI::Range(0, 7))
      ->type_name("N");
  add_feed(command, *request, "--ids");
}

void add_pop(Parser& parser) {
  const auto [command, request] =
      parser.add("pop", pop, "Take items out: each is gone once it is written, and stays if it is not",
                 "headpond pop -0 pictures -n all --wait 5 | xargs -0 -n1 shrink");
  add_name(command, "QUEUE", request->queue, kQueue);
  add_most(command, "-n,--count", request->most, "at most this many, or all (1)");
  add_seconds(
      command, "-w,--wait", [r = request](milliseconds v) { r->wait = v; },
      "how long to wait for the next item (0), or forever");
  add_separator(command, request->separator, "end each item with NUL, not a newline");
}

void add_looks(Parser& parser) {
  {
    const auto [command, request] = parser.add("peek", peek, "Show the items that would be popped next",
                                               "headpond peek pictures -n 10 --long");
    add_name(command, "QUEUE", request->queue, kQueue);
    add_most(command, "-n,--count", request->most, "at most this many, or all (1)");
    command->add_flag("-l,--long", request->details, "id, priority, attempts and crashes before the item");
    add_separator(command, request->separator, "end each item with NUL, not a newline");
  }
  {
    const auto [command, request] =
        parser.add("dead", dead, "Show the dead letters, oldest first, or send them back",
                   "headpond dead pictures --redrive");
    add_name(command, "QUEUE", request->queue, kQueue);
    add_most(command, "-n,--count", request->most, "at most this many, or all (all)");
    command->add_flag("--redrive", request->redrive, "put them into the queue again, and print how many");
  }
}

void add_cancel(Parser& parser) {
  const auto [command, request] =
      parser.add("cancel", cancel, "Take one item out, wherever it waits", "headpond cancel pictures 17");
  add_name(command, "QUEUE", request->queue, kQueue);
  add_count(
      command, "ID", [r = request](std::uint64_t v) { r->id = v; },
      "its id, as push --ids and peek --long print it")
      ->required()
      ->type_name("");
}

void add_states(Parser& parser) {
  {
    const auto [command, request] = parser.add(
        "pause", pause, "Deliver nothing until it is resumed; pushing goes on", "headpond pause pictures");
    add_name(command, "QUEUE", request->queue, kQueue);
  }
  {
    const auto [command, request] =
        parser.add("resume", resume, "End a pause or a drain", "headpond resume pictures");
    add_name(command, "QUEUE", request->queue, kQueue);
  }
  {
    const auto [command, request] =
        parser.add("drain", drain, "Take no more items, and wait until all there are have been done",
                   "headpond drain pictures --wait 10m && headpond rm");
    add_name(command, "QUEUE", request->queue, kQueue);
    add_seconds(
        command, "-w,--wait", [r = request](milliseconds v) { r->wait = v; }, "how long (forever)");
  }
  {
    const auto [command, request] =
        parser.add("configure", configure, "Change a queue's limits, or show them",
                   "headpond configure pictures --max-attempts 5 --lease 10m");
    add_name(command, "QUEUE", request->queue, kQueue);
    add_limits(command, request->limits);
  }
  {
    const auto [command, request] = parser.add(
        "clear", clear, "Drop every item of a queue, or everything in the scope, and print how many",
        "headpond --scope order-42 clear");
    const auto take = [r = request](const std::string& argument) { r->queue = plain(argument); };
    command->add_option_function<std::string>("QUEUE", take, "the queue's name; without it the whole scope")
        ->type_name("");
  }
}

}  // namespace

void add_item_commands(Parser& parser) {
  add_push(parser);
  add_pop(parser);
  add_looks(parser);
  add_cancel(parser);
  add_states(parser);
}

}  // namespace headpond::command
