// Moving an item to the end of another lane, exactly once: dead letters, redrive, retry later, a delayed item that is due (protocol 2, move).
//
//   1 reserve at the destination: FREE -> WRITING(me)
//   2 payload; the source {reference, offset, claims} into the record's own space
//   3 the header again, with `intent`
//     of a durable item: posted to the journal (posting.h)
//   4 commit: the source CLAIMED(me, claims) -> DONE(me, claims), where an ack leaves no owner
//   5 committed: WRITING -> READY by compare-exchange, wake; else DONE over the reservation
//   6 unpin, then unhold
//
//   killed            the destination is          the source is          so the reaper
//   before 3          WRITING                     CLAIMED                abandons, returns
//   between 3 and 4   WRITING, intent             CLAIMED                abandons, returns
//   between 4 and 5   WRITING, intent             DONE(dead, claims)     makes it READY: the dead one's hold keeps the evidence
//   after 5           READY                       DONE(dead, claims)     has nothing to do
#pragma once

#include "append.h"
#include "claim.h"

namespace headpond::internal {

/// What the item is in its new place.
struct Move {
  Parts payload;
  ItemId birth;
  std::uint32_t claims = 0, crashes = 0;
  std::uint64_t stamp_us = 0;
  std::uint64_t due_ms = 0;  // into the delayed lane: lowers its `due` before READY
};

/// Moves what is claimed to the end of `to`. ok; fenced: the claim was lost; full, timeout, not_found (the destination is gone), corruption:
/// the claim stands. The source's page must be pinned or held by the caller; it is held by the thread's move pin meanwhile and the
/// operation pin is free afterwards.
Code move(Lane& to, const Claimed& source, const Move& item);

/// The item's id: its birth id if it has moved, else lane and seq, found by a walk over the page.
ItemId id_of_record(const Lane& lane, const PageView& page, std::uint64_t offset, RecordWord word);
/// Moves a claimed item to the dead letters. The page is pinned or held.
Code bury_claimed(Lane& lane, const Claimed& claimed, Cause cause, Bytes reason, std::int32_t pid,
                  int signal);

}  // namespace headpond::internal
