#include "lease.h"

#include "each.h"

namespace headpond::internal {

void begin_lease(Lane&, const Claimed& claimed, std::uint64_t deadline_us) {
  Word& lease = claimed.page.lease(claimed.offset);
  for (;;) {
    LeaseWord seen{lease.load(std::memory_order_acquire)};
    // somebody has begun it already, or the claim is dead
    if (seen.is_lease_of(claimed.word) || seen.is_death_of(claimed.word)) return;
    if (claimed.page.word(claimed.offset).load(std::memory_order_acquire) != claimed.word.raw) return;
    std::uint64_t expected = seen.raw;
    if (lease.compare_exchange_strong(expected,
                                      LeaseWord::make(claimed.word.claims(), false, deadline_us).raw,
                                      std::memory_order_acq_rel))
      return;
  }
}

bool extend_lease(Lane& lane, const Claimed& claimed, std::uint64_t deadline_us) {
  Word& lease = claimed.page.lease(claimed.offset);
  for (;;) {
    LeaseWord seen{lease.load(std::memory_order_acquire)};
    if (claimed.page.word(claimed.offset).load(std::memory_order_acquire) != claimed.word.raw) return false;
    if (!seen.is_lease_of(claimed.word)) {
      if (seen.is_death_of(claimed.word)) return false;
      begin_lease(lane, claimed, deadline_us);
      continue;
    }
    if (seen.mark()) return false;
    if (seen.value() >= deadline_us) return true;
    std::uint64_t expected = seen.raw;
    if (lease.compare_exchange_strong(expected,
                                      LeaseWord::make(claimed.word.claims(), false, deadline_us).raw,
                                      std::memory_order_acq_rel))
      return true;
  }
}

std::uint64_t expire_leases(Lane& lane) {
  std::uint64_t looked = std::exchange(lane.me.leases_looked_us, sys::coarse_us()),
                of = std::exchange(lane.me.leases_of,
                                   lane.binding.raw * 16 + static_cast<unsigned>(lane.number));
  // the clock has not moved since
  if (looked == lane.me.leases_looked_us && of == lane.me.leases_of) return 0;
  std::uint64_t now = lane.me.leases_looked_us, time = lane.stream.lease_us.load(std::memory_order_relaxed),
                returned = 0;
  std::uint64_t next = UINT64_MAX;
  Unpin unpin{lane};
  auto claimed_from = [](const PageView& page) {
    return page.header->disturbed.load(std::memory_order_acquire) != 0;
  };
  (void)for_each_record(
      lane, claimed_from, [&](const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t) {
        if (word.state() != RecordState::claimed) return Visit::go_on;
        Claimed claimed{page, offset, word, false, {}};
        LeaseWord lease{page.lease(offset).load(std::memory_order_acquire)};
        if (lease.is_death_of(word)) {  // its reaper was killed, or stopped, after it had written the cause
          if (word.crashes() < 255) claimed.crashed = true;
          returned += give_back(lane, claimed);
          return Visit::go_on;
        }
        if (word.sole()) return Visit::go_on;
        if (!lease.is_lease_of(word)) {
          if (time) begin_lease(lane, claimed, now + time);
          return Visit::go_on;
        }
        if (!lease.mark()) {
          if (lease.value() > now) {
            next = std::min(next, lease.value());
            return Visit::go_on;
          }
          std::uint64_t expected = lease.raw;
          if (!page.lease(offset).compare_exchange_strong(
                  expected, LeaseWord::make(word.claims(), true, lease.value()).raw,
                  std::memory_order_acq_rel))
            return Visit::go_on;
        }
        returned += give_back(lane, claimed);
        return Visit::go_on;
      });
  lane.me.next_lease_us = next;
  return returned;
}

}  // namespace headpond::internal
