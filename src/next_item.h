// The item that a claim gets: of the highest priority that has one, not paused, due, with attempts left; what is spilled comes back for it.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "lease.h"
#include "promote.h"
#include "queue_lanes.h"
#include "refill.h"
#include "unlink.h"

namespace headpond::internal {

/// The item has used up its attempts: to the dead letters instead of to a worker.
Code bury_spent(Lane& lane, const Claimed& claimed);
/// Claims whose time is over go back. True: some did.
bool look_at_leases(ThreadContext& me, Binding binding);
/// What an empty look does before it says so: dead workers' claims, expired leases, and a large empty tail. True: look again.
bool look_around(ThreadContext& me, Binding binding);

/// One claim in any priority. `use` gets the lane and the claim, its page pinned, and returns the page if that is over.
template <class Use>
Code claim_next(ThreadContext& me, Binding binding, bool look, Status& error, Use use) {
  StreamWords& stream = me.pond->segment().stream(binding.index());
  int taken = 0;
  for (bool again = true; again;) {
    again = false;
    std::optional<Promoted> promoted;
    std::uint32_t policy = stream.policy.load(std::memory_order_relaxed);
    if (policy & kPaused) [[unlikely]]
      return Lane(me, binding, 0).current() ? Code::paused : Code::not_found;
    if (stream.lanes.load(std::memory_order_acquire) >> kDelayedLane & 1 &&
        something_due(stream, sys::wall_ms())) [[unlikely]]
      promoted = promote_due(me, binding);
    if (policy & kLeased && ++me.claims_made % 64 == 0) [[unlikely]]
      look_at_leases(me, binding);
    Code code = by_priority(stream, [&](int number) {
      Lane lane(me, binding, number);
      std::vector<Claimed> unburied;
      struct GiveBack {
        Lane& lane;
        std::vector<Claimed>& claims;
        ~GiveBack() {
          for (Claimed& c : claims)
            if (lane.pin(c.page.reference, c.page)) give_back(lane, c);
          lane.unpin();
        }
      } later{lane, unburied};
      for (;;) {
        Claimed claimed;
        Code found = claim_refilling(lane, claimed);
        if (found != Code::ok) {
          if (!lane.error.ok()) error = std::move(lane.error);
          return found;
        }
        if (policy & kAttemptsLimited) [[unlikely]] {
          std::uint32_t most = stream.max_attempts.load(std::memory_order_relaxed);
          if (most && claimed.word.claims() > most) {
            Code buried = bury_spent(lane, claimed);
            if (buried == Code::ok || buried == Code::fenced) continue;
            // no room for it there: it waits on, undelivered, and does not stop what is behind it
            if (unburied.size() < 64) {
              unburied.push_back(claimed);
              continue;
            }
            PageView page;
            if (lane.pin(claimed.page.reference, page))
              give_back(lane, {page, claimed.offset, claimed.word, false, {}});
            return buried;
          }
        }
        if (policy & kLeased) [[unlikely]] {
          if (std::uint64_t lease = stream.lease_us.load(std::memory_order_relaxed))
            begin_lease(lane, claimed, sys::coarse_us() + lease);
        }
        Reference over = use(lane, claimed);
        if (over) [[unlikely]] {
          lane.unpin();
          unlink_done(lane, over);
        }
        if (lane.gap_ahead) [[unlikely]]
          prefetch(lane, lane.gap_ahead);
        return Code::ok;
      }
    });
    if (code == Code::empty && promoted) [[unlikely]] {
      if (promoted->more) {  // others took what had come back
        if (++taken == kRestarts) return Code::timeout;
        again = true;
        continue;
      }
      if (!promoted->failed.ok()) return error = std::move(promoted->failed), error.code();
    }
    if (code != Code::empty || !look) return code;
    again = look_around(me, binding);
    if (!again) return Code::empty;
  }
  return Code::empty;
}

}  // namespace headpond::internal
