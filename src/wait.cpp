#include "wait.h"

#include <climits>

namespace headpond::internal {

void ring_sleepers(Bell& bell, std::uint32_t seen, Wake wake) {
  while (seen & kAsleep) {
    std::uint32_t rung = (seen + kRing) & ~kRaised;
    if (!bell.compare_exchange_weak(seen, rung, std::memory_order_acq_rel)) continue;
    int woken = sys::futex_wake(bell, wake == Wake::one ? 1 : INT_MAX);
    if (wake == Wake::all || woken < 1)
      bell.compare_exchange_strong(rung, rung & ~kAsleep, std::memory_order_acq_rel);
    return;
  }
}

}  // namespace headpond::internal
