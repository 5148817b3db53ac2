// The inside of Claim and Reservation: how a claimed record becomes a handle that keeps its page, and what settles it.
#pragma once

#include "append.h"
#include "claim.h"
#include "headpond/queue.h"

namespace headpond::internal {

struct ClaimAccess {
  /// A Claim on what was just claimed, its page still pinned; the page is held by a hold pin from here on, or the payload copied if none is
  /// left. `share`: the hold of the claim before, if that is on the same page.
  static Claim make(Lane& lane, const Claimed& claimed, Claim* share = nullptr);
  static Reservation make(Lane& lane, const Place& place, int hold);

  /// What a settled claim leaves behind: its hold, its count, and perhaps a page that is over.
  static void release(Claim& claim, ThreadContext& me);
  /// Runs work(lane, claimed) -> Code with the claim's page held or pinned. fenced if it is settled or its page is gone.
  template <class Work>
  static Status with_claimed(Claim& claim, Work work);

  static Status ack(Claim& claim);
  static Status give_back(Claim& claim);
  static Status nack(Claim& claim, milliseconds delay);
  static Status extend(Claim& claim, milliseconds lease);
  static Status bury(Claim& claim, Bytes reason);
  static ItemId id(const Claim& claim);

  static ItemId commit(Reservation& reservation);
  static void abandon(Reservation& reservation);
  static Attachment* pond(const Claim& claim) { return claim.pond_; }
  static std::uint64_t word(const Claim& claim) { return claim.word_; }
};

/// Moves a claimed item to the dead letters. The page is pinned or held.
Code bury_claimed(Lane& lane, const Claimed& claimed, Cause cause, Bytes reason, std::int32_t pid, int signal);
/// The item's id: its birth id if it has moved, else lane and seq, found by a walk over the page.
ItemId id_of_record(const Lane& lane, const PageView& page, std::uint64_t offset, RecordWord word);

}  // namespace headpond::internal
