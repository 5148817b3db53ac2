// What top shows: rates from the differences of two looks, and the lines they make.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "headpond/headpond.h"
#include "text.h"

namespace headpond::command {

class TopView {
 public:
  /// `sparks`: the terminal shows block characters; else '#' and '.' draw the bars.
  explicit TopView(bool sparks) : sparks_(sparks) {}

  /// The next look, so many seconds after the one before; 0 for the first, which has no rates.
  void look(Stats stats, double seconds);
  std::vector<std::string> lines() const;
  Json json() const;

 private:
  struct Row {
    StreamInfo info;
    std::uint64_t in = 0, out = 0;      // items that came and went, since ever
    double in_rate = 0, out_rate = 0;   // a second
    std::uint64_t depth = 0;            // items or records that are there
    std::deque<std::uint64_t> history;  // of the depth, the latest last
  };
  using Key = std::tuple<StreamInfo::Kind, std::string, std::string, std::string>;

  std::string bar(double share, std::size_t width) const;
  std::string spark(const std::deque<std::uint64_t>& history) const;
  std::string durable_line() const;
  Json json_durable() const;
  std::string rate(double per_second) const { return rates_ ? show_rate(per_second) : "-"; }
  std::vector<const Row*> busiest_first() const;

  const bool sparks_;
  bool rates_ = false;
  double commit_rate_ = 0;  // a second
  Stats stats_;
  std::map<Key, Row> rows_;
};

}  // namespace headpond::command
