#include "claim.h"

#include "unlink.h"

namespace headpond::internal {

namespace {

/// One walk over a lane, from the cursor or `first` to the first READY record.
class ClaimWalk {
 public:
  explicit ClaimWalk(Lane& lane) : lane_(lane), cursor_(lane.me.cursor(lane.binding, lane.number)) {}

  Code run(Claimed& out) {
    Code code = walk(out);
    if (over_) unlink_done(lane_, over_);  // a page behind us is all DONE; what we claimed stays pinned
    return code;
  }

 private:
  /// Pins the page to begin with. ok: page_ is it.
  Code begin() {
    start_epoch_ = lane_.words.epoch.load(std::memory_order_acquire);  // before anything else
    clean_ = true;
    hops_ = Hops(lane_.segment);  // a walk that begins again is bounded by its restarts
    if (cursor_.page && cursor_.epoch == start_epoch_ && lane_.pin(cursor_.page, page_))
      return lane_.current() ? Code::ok : Code::not_found;
    cursor_.page = {};
    return from_first();
  }
  Code from_first() {
    clean_ = true;
    hops_ = Hops(lane_.segment);
    for (; restarts_ < kRestarts; restarts_++) {
      Reference first{lane_.words.first.load(std::memory_order_acquire)};
      if (first.is_tomb()) return Code::not_found;
      if (!first) return first.generation() == lane_.binding.generation() ? Code::empty : Code::not_found;
      if (lane_.pin(first, page_)) return lane_.current() ? Code::ok : Code::not_found;
      if (!lane_.current()) return Code::not_found;
    }
    return lane_.damaged({}, 0, "its first page does not validate");
  }

  Code walk(Claimed& out) {
    Code code = begin();
    while (code == Code::ok) {
      if (clean_) cursor_.page = page_.reference, cursor_.epoch = start_epoch_;
      code = walk_page(out);
      if (code == Code::busy) {  // begin again: something before has become READY
        passed_ = {}, passed_more_ = false;
        if (++restarts_ >= kRestarts) return Code::timeout;
        code = begin();
        continue;
      }
      if (code == Code::ok) return Code::ok;
      if (code != Code::paused) return code;  // `paused` stands for: SEAL, go on
      code = next_page();
    }
    return code;
  }

  /// ok: claimed; empty: FREE; timeout: SPILLING; paused: SEAL.
  Code walk_page(Claimed& out) {
    std::uint32_t epoch = page_.header->epoch.load(std::memory_order_acquire);
    Hint head{page_.header->head.load(std::memory_order_acquire)};
    std::uint64_t offset = head.count() == epoch && head.offset() ? head.offset() : kFirstRecord,
                  base = offset;
    bool advance = true;  // the hint may move over what has been passed so far
    auto store_hint = [&](std::uint64_t to) {
      page_.header->head.store(Hint::make(static_cast<std::uint32_t>(to), epoch).raw,
                               std::memory_order_relaxed);
    };
    for (;;) {
      if (!page_.holds(offset)) return lane_.damaged(page_, offset, "the walk left the page");
      RecordWord word{page_.word(offset).load(std::memory_order_acquire)};
      std::uint64_t extent = 0;
      if (word.state() != RecordState::free && word.state() != RecordState::seal) {
        extent = page_.extent(offset, word);
        if (!extent) return lane_.damaged(page_, offset, "a record is longer than its page");
      }
      switch (word.state()) {
        case RecordState::ready:
          // First in, first out: what was passed because it was being written may be READY by now, and was pushed before this.
          if (passed_ && (passed_more_ ? ready_before(offset) : passed_has_changed())) return Code::busy;
          if (!claim_at(lane_, page_, offset, word, out)) continue;
          out.passed = static_cast<bool>(passed_);
          if (!lane_.current()) {  // cleared meanwhile, and the sweep may have been here before us
            ack(lane_, out);
            return Code::not_found;
          }
          if (advance) store_hint(offset + extent);
          return Code::ok;
        case RecordState::writing:
          if (word.has(kIntent) && word.owner() != lane_.me.owner) {
            help_move(lane_, page_, offset, word);
            if (page_.word(offset).load(std::memory_order_acquire) != word.raw) continue;
          }
          [[fallthrough]];
        case RecordState::returning:  // may become READY: neither hint nor cursor may pass
          advance = clean_ = false;
          if (passed_)
            passed_more_ = true;
          else
            passed_ = page_.reference, passed_offset_ = offset, passed_word_ = word.raw;
          break;
        case RecordState::claimed:
        case RecordState::done: break;
        case RecordState::free:
          if (advance && offset != base) store_hint(offset);
          return Code::empty;
        case RecordState::spilling: return Code::timeout;
        case RecordState::seal:
          if (advance && offset != base) store_hint(offset);
          return Code::paused;
        default: return lane_.damaged(page_, offset, "a record's state is none");
      }
      offset += extent;
    }
  }

  /// Is there a READY record from the first one that was passed on, up to here? Each page on the way is pinned for a moment, the last one
  /// is ours again. True also if one of them is gone or damaged: then the walk that begins again meets it.
  bool ready_before(std::uint64_t here) {
    PageView at = page_;
    Reference page = passed_, last = page_.reference;
    std::uint64_t offset = passed_offset_;
    for (Hops hops(lane_.segment);; offset = kFirstRecord) {
      if (hops.too_many() || !lane_.pin(page, at)) return true;
      for (; page != last || offset < here;) {
        if (!at.holds(offset)) return true;
        RecordWord word{at.word(offset).load(std::memory_order_acquire)};
        if (word.state() == RecordState::seal) break;
        std::uint64_t extent = at.extent(offset, word);
        if (word.state() == RecordState::ready || word.state() == RecordState::spilling ||
            word.state() == RecordState::free || !extent)
          return true;
        offset += extent;
      }
      if (page == last) return false;
      page = Reference{at.header->next.load(std::memory_order_acquire)};
      if (!page || page.is_tomb() || page.gap()) return true;
    }
  }

  /// Has the one record that was passed as WRITING or RETURNING another word now? Its page may be another one: then it is pinned for a
  /// moment, and ours again. True also if either is gone.
  bool passed_has_changed() {
    if (passed_ == page_.reference)
      return page_.word(passed_offset_).load(std::memory_order_acquire) != passed_word_;
    PageView before;
    Reference here = page_.reference;
    bool changed = !lane_.pin(passed_, before) ||
                   before.word(passed_offset_).load(std::memory_order_acquire) != passed_word_;
    return !lane_.pin(here, page_) || changed;
  }

  Code next_page() {
    Reference next{page_.header->next.load(std::memory_order_acquire)};
    if (next.raw == 0) return Code::empty;
    if (next.is_tomb()) return Code::not_found;
    if (next.gap()) return lane_.gap = page_.reference, Code::timeout;
    if (hops_.too_many()) return lane_.damaged(page_, 0, "its pages go in a circle");
    if (advance_done(page_)) over_ = page_.reference;
    if (lane_.pin(next, page_)) {
      if (Reference{page_.header->next.load(std::memory_order_acquire)}.gap())
        lane_.gap_ahead = page_.reference;
      return Code::ok;
    }
    if (++restarts_ >= kRestarts) return lane_.damaged(page_, 0, "the next page does not validate");
    return from_first();
  }

  Lane& lane_;
  Cursor& cursor_;
  PageView page_;
  std::uint32_t start_epoch_ = 0;
  Reference passed_;  // the first record of this walk that was passed as WRITING or RETURNING
  std::uint64_t passed_offset_ = 0, passed_word_ = 0;
  bool passed_more_ = false;  // it was not the only one
  bool clean_ = true;         // no WRITING and no RETURNING met
  int restarts_ = 0;
  Hops hops_{lane_.segment};
  Reference over_;
};

}  // namespace

Code claim(Lane& lane, Claimed& out) { return ClaimWalk(lane).run(out); }

bool claim_at(Lane& lane, const PageView& page, std::uint64_t offset, RecordWord ready, Claimed& out) {
  lane.mark(page);
  Lane::disturb(page);
  RecordWord mine = ready.claimed_by(lane.me.owner);
  LeaseWord before{page.lease(offset).load(std::memory_order_acquire)};
  std::uint64_t expected = ready.raw;
  if (!page.word(offset).compare_exchange_strong(expected, mine.raw, std::memory_order_acq_rel)) return false;
  out = {page, offset, mine, false, before};
  return true;
}

bool ack(Lane& lane, const Claimed& claimed) {
  (void)lane;
  std::uint64_t expected = claimed.word.raw;
  return claimed.page.word(claimed.offset)
      .compare_exchange_strong(expected, claimed.word.acked().raw, std::memory_order_acq_rel);
}

bool end_sole(const PageView& page, std::uint64_t offset, RecordWord sole, bool by_ack) {
  Word& lease = page.lease(offset);
  LeaseWord seen{lease.load(std::memory_order_acquire)};
  do {
    if ((seen.is_lease_of(sole) && seen.mark()) || seen.is_death_of(sole)) return false;
  } while (
      !lease.compare_exchange_weak(seen.raw, LeaseWord::ended(sole, by_ack).raw, std::memory_order_acq_rel));
  return true;
}

bool give_back(Lane& lane, const Claimed& claimed) {
  lane.mark(claimed.page);
  RecordWord returning = claimed.word.returning_by(lane.me.owner);
  if (claimed.crashed) returning = returning.with_crashes(returning.crashes() + 1);
  std::uint64_t expected = claimed.word.raw;
  Word& word = claimed.page.word(claimed.offset);
  if (!word.compare_exchange_strong(expected, returning.raw, std::memory_order_acq_rel)) return false;
  raise_epochs(lane, claimed.page);
  word.store(returning.ready().raw, std::memory_order_release);  // only we, or who reaps us, may
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (!lane.current()) [[unlikely]] {  // cleared meanwhile: it goes with the rest
    std::uint64_t ready = returning.ready().raw;
    word.compare_exchange_strong(ready, returning.ready().acked().raw, std::memory_order_acq_rel);
  }
  ring(lane.segment, lane.stream.bell, lane.wake_one());
  return true;
}

void raise_epochs(Lane& lane, const PageView& page) {
  page.header->epoch.fetch_add(1, std::memory_order_seq_cst);
  lane.words.epoch.fetch_add(1, std::memory_order_seq_cst);
}

bool page_is_over(const PageView& page) {
  return page.header->next.load(std::memory_order_acquire) != 0 && advance_done(page);
}

// The source may be in another life by now: then the destination is READY already, and the compare-exchange below fails.
HEADPOND_READS_UNPINNED void help_move(Lane& lane, const PageView& page, std::uint64_t offset,
                                       RecordWord word) {
  if (!word.has(kMoved) || !page.extent(offset, word)) return;
  const MovedRecord& moved = page.moved(offset);
  Reference source{moved.source};
  std::uint64_t at = moved.place & 0xffffffff, claims = moved.place >> 32 & 0xffff;
  if (!source || !lane.segment.backed(source.page())) return;
  std::uint64_t bytes = lane.segment.page_bytes(source.page());
  if (at % 8 || at + 8 > bytes) return;
  RecordWord from{
      reinterpret_cast<Word*>(lane.segment.page(source.page()) + at)->load(std::memory_order_acquire)};
  if (from.state() != RecordState::done || from.owner() != word.owner() || from.claims() != claims) return;
  lane.mark(page);
  std::uint64_t expected = word.raw;
  if (page.word(offset).compare_exchange_strong(expected, word.ready().with_owner(0).raw,
                                                std::memory_order_acq_rel))
    ring(lane.segment, lane.stream.bell, lane.wake_one());
}

}  // namespace headpond::internal
