// What every subcommand gets, and what it answers.
#pragma once

#include <string>

namespace headpond::command {

/// Exit codes. A command that a signal ended dies of that signal, as shells expect.
enum Exit : int { kDone = 0, kNothing = 1, kUsage = 2, kError = 3 };

/// The options that stand before, or after, any subcommand.
struct Settings {
  std::string pond;
  std::string scope;
  bool scope_given = false;  // --scope "" is the unnamed scope, no --scope may mean all of them
  bool json = false;
  bool verbose = false;
};

}  // namespace headpond::command
