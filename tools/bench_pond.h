// Ponds of a benchmark's own.
#pragma once

#include <headpond/headpond.h>
#include <unistd.h>

#include <string>

#include "tools/bench_harness.h"

namespace headpond::bench {

inline const pid_t kRun = getpid();  // in all names, so that what a crashed round leaves can be found
constexpr int kMostPonds = 64;

inline std::string pond_name(int number) {
  return "bench-" + std::to_string(kRun) + "-" + std::to_string(number);
}

/// A pond's name and options; removed at the end of the round.
class TemporaryPond {
 public:
  explicit TemporaryPond(std::uint64_t limit_mib = 64) {
    static int number = 0;
    name_ = pond_name(++number % kMostPonds);
    options.limit_bytes = limit_mib << 20;
    options.on_full = OnFull::block;
    options.full_timeout = std::chrono::seconds(20);
  }
  ~TemporaryPond() { (void)Pond::remove(name_); }
  TemporaryPond(const TemporaryPond&) = delete;
  TemporaryPond& operator=(const TemporaryPond&) = delete;

  const std::string& name() const { return name_; }
  Pond open() const { return value_of(Pond::open(name_, options)); }

  Options options;

 private:
  std::string name_;
};

/// Those that a round has left that crashed.
inline void remove_temporary_ponds() {
  for (int number = 0; number < kMostPonds; ++number) (void)Pond::remove(pond_name(number));
}

}  // namespace headpond::bench
