// The process that was attached before the kill: what it does and sees afterwards.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "operations.h"

namespace crash {

/// A survivor found what may not be.
struct Problem : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// How survivors fared, over all kills.
struct Recoveries {
  std::atomic<std::uint64_t> slowest_us, late_wakes;
};

/// What waits so long waits in vain: there is room for a machine that stands still for some seconds.
constexpr std::chrono::seconds kLong{60};
/// HEADPOND_TIME_FACTOR
int time_factor();

std::string joined(const std::vector<std::string>& tokens);

/// What the survivor does and sees after the kill.
class Survivor {
 public:
  Survivor(const Operation& operation, Stage& stage, Scratch& scratch, Recoveries& recoveries)
      : op_(operation), stage_(stage), scratch_(scratch), recoveries_(recoveries) {}

  /// Somebody who does not know yet that anybody is dead goes on with what looks left over: what the dead one's journals take back may be nothing of that.
  void sweep();

  /// Everything is finished or undone and the pond works, in time.
  void recover(bool waiter);

  void verify(const char* when);
  void only_survivors_are_left(std::uint64_t others);

  /// The next flush saves what is in memory: what a loss of the segment leaves from then on.
  std::string save();

  /// What is set, and read before the rest: so that everything can be taken out.
  std::string settings();

  /// The rest of the state as text, by taking everything out.
  std::string observe();

  /// What is dropped, or set back, is so after a loss of the segment, too.
  void nothing_is_left_on_disk();

  /// With everything out, all memory comes back.
  void nothing_is_left();

 private:
  std::vector<std::string> drain(headpond::Queue& queue);

  const Operation& op_;
  Stage& stage_;
  Scratch& scratch_;
  Recoveries& recoveries_;
};

}  // namespace crash
