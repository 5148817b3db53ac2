// What a long command says on standard error meanwhile.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "settings.h"

namespace headpond::command {

/// A line that is rewritten in place if standard error is a terminal; with --verbose a summary at the end, terminal or not; else nothing.
class Progress {
 public:
  /// `verb` as in "3 items pushed". `live` false: no line in place, because the items themselves go over the terminal.
  Progress(const Settings& settings, std::string verb, bool live);
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(std::uint64_t items, std::uint64_t bytes);
  /// The same figures once more, while nothing comes.
  void refresh() { show(items_, bytes_); }
  /// A sentence of its own, once, for people: on a terminal, or with --verbose. Answers whether it was said.
  bool notice(const std::string& text);
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  std::string figures(Clock::time_point now) const;
  void erase();

  std::string verb_;
  bool live_;
  bool talkative_;
  bool verbose_;
  bool shown_ = false;
  bool finished_ = false;
  std::uint64_t items_ = 0;
  std::uint64_t bytes_ = 0;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point next_;
};

}  // namespace headpond::command
