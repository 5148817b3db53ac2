// Bells: how those who wait are woken without a system call where nobody sleeps (protocol 6).
//
//   bell = count 30 | raised 1 | asleep 1, the futex word
//   1 waiter   bell |= raised | asleep, locked, remembers the result; membarrier; looks once more; sleeps if the bell is still that value
//   2 waker    after READY: if asleep, compare-exchange to count + 1, raised cleared, asleep kept; wakes one, or all
//   3 who woke fewer than it asked for compare-exchanges `asleep` away from exactly what it stored in 2
//
// Without `raised` a second raise would leave the word as it is, and 3 would clear the flag over one that has just gone to sleep.
// A waiter that is stopped may take one record's wake with it, so every sleep is bounded by kLongestSleep.
#pragma once

#include "segment.h"

namespace headpond::internal {

using Bell = std::atomic<std::uint32_t>;
constexpr std::uint32_t kAsleep = 1, kRaised = 2, kRing = 4;
constexpr std::uint64_t kLongestSleepUs = 100'000;

enum class Wake { one, all };

void ring_sleepers(Bell& bell, std::uint32_t seen, Wake wake);

/// After something became READY. Nothing but a load when nobody sleeps.
inline void ring(const Segment& segment, Bell& bell, Wake wake) {
  // else the waiter's membarrier is the fence
  if (!segment.uses_membarrier()) std::atomic_thread_fence(std::memory_order_seq_cst);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::uint32_t seen = bell.load(std::memory_order_acquire);
  if (seen & kAsleep) [[unlikely]]
    ring_sleepers(bell, seen, wake);
}

/// Step 1, up to the barrier. The caller looks, then sleeps on the value returned.
inline std::uint32_t arm(const Segment& segment, Bell& bell) {
  std::uint32_t value = bell.fetch_or(kRaised | kAsleep, std::memory_order_seq_cst) | kRaised | kAsleep;
  if (segment.uses_membarrier()) sys::barrier();
  return value;
}
inline void sleep_on(Bell& bell, std::uint32_t armed, std::uint64_t microseconds) {
  sys::futex_wait(bell, armed, microseconds < kLongestSleepUs ? microseconds : kLongestSleepUs);
}

}  // namespace headpond::internal
