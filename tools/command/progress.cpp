#include "progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include "session.h"
#include "text.h"

namespace headpond::command {

namespace {

using namespace std::chrono_literals;

void put(const std::string& text) {
  [[maybe_unused]] auto written = ::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace

Progress::Progress(const Settings& settings, std::string verb, bool live)
    : verb_(std::move(verb)),
      live_(live && ::isatty(STDERR_FILENO)),
      talkative_(settings.verbose || ::isatty(STDERR_FILENO)),
      verbose_(settings.verbose),
      next_(begin_ + 500ms) {}  // what is done by then needs no progress

std::string Progress::figures(Clock::time_point now) const {
  const double seconds = std::max(1e-6, std::chrono::duration<double>(now - begin_).count());
  return fmt::format("{} items {}, {}, {:.1f} s, {} a second", show_count(items_), verb_, show_bytes(bytes_),
                     seconds, show_rate(static_cast<double>(items_) / seconds));
}

void Progress::show(std::uint64_t items, std::uint64_t bytes) {
  items_ = items;
  bytes_ = bytes;
  if (!live_) return;
  const auto now = Clock::now();
  if (now < next_) return;
  next_ = now + 200ms;
  shown_ = true;
  put("\r\033[K" + figures(now));
}

void Progress::erase() {
  if (shown_) put("\r\033[K");
  shown_ = false;
}

bool Progress::notice(const std::string& text) {
  if (!talkative_) return false;
  erase();
  say(text);
  return true;
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  erase();
  if (verbose_) say(figures(Clock::now()));
}

}  // namespace headpond::command
