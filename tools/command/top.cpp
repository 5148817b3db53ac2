// top: looks at the pond again and again. It reads shared memory only and takes nothing from anybody.
#include <langinfo.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <clocale>
#include <string_view>

#include "commands.h"
#include "headpond/headpond.h"
#include "session.h"
#include "stop.h"
#include "stream_io.h"
#include "table.h"
#include "text.h"
#include "top_view.h"

namespace headpond::command {

namespace {

using Clock = std::chrono::steady_clock;

/// The alternate screen, without a cursor and without echo; everything is as before when it goes.
class Screen {
 public:
  Screen() {
    keyboard_ = ::isatty(STDIN_FILENO) && ::tcgetattr(STDIN_FILENO, &before_) == 0;
    if (keyboard_) {
      termios now = before_;
      now.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
      now.c_cc[VSUSP] = _POSIX_VDISABLE;  // a stopped top would leave the terminal like this
      ::tcsetattr(STDIN_FILENO, TCSANOW, &now);
    }
    put("\033[?1049h\033[?25l");
  }
  ~Screen() {
    put("\033[?25h\033[?1049l");
    if (keyboard_) ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  void draw(const std::vector<std::string>& lines) {
    winsize size = {};
    ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    const std::size_t rows = size.ws_row > 0 ? size.ws_row : 24, wide = size.ws_col > 0 ? size.ws_col : 80;
    // Each line is overwritten and its rest erased: no flicker.
    std::string text = "\033[H";
    for (std::size_t i = 0; i < lines.size() && i < rows; ++i)
      text += cut(lines[i], wide) + (i + 1 < std::min(lines.size(), rows) ? "\033[K\n" : "\033[K");
    put(text + "\033[J");
  }

  /// Sleeps; answers whether q was typed.
  bool rest(milliseconds time) {
    const auto end = Clock::now() + time;
    while (stop_signal() == 0) {
      const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now()).count();
      if (left <= 0) return false;
      char key = 0;
      if (command::rest(static_cast<int>(left), keyboard_ ? STDIN_FILENO : -1)) {
        if (::read(STDIN_FILENO, &key, 1) <= 0) keyboard_ = false;
        if (key == 'q' || key == 'Q') return true;
      }
    }
    return false;
  }

 private:
  static void put(const std::string& text) { [[maybe_unused]] auto written = write_out(text); }

  termios before_ = {};
  bool keyboard_ = false;
};

bool shows_blocks() {
  std::setlocale(LC_CTYPE, "");
  return std::string_view(::nl_langinfo(CODESET)) == "UTF-8";
}

/// One look, with the time since the one before.
class Looker {
 public:
  Looker(const Pond& pond, TopView& view) : pond_(pond), view_(view) {}
  void look() {
    const auto now = Clock::now();
    view_.look(need(pond_.stats()), looked_ ? std::chrono::duration<double>(now - last_).count() : 0.0);
    last_ = now;
    looked_ = true;
  }

 private:
  const Pond& pond_;
  TopView& view_;
  bool looked_ = false;
  Clock::time_point last_;
};

int on_screen(const TopRequest& request, Looker& looker, const TopView& view) {
  Screen screen;
  for (std::uint64_t shown = 0; shown < request.count && stop_signal() == 0; ++shown) {
    looker.look();
    screen.draw(view.lines());
    if (screen.rest(request.interval)) return kDone;
  }
  return kDone;
}

int in_blocks(const Settings& settings, const TopRequest& request, Looker& looker, const TopView& view) {
  looker.look();
  Output output;
  for (std::uint64_t shown = 0; shown < request.count; ++shown) {
    rest(static_cast<int>(request.interval.count()));
    if (stop_signal() != 0) break;
    looker.look();
    if (settings.json) {
      output.add(json_line(view.json()));
    } else {
      for (const std::string& line : view.lines()) output.add(line + "\n");
      output.add("\n");
    }
    output.flush();
  }
  return kDone;
}

}  // namespace

int top(const Settings& settings, const TopRequest& request) {
  if (request.interval < milliseconds(10) || request.interval > std::chrono::hours(24))
    throw Failure{kUsage, "--interval is from 0.01 to 86400 seconds"};
  const Pond pond = open_pond(settings, Missing::fail);
  TopView view(shows_blocks());
  Looker looker(pond, view);
  if (::isatty(STDOUT_FILENO) && !settings.json) return on_screen(request, looker, view);
  return in_blocks(settings, request, looker, view);
}

}  // namespace headpond::command
