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

/// Keeps a page by the thread's hold pin, so that its operation pin is free. REQUIRES: the page is pinned, and no move is under way.
class ThreadHold {
 public:
  ThreadHold(ThreadContext& me, Reference page) : me_(me) {
    me_.pins->hold.store(page.page(), std::memory_order_seq_cst);  // before the operation pin goes
  }
  ~ThreadHold() { me_.pins->hold.store(0, std::memory_order_release); }
  ThreadHold(const ThreadHold&) = delete;
  ThreadHold& operator=(const ThreadHold&) = delete;

 private:
  ThreadContext& me_;
};

/// The lane's next READY record -> CLAIMED(me), its page left pinned. Codes: ok; empty; timeout (something is on its way out, or in the gap
/// behind lane.gap);
/// not_found (the stream is gone); corruption. Uses and moves this thread's private cursor.
Code claim(Lane& lane, Claimed& out);
/// The same for the record at that place, which was READY a moment ago. False: lost. Does not look whether the stream was cleared.
bool claim_at(Lane& lane, const PageView& page, std::uint64_t offset, RecordWord ready, Claimed& out);

/// Up to `most` READY records right behind a claimed one in its page -> CLAIMED(me), sole where barriers are; take(offset, word) gets each, and
/// must not fail. Whoever calls looks afterwards whether the stream was cleared, or has leases now.
template <class Take>
void claim_following(Lane& lane, const Claimed& claimed, std::size_t most, Take take) {
  const PageView& page = claimed.page;
  std::uint64_t offset = claimed.offset + page.extent(claimed.offset, claimed.word), begin = offset;
  // before the records, for the hint
  std::uint32_t epoch = page.header->epoch.load(std::memory_order_acquire);
  Hint head{page.header->head.load(std::memory_order_acquire)};
  // Only where nothing was passed that may become READY: the hint says so of this page.
  if (claimed.passed || head.count() != epoch || head.offset() != offset) return;
  const bool more = page.header->next.load(std::memory_order_relaxed) != 0;
  const bool sole = lane.segment.uses_membarrier();
  const std::uint64_t owner = lane.me.owner, step = sole ? lane.me.claim_step : 0, bytes = page.bytes;
  char* const base = page.base;
  for (; most > 0 && offset + 8 <= bytes; --most) {
    Word& word = *reinterpret_cast<Word*>(base + offset);
    const RecordWord ready{word.load(std::memory_order_acquire)};
    RecordWord mine;
    std::uint64_t extent = 0;
    if (step && ready.plainly_ready()) [[likely]] {
      mine.raw = ready.raw + step, extent = kRecordHeader + round8(ready.size());
      if (offset + extent + 8 > bytes) break;
    } else {
      if (ready.state() == RecordState::ready) extent = page.extent(offset, ready);
      if (!extent) break;
      mine = ready.claimed_by(static_cast<std::uint32_t>(owner)).with_sole(sole);
    }
    std::uint64_t expected = ready.raw;
    if (!word.compare_exchange_strong(expected, mine.raw, std::memory_order_acq_rel)) break;
    if (more) prefetch_behind(base + offset, extent, 16);
    take(offset, mine);
    offset += extent;
  }
  if (offset != begin)
    page.header->head.store(Hint::make(static_cast<std::uint32_t>(offset), epoch).raw,
                            std::memory_order_relaxed);
}

/// CLAIMED -> DONE by compare-exchange of the exact word. False: fenced. REQUIRES: the page is pinned and validated, or held: then it is in
/// the life in which it was claimed, and a record that is somebody else's by now has another word.
bool ack(Lane& lane, const Claimed& claimed);

// A *sole* claim has no lease. While its owner lives, nobody else changes its word: not who looks at leases, nor a clear. So its ack is a store, and
// no compare-exchange. The price is paid by the clear, which leaves such a record to its owner, and by the ack, which looks at the stream's
// state afterwards; the clearer's membarrier is the other half: either the ack sees the clear, or the sweep sees DONE.
//   killed before the store: CLAIMED, reaped. Behind it: DONE; its page may wait for who unlinks the next one, or for an empty look.
//   two acks in one page at the same time may each not see the other's DONE: the page waits as above.

/// A sole claim, cleared meanwhile: true if the caller is the one who ends it, and so counts it: the sweep, or its owner for an ack.
/// REQUIRES: the page is pinned or held.
bool end_sole(const PageView& page, std::uint64_t offset, RecordWord sole, bool by_ack);
/// The same claim, not sole any more: from here on leases and clears may end it. By its owner.
inline RecordWord share_sole(Word& word, RecordWord sole) {
  word.store(sole.with_sole(false).raw, std::memory_order_release);
  return sole.with_sole(false);
}
/// CLAIMED -> RETURNING(me) -> epochs raised -> READY. False: fenced. REQUIRES as above.
bool give_back(Lane& lane, const Claimed& claimed);
/// From RETURNING(owner) on: raises the page's epoch, then the lane's, in this order, so that no hint and no cursor hides the record.
void raise_epochs(Lane& lane, const PageView& page);

/// After an ack: was it the last record of a page that has a next? Then the page can go.
bool page_is_over(const PageView& page);

/// If a live mover was stopped between its commit and READY, does the last step for it. REQUIRES: the page is pinned; `word` is WRITING with intent.
void help_move(Lane& lane, const PageView& page, std::uint64_t offset, RecordWord word);

}  // namespace headpond::internal
