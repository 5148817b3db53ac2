// From the command line to requests. One function for each group of subcommands; the subcommand that is chosen sets what to run.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "commands.h"

namespace headpond::command {

struct Parser {
  CLI::App app{
      "Queues and logs that the processes of one host share, in shared memory and without a daemon."};
  Settings settings;
  /// What the chosen subcommand will do, once everything is known.
  std::function<int()> action;

  /// A subcommand, whose help ends with an example, and its request, which lives as long as the parser.
  template <class Request>
  std::pair<CLI::App*, Request*> add(const char* name, int (*run)(const Settings&, const Request&),
                                     const char* text, const char* example) {
    auto request = std::make_shared<Request>();
    CLI::App* command = app.add_subcommand(name, text)->fallthrough();
    command->footer(std::string("Example:\n  ") + example);
    command->callback(
        [this, request, run] { action = [this, request, run] { return run(settings, *request); }; });
    return {command, request.get()};
  }
};

void add_global_options(Parser& parser);
void add_item_commands(Parser& parser);
void add_log_commands(Parser& parser);
void add_transfer_commands(Parser& parser);
void add_pond_commands(Parser& parser);

/// The arguments as CLI11 wants them: the last one first, and with a mark before those that it would take apart ("[1,2]" for a list of
/// two) or, behind "--", for options.
std::vector<std::string> protect(int argc, char** argv);
/// Without the mark.
std::string plain(const std::string& argument);

/// A required name, taken as it is.
CLI::Option* add_name(CLI::App* command, const char* name, std::string& target, const char* text);
/// Any number of arguments, taken as they are.
void add_raw(CLI::App* command, const char* name, std::vector<std::string>& target, const char* text);
/// Options of our own kinds: 64MiB; 1e6; 1e6 or "all"; 500ms.
template <class Value>
using Set = std::function<void(Value)>;
CLI::Option* add_size(CLI::App* command, const char* name, Set<std::uint64_t> set, const char* text);
CLI::Option* add_count(CLI::App* command, const char* name, Set<std::uint64_t> set, const char* text);
CLI::Option* add_most(CLI::App* command, const char* name, std::uint64_t& target, const char* text);
CLI::Option* add_seconds(CLI::App* command, const char* name, Set<milliseconds> set, const char* text);
/// -0: NUL instead of a newline.
void add_separator(CLI::App* command, char& separator, const char* text);
/// --lease, --max-attempts, --max-items, --max-bytes.
void add_limits(CLI::App* command, QueueLimits& limits);

}  // namespace headpond::command
