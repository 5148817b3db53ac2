// Opening the pond, and turning what the library answers into exit codes.
#pragma once

#include <string>

#include "headpond/headpond.h"
#include "settings.h"

namespace headpond::command {

/// Ends a command: main prints the text, if there is one, and exits with the code.
struct Failure {
  int exit = kError;
  std::string text;
};

/// The failure that a status stands for: nothing there is 1, a wrong argument 2, everything else 3, also a disk or a section that others
/// keep for too long. Who waits for something to come knows that time-out and says so.
Failure failure(const Status& status, const std::string& before = {});

/// The value, or a Failure.
template <class T>
T need(Result<T> result) {
  if (!result) throw failure(result.status());
  return std::move(*result);
}
void need(const Status& status);

/// The same for what holds from now on and should outlive the host: a Failure if it is in memory alone. `what`: "queue files: paused".
void need_saved(const Status& status, const std::string& what);

/// "headpond: ..." on standard error.
void say(const std::string& text);

/// Whether a command that finds no pond makes one.
enum class Missing { create, fail };

Pond open_pond(const Settings& settings, Missing missing);
/// Options of this process: the library's messages go to standard error.
Options process_options(const Settings& settings);

}  // namespace headpond::command
