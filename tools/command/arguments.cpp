#include "arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>

#include "headpond/headpond.h"
#include "text.h"

namespace headpond::command {

namespace {

constexpr char kMark = '\1';

/// An option whose text `parse` understands; else a usage error that says what would be understood.
template <class Value, class Parse>
CLI::Option* add_parsed(CLI::App* command, const char* name, Parse parse, Set<Value> set, const char* text,
                        const char* type, const char* examples) {
  const auto read = [=](const std::string& value) {
    const auto parsed = parse(plain(value));
    if (!parsed)
      throw CLI::ValidationError(name, fmt::format("'{}' is not understood: try {}", value, examples));
    set(*parsed);
  };
  return command->add_option_function<std::string>(name, read, text)->type_name(type);
}

std::optional<std::uint64_t> parse_most(std::string_view text) {
  return text == "all" ? std::optional(kAll) : parse_count(text);
}

}  // namespace

void add_global_options(Parser& parser) {
  CLI::App& app = parser.app;
  Settings& settings = parser.settings;
  const char* pond = std::getenv("HEADPOND_POND");
  settings.pond = pond != nullptr && *pond != '\0' ? pond : "default";
  app.name("headpond");
  app.add_option("--pond", settings.pond, "the pond, else $HEADPOND_POND, else default")->type_name("NAME");
  const auto take_scope = [&settings](const std::string& argument) {
    settings.scope = plain(argument);
    settings.scope_given = true;
  };
  app.add_option_function<std::string>("--scope", take_scope,
                                       "the scope of queues and logs, else the unnamed one")
      ->type_name("NAME");
  app.add_flag("--json", settings.json, "machine output: a line for each item, an object for figures");
  app.add_flag("-v,--verbose", settings.verbose, "say more on standard error");
  app.set_version_flag("--version", fmt::format("headpond {} (layout {})", version(), layout_version()));
  app.require_subcommand(1, 1);
  app.footer(
      "Exit codes: 0 done, 1 nothing there, 2 usage, 3 error.\n"
      "headpond COMMAND --help shows a command's options and an example.\n\n"
      "Example:\n  seq 1e6 | headpond push numbers && headpond pop numbers -n all | sort -n | tail -1");
}

std::vector<std::string> protect(int argc, char** argv) {
  std::vector<std::string> arguments;
  bool positional = false;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument == "--" && !positional) {
      positional = true;
      continue;
    }
    if (positional || argument.starts_with('[') || argument.starts_with(kMark)) argument.insert(0, 1, kMark);
    arguments.push_back(std::move(argument));
  }
  std::reverse(arguments.begin(), arguments.end());
  return arguments;
}

std::string plain(const std::string& argument) {
  return argument.starts_with(kMark) ? argument.substr(1) : argument;
}

CLI::Option* add_name(CLI::App* command, const char* name, std::string& target, const char* text) {
  const auto take = [&target](const std::string& argument) { target = plain(argument); };
  return command->add_option_function<std::string>(name, take, text)->required()->type_name("");
}

void add_raw(CLI::App* command, const char* name, std::vector<std::string>& target, const char* text) {
  // As results, not as a vector of strings, since CLI11 takes "{}" for an empty one.
  const auto take = [&target](const CLI::results_t& results) {
    std::transform(results.begin(), results.end(), std::back_inserter(target), plain);
    return true;
  };
  command->add_option(name, take, text)->expected(0, -1)->allow_extra_args()->type_name("");
}

CLI::Option* add_size(CLI::App* command, const char* name, Set<std::uint64_t> set, const char* text) {
  return add_parsed(command, name, parse_size, std::move(set), text, "SIZE", "64MiB, 8M, 1g or bytes");
}

CLI::Option* add_count(CLI::App* command, const char* name, Set<std::uint64_t> set, const char* text) {
  return add_parsed(command, name, parse_count, std::move(set), text, "N", "250000 or 1e6");
}

CLI::Option* add_most(CLI::App* command, const char* name, std::uint64_t& target, const char* text) {
  const Set<std::uint64_t> set = [&target](std::uint64_t value) { target = value; };
  return add_parsed(command, name, parse_most, set, text, "N", "250000, 1e6 or all");
}

CLI::Option* add_seconds(CLI::App* command, const char* name, Set<milliseconds> set, const char* text) {
  return add_parsed(command, name, parse_seconds, std::move(set), text, "SECONDS",
                    "2, 0.5, 500ms, 5m, 1h or forever");
}

void add_separator(CLI::App* command, char& separator, const char* text) {
  command->add_flag_callback(
      "-0,--null", [&separator] { separator = '\0'; }, text);
}

void add_limits(CLI::App* command, QueueLimits& limits) {
  add_seconds(
      command, "--lease", [&](milliseconds v) { limits.lease = v; },
      "a claim ends after this time, 0: with its worker only");
  add_count(
      command, "--max-attempts", [&](std::uint64_t v) { limits.max_attempts = v; },
      "claims without an ack until an item is a dead letter, 0: never");
  add_count(
      command, "--max-items", [&](std::uint64_t v) { limits.max_items = v; },
      "items of a queue, 0: no limit");
  add_size(
      command, "--max-bytes", [&](std::uint64_t v) { limits.max_bytes = v; },
      "bytes of a queue, 0: no limit");
}

}  // namespace headpond::command
