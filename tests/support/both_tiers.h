// A scenario twice: in a default segment, where everything stays in memory, and in one of 8 MiB, of which most goes through the durable tier.
//
//   class Sorting : public BothTiers {};
//   TEST_P(Sorting, ...) { ...; must(log.append(patterned(n, bytes(200, 16 << 10)))); ...; expect_spilled(log); }
//   IN_BOTH_TIERS(Sorting);
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "test_pond.h"

namespace support {

enum class Tiers { memory, both };

class BothTiers : public ::testing::TestWithParam<Tiers> {
 protected:
  static bool spills() { return GetParam() == Tiers::both; }
  /// What the scenario has, or as much more as makes it spill.
  static std::uint64_t bytes(std::uint64_t usual, std::uint64_t to_spill) {
    return spills() ? to_spill : usual;
  }
  static Options options() {
    Options options;
    options.durable_timeout = stretched(milliseconds(60'000));
    if (!spills()) return options;
    options.limit_bytes = 8 << 20, options.on_full = OnFull::spill;
    options.full_timeout = stretched(milliseconds(60'000));
    return options;
  }
  /// Of what is there now, a good part is in the durable tier; or nothing, in memory.
  static void expect_spilled(const Queue& queue) {
    const QueueStats stats = must(queue.stats());
    expect_spilled(stats.spilled, stats.ready + stats.claimed);
  }
  static void expect_spilled(const Log& log) {
    const LogStats stats = must(log.stats());
    expect_spilled(stats.spilled, stats.records);
  }
  static void expect_spilled(std::uint64_t spilled, std::uint64_t there) {
    if (spills()) {
      EXPECT_GT(spilled, there / 4) << "of " << there;
    } else {
      EXPECT_EQ(spilled, 0u) << "of " << there;
    }
  }
  static void expect_all_end_well(std::vector<Process>& processes) {
    for (std::size_t i = 0; i < processes.size(); ++i) EXPECT_EQ(processes[i].wait(), 0) << "process " << i;
  }

  TestPond test{options()};
};

#define IN_BOTH_TIERS(suite)                                                                               \
  INSTANTIATE_TEST_SUITE_P(                                                                                \
      , suite, ::testing::Values(::support::Tiers::memory, ::support::Tiers::both), [](const auto& info) { \
        return std::string(info.param == ::support::Tiers::memory ? "InMemory" : "In8MiBAndSpilled");      \
      })

}  // namespace support
