#include "next_item.h"

#include "leftovers.h"
#include "move.h"
#include "reap.h"
#include "tier_side.h"

namespace headpond::internal {

Code bury_spent(Lane& lane, const Claimed& claimed) {
  LeaseWord last = claimed.before;
  return bury_claimed(lane, claimed, Cause::max_attempts, {},
                      last.is_death() ? static_cast<std::int32_t>(last.death_pid()) : 0,
                      last.is_death() ? static_cast<int>(last.death_signal()) : 0);
}

bool look_at_leases(ThreadContext& me, Binding binding) {
  StreamWords& stream = me.pond->segment().stream(binding.index());
  if (!(stream.policy.load(std::memory_order_relaxed) & kLeased)) return false;
  std::uint32_t lanes = stream.lanes.load(std::memory_order_acquire) | 1;
  bool returned = false;
  for (int n = 0; n < kPriorities; n++) {
    if (!(lanes >> n & 1)) continue;
    Lane lane(me, binding, n);
    returned |= expire_leases(lane) > 0;
  }
  return returned;
}

bool look_around(ThreadContext& me, Binding binding) {
  bool again = look_for_dead(me) > 0;
  if (me.pond->has_retired()) recycle(me, {});
  again |= look_at_leases(me, binding);
  if (me.pond->tier_side().take_death()) (void)erase_leftovers(me);
  std::uint32_t lanes = me.pond->segment().stream(binding.index()).lanes.load(std::memory_order_acquire) | 1;
  bool calm = ++me.empty_looks % 8 == 0;  // not between two items of a stream that flows
  for (int n = 0; calm && n < kPriorities; n++) {
    if (!(lanes >> n & 1)) continue;
    Lane lane(me, binding, n);
    unlink_first(lane);
    shrink_tail(lane);
  }
  if (calm) me.pond->tier_side().give_back_disk();
  return again;
}

}  // namespace headpond::internal
