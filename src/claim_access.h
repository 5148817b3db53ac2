// The inside of Claim and Reservation: how a claimed record becomes a handle that keeps its page, and what settles it.
#pragma once

#include "append.h"
#include "claim.h"
#include "durable.h"
#include "headpond/queue.h"

namespace headpond::internal {

/// What stands behind a record that has just become DONE. False: somebody else will find out whether the page is over, namely who makes DONE
/// what stands here: it was not DONE when we looked, afterwards.
inline bool ends_or_is_done(const Word& behind) {
  RecordState state = RecordWord{behind.load(std::memory_order_acquire)}.state();
  return state == RecordState::done || state == RecordState::seal;
}

/// The record from `offset` to `end` (0: wherever) has just become DONE: may its page be over? Acked in order, the page's `done` mark keeps
/// up: all below was DONE, and now this record is, too. A page that gets its next later is found over by who claims past it.
/// REQUIRES: a record or SEAL may stand at `end`.
[[gnu::always_inline]] inline bool may_be_over(char* base, std::uint64_t offset, std::uint64_t end) {
  auto& header = *reinterpret_cast<PageHeader*>(base);
  std::uint32_t mark = header.done.load(std::memory_order_relaxed);
  bool in_order = end && (mark ? mark : kFirstRecord) == offset;
  if (in_order) header.done.store(static_cast<std::uint32_t>(end), std::memory_order_release);
  return header.next.load(std::memory_order_acquire) != 0 &&
         (!in_order || ends_or_is_done(*reinterpret_cast<Word*>(base + end)));
}

struct ClaimAccess {
  /// Appends Claims on `first`, which was just claimed, and on what follows it in its page, up to `most` in all; they share one hold.
  static void make_run(Lane& lane, const Claimed& first, std::size_t most, std::vector<Claim>& out);
  /// Makes an unset Claim one on what was just claimed, its page still pinned; the page is held by a hold pin from here on, or the payload
  /// copied if none is left.
  static void fill(Claim& claim, Lane& lane, const Claimed& claimed) {
    describe(claim, lane, claimed);
    claim.word_ = own(lane, claimed).raw;
    // Its ack is not the straight one. (Of one claim that shares its hold with no other, it is the last.)
    claim.shared_hold_ = needs_post(claimed.word, wanted(lane.stream, {}));
    if (int hold = lane.me.pond->take_hold(lane.me); hold >= 0) [[likely]] {
      claim.hold_ = static_cast<std::int16_t>(hold);
      // before the operation pin goes
      lane.me.pond->participant().hold[hold].store(claimed.page.reference.page(), std::memory_order_release);
    } else {
      copy_payload(claim);
    }
  }
  static Reservation make(Lane& lane, const Place& place, int hold);

  /// What a settled claim leaves behind: its hold, its count, and perhaps a page that is over.
  static void release(Claim& claim, ThreadContext& me);
  /// Makes it a claim of nothing.
  static void forget(Claim& claim);
  /// Runs work(lane, claimed) -> Code with the claim's page held or pinned. fenced if it is settled or its page is gone.
  template <class Work>
  static Status with_claimed(Claim& claim, Work work);

  static Status ack(Claim& claim, std::optional<Durability> asked);
  static Result<std::size_t> ack_many(std::span<Claim> claims, std::optional<Durability> asked);
  static Status give_back(Claim& claim);
  static Status nack(Claim& claim, milliseconds delay);
  static Status extend(Claim& claim, milliseconds lease);
  static Status bury(Claim& claim, Bytes reason);
  static Status nack_once(Claim& claim, milliseconds delay);
  static Status bury_once(Claim& claim, Bytes reason);
  static ItemId id(const Claim& claim);

  static ItemId commit(Reservation& reservation);
  static void abandon(Reservation& reservation);

 private:
  /// The claim becomes sole, unless it has a lease.
  static RecordWord own(Lane& lane, const Claimed& claimed);
  /// `me`: null if the claim is settled or the pond is not usable.
  static Durability wanted_of(const Claim& claim, std::optional<Durability> asked, ThreadContext*& me);
  static Status ack_posting(Claim& claim, Durability wanted, ThreadContext* me, Post& post, Status& note);
  static void describe(Claim& claim, Lane& lane, const Claimed& claimed) {
    claim.pond_ = lane.me.pond, claim.binding_ = lane.binding.raw,
    claim.reference_ = claimed.page.reference.raw, claim.word_ = claimed.word.raw;
    claim.offset_ = static_cast<std::uint32_t>(claimed.offset),
    claim.lane_ = static_cast<std::uint8_t>(lane.number);
    auto payload = claimed.page.payload(claimed.offset, claimed.word);
    claim.payload_ = Bytes(payload.data(), payload.size());
    lane.me.open_claims++;
  }
  static void copy_payload(Claim& claim);

 public:
  /// For straight.h: a claim as it stands there.
  static Claim make(ThreadContext& me, Binding binding, Reference page, std::uint32_t offset, RecordWord word,
                    int hold, const char* payload) {
    return {Claim::Key(),
            me.pond,
            binding.raw,
            page.raw,
            word.raw,
            offset,
            static_cast<std::int16_t>(hold),
            0,
            false,
            Bytes(payload, word.size())};
  }
  /// The straight way of ack(), as in straight.h: the record DONE, if its page is held. `over`: its page, if that was the last of it; the
  /// caller unlinks it.
  [[gnu::always_inline]] static bool ack_straight(Claim& claim, bool& mine, Reference& over) {
    if (!claim.pond_ || claim.hold_ < 0 || claim.shared_hold_) [[unlikely]]
      return false;
    ThreadContext* me = claim.pond_->straight_thread();
    if (!me || me->holds_cached >= me->hold_quota) [[unlikely]]
      return false;
    Reference page{claim.reference_};
    char* base = me->pages + static_cast<std::uint64_t>(page.page() - 1) * kUnit;
    RecordWord claimed{claim.word_};
    Word& word = *reinterpret_cast<Word*>(base + claim.offset_);
    if (claimed.has(kIntent)) [[likely]] {  // sole
      word.store(claimed.acked().raw, std::memory_order_release);
      mine = true;
    } else {
      std::uint64_t expected = claimed.raw;
      mine = word.compare_exchange_strong(expected, claimed.acked().raw, std::memory_order_acq_rel);
    }
    if (mine) [[likely]] {
      std::uint64_t end = claim.offset_ + kRecordHeader + round8(claimed.size());
      bool plain = !(claimed.flags() & ~kSole);
      if (may_be_over(base, claim.offset_, plain ? end : 0) && over_when_looked_at(*me, page)) [[unlikely]]
        over = page;
      std::atomic_signal_fence(std::memory_order_seq_cst);  // the waiter's membarrier, and the clearer's
      Binding binding{claim.binding_};
      StreamWords& stream = me->streams[binding.index()];
      if (!is_live(stream, binding)) [[unlikely]]
        mine = ended_in_cleared(*me, claim), over = page;
      if (std::uint32_t seen = stream.space_bell.load(std::memory_order_acquire); seen & kAsleep) [[unlikely]]
        ring_sleepers(stream.space_bell, seen, Wake::all);
    }
    me->holds[claim.hold_].store(0, std::memory_order_release);
    me->hold_cache[me->holds_cached++] = claim.hold_;
    me->open_claims--;
    claim.pond_ = nullptr;
    claim.payload_ = {};
    return true;
  }
  /// Unlinks a page that ack_straight found over, which nothing of the caller's holds any more; of a cleared stream, what can go.
  static void unlink_over(Attachment& pond, std::uint64_t binding, int lane, Reference over);

 private:
  static bool over_when_looked_at(const ThreadContext& me, Reference page);
  /// The claim's record is DONE by us, its page held, its queue cleared: was it an ack?
  static bool ended_in_cleared(const ThreadContext& me, const Claim& claim);
};

/// A page that something of ours holds.
inline PageView view_of(const Segment& segment, Reference page) {
  char* base = segment.page(page.page());
  return {page, reinterpret_cast<PageHeader*>(base), base, segment.page_bytes(page.page())};
}

}  // namespace headpond::internal
