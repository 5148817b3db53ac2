// headpond: the command. Parses the command line, runs the subcommand, and turns how it ended into an exit code.
#include <fmt/format.h>

#include <csignal>
#include <exception>
#include <iostream>

#include "arguments.h"
#include "session.h"
#include "stop.h"
#include "stream_io.h"

namespace {

using namespace headpond::command;

/// Answers -1 if there is something to run, else the exit code.
int parse(Parser& parser, int argc, char** argv) {
  add_global_options(parser);
  add_item_commands(parser);
  add_log_commands(parser);
  add_transfer_commands(parser);
  add_pond_commands(parser);
  try {
    parser.app.parse(protect(argc, argv));
    return -1;
  } catch (const CLI::ParseError& error) {
    // Help and version are the errors with code 0.
    if (error.get_exit_code() == 0) return parser.app.exit(error);
    say(fmt::format("{}\nheadpond --help shows what there is", error.what()));
    return kUsage;
  }
}

int run(const Parser& parser) {
  try {
    return parser.action();
  } catch (const Failure& failure) {
    if (!failure.text.empty()) say(failure.text);
    return failure.exit;
  } catch (const ReaderGone&) {
    return 128 + SIGPIPE;
  } catch (const std::exception& error) {
    say(error.what());
    return kError;
  }
}

}  // namespace

int main(int argc, char** argv) {
  Parser parser;
  const int parsed = parse(parser, argc, argv);
  if (parsed >= 0) return parsed;
  catch_signals();
  const int code = run(parser);  // the pond is closed when this returns
  if (stop_signal() != 0) die_of(stop_signal());
  if (code == 128 + SIGPIPE) die_of(SIGPIPE);
  return code;
}
