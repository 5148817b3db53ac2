// Claiming, and what ends a claim: ack, nack, expiry (protocol 2).
#pragma once

#include "lane.h"

namespace headpond::internal {

/// A claimed record. `page` is pinned, or held by a hold pin.
struct Claimed {
  PageView page;
  std::uint64_t offset = 0;
  RecordWord word;       // the exact CLAIMED word: the fence
  bool crashed = false;  // give_back() counts a crash
  LeaseWord before;      // the lease word before the claim: perhaps who died with the item
  bool passed = false;   // its walk has passed a record that may be READY by now
};

/// The lane's next READY record -> CLAIMED(me), its page left pinned. Codes: ok; empty; timeout (something is on its way out or held up);
/// not_found (the stream is gone); corruption. Uses and moves this thread's private cursor.
Code claim(Lane& lane, Claimed& out);
/// The same for the record at that place, which was READY a moment ago. False: lost. Does not look whether the stream was cleared.
bool claim_at(Lane& lane, const PageView& page, std::uint64_t offset, RecordWord ready, Claimed& out);

/// The record behind a claimed one in the same page, if it is READY: claimed, too. False: not so, or lost.
bool claim_following(Lane& lane, Claimed& claimed);

/// CLAIMED -> DONE by compare-exchange of the exact word. False: fenced. REQUIRES: the page is pinned and validated, or held: then it is in
/// the life in which it was claimed, and a record that is somebody else's by now has another word.
bool ack(Lane& lane, const Claimed& claimed);
/// CLAIMED -> RETURNING(me) -> epochs raised -> READY. False: fenced. REQUIRES as above.
bool give_back(Lane& lane, const Claimed& claimed);
/// From RETURNING(owner) on: raises the page's epoch, then the lane's, in this order, so that no hint and no cursor hides the record.
void raise_epochs(Lane& lane, const PageView& page);

/// After an ack: was it the last record of a page that has a next? Then the page can go.
bool page_is_over(const PageView& page);

/// If a live mover was stopped between its commit and READY, does the last step for it. REQUIRES: the page is pinned; `word` is WRITING with intent.
void help_move(Lane& lane, const PageView& page, std::uint64_t offset, RecordWord word);

}  // namespace headpond::internal
