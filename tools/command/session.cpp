#include "session.h"

#include <fmt/format.h>
#include <unistd.h>

namespace headpond::command {

namespace {

int exit_code(Code code) {
  switch (code) {
    case Code::ok: return kDone;
    case Code::empty:
    case Code::paused:
    case Code::not_found: return kNothing;
    case Code::invalid: return kUsage;
    default: return kError;
  }
}

}  // namespace

Failure failure(const Status& status, const std::string& before) {
  std::string text = status.text();
  if (text.empty()) text = name(status.code());
  return {exit_code(status.code()), before.empty() ? text : before + ": " + text};
}

void need(const Status& status) {
  if (!status) throw failure(status);
}

void need_saved(const Status& status, const std::string& what) {
  need(status);
  if (status.cause() != Code::ok)
    throw Failure{
        kError, fmt::format("{}, in memory alone, and lost with the host: {}; then `headpond flush` saves it",
                            what, status.text())};
}

void say(const std::string& text) {
  // One write, so that lines of several processes do not mix.
  std::string line = "headpond: " + text + "\n";
  [[maybe_unused]] auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

Options process_options(const Settings& settings) {
  Options options;
  options.log = [verbose = settings.verbose](Severity severity, std::string_view text) {
    if (verbose || severity >= Severity::warning) say(std::string(text));
  };
  return options;
}

Pond open_pond(const Settings& settings, Missing missing) {
  const Options options = process_options(settings);
  return need(missing == Missing::create ? Pond::open(settings.pond, options)
                                         : Pond::open_existing(settings.pond, options));
}

}  // namespace headpond::command
