#include "claim_access.h"

#include <algorithm>

#include "lease.h"
#include "move.h"
#include "retire.h"
#include "room.h"
#include "unlink.h"

namespace headpond::internal {

// --------------------------------------------------------------------------------------------------------------------- make

void ClaimAccess::make_run(Lane& lane, const Claimed& first, std::size_t most, std::vector<Claim>& out) {
  Claim& one = out.emplace_back();
  fill(one, lane, first);
  const std::int16_t hold = one.hold_;
  if (hold < 0 || out.size() >= most) return;
  out.reserve(std::min(most, out.size() * 2));  // whatever may fail comes before the claims
  const std::size_t begin = out.size();
  // Made in place from values: one put together first would be read back while its stores are under way, which waits for them.
  claim_following(lane, first, std::min(most, out.capacity()) - begin,
                  [&, pond = lane.me.pond, binding = lane.binding.raw, page = first.page,
                   number = static_cast<std::uint8_t>(lane.number)](std::uint64_t offset, RecordWord word) {
                    auto payload = page.payload(offset, word);
                    out.emplace_back(Claim::Key(), pond, binding, page.reference.raw, word.raw,
                                     static_cast<std::uint32_t>(offset), hold, number, true,
                                     Bytes(payload.data(), payload.size()));
                  });
  const auto more = static_cast<int>(out.size() - begin);
  if (more == 0) return;
  out[begin - 1].shared_hold_ = true;
  lane.me.pond->share_hold(hold, more);
  lane.me.open_claims += more;
  if (lane.stream.policy.load(std::memory_order_relaxed) & kLeased) [[unlikely]]
    for (std::size_t i = begin; i < out.size(); i++)  // since a moment ago
      if (RecordWord word{out[i].word_}; word.sole())
        out[i].word_ = share_sole(first.page.word(out[i].offset_), word).raw;
  if (lane.current()) [[likely]]
    return;
  // Cleared meanwhile, and the sweep may have been here before us: these go with the rest.
  for (Claimed late = first; out.size() > begin; out.pop_back()) {
    late.offset = out.back().offset_, late.word = RecordWord{out.back().word_};
    (void)internal::ack(lane, late);
    release(out.back(), lane.me);
  }
}

RecordWord ClaimAccess::own(Lane& lane, const Claimed& claimed) {
  LeaseWord lease{claimed.page.lease(claimed.offset).load(std::memory_order_acquire)};
  if (lease.is_lease_of(claimed.word) || !lane.segment.uses_membarrier()) return claimed.word;
  Word& word = claimed.page.word(claimed.offset);
  RecordWord sole = claimed.word.with_sole(true);
  std::uint64_t expected = claimed.word.raw;
  if (!word.compare_exchange_strong(expected, sole.raw, std::memory_order_acq_rel)) return claimed.word;
  std::uint64_t time = lane.stream.lease_us.load(std::memory_order_acquire);
  if (time == 0) [[likely]]
    return sole;
  share_sole(word, sole);  // leases came up since we looked
  begin_lease(lane, claimed, sys::coarse_us() + time);
  return claimed.word;
}

void ClaimAccess::copy_payload(Claim& claim) {
  auto copy = std::make_unique<char[]>(claim.payload_.size() + 1);
  std::copy(claim.payload_.begin(), claim.payload_.end(), copy.get());
  claim.payload_ = Bytes(copy.release(), claim.payload_.size());
}

void ClaimAccess::release(Claim& claim, ThreadContext& me) {
  if (claim.hold_ >= 0 && (!claim.shared_hold_ || claim.pond_->unshare_hold(claim.hold_)))
    claim.pond_->give_hold(me, claim.hold_);
  me.open_claims--;
  const Binding binding{claim.binding_};
  forget(claim);
  if (!is_live(me.pond->segment().stream(binding.index()), binding)) [[unlikely]]
    finish_tombed(me, binding);  // which may have waited for this claim
}

void ClaimAccess::forget(Claim& claim) {
  if (claim.hold_ < 0) delete[] claim.payload_.data();
  claim.pond_ = nullptr;
  claim.payload_ = {};
}

// ------------------------------------------------------------------------------------------------------------------- settle

template <class Work>
Status ClaimAccess::with_claimed(Claim& claim, Work work) {
  if (!claim.pond_) return Code::fenced;
  Code usable = claim.pond_->usable();
  if (usable == Code::forked) [[unlikely]]
    return usable;
  ThreadContext* me = claim.pond_->thread();
  if (usable != Code::ok && me) [[unlikely]]
    return release(claim, *me), usable;
  if (!me) return Code::full;
  Lane lane(*me, Binding{claim.binding_}, claim.lane_);
  Claimed claimed;
  claimed.offset = claim.offset_, claimed.word = RecordWord{claim.word_};
  if (claim.hold_ >= 0) [[likely]] {
    // held: it is in the life in which it was claimed
    claimed.page = view_of(lane.segment, Reference{claim.reference_});
  } else if (!lane.pin(Reference{claim.reference_}, claimed.page)) {
    lane.unpin();
    release(claim, *me);
    return Code::fenced;
  }
  Code code = work(lane, claimed);
  if (claim.hold_ < 0) lane.unpin();
  return lane.error.ok() ? Status(code) : lane.error;
}

namespace {

/// The page of a claim that is settled may be over: then it goes, once nothing of ours holds it.
class Over {
 public:
  explicit Over(std::uint64_t binding, int lane) : binding_{binding}, lane_(lane) {}
  void look(Lane& lane, const Claimed& claimed) {
    me_ = &lane.me;
    if (page_is_over(claimed.page)) page_ = claimed.page.reference;
  }
  ~Over() {
    if (!page_) return;
    Lane lane(*me_, binding_, lane_);
    unlink_done(lane, page_);
  }

 private:
  ThreadContext* me_ = nullptr;
  Binding binding_;
  int lane_;
  Reference page_;
};

}  // namespace

namespace {

/// The queue was cleared under the claim: the item is gone with the rest.
Code cleared(Lane& lane, const Claimed& claimed) {
  (void)ack(lane, claimed);
  lane.error = {};
  return Code::fenced;
}

}  // namespace

Durability ClaimAccess::wanted_of(const Claim& claim, std::optional<Durability> asked, ThreadContext*& me) {
  me = claim.pond_ && claim.pond_->usable() == Code::ok ? claim.pond_->thread() : nullptr;
  if (!me) return Durability::memory;
  return internal::wanted(claim.pond_->segment().stream(Binding{claim.binding_}.index()), asked);
}

/// `post` is published if the claim was ours and its ack belongs into the journal.
Status ClaimAccess::ack_posting(Claim& claim, Durability wanted, ThreadContext* me, Post& post,
                                Status& note) {
  if (me && needs_post(RecordWord{claim.word_}, wanted)) {
    Lane lane(*me, Binding{claim.binding_}, claim.lane_);
    if (Status ready = prepare_ack(lane, RecordWord{claim.word_}, wanted, post, note); !ready) return ready;
  }
  Over over(claim.binding_, claim.lane_);
  Status done = with_claimed(claim, [&](Lane& lane, const Claimed& claimed) {
    ItemId birth = post ? id_of_record(lane, claimed.page, claimed.offset, claimed.word) : ItemId{};
    bool mine = internal::ack(lane, claimed);
    if (mine && post) post_ack(lane, post, birth);
    if (mine) over.look(lane, claimed);
    if (mine) ring(lane.segment, lane.stream.space_bell, Wake::all);
    if (mine && claimed.word.sole() && !lane.current())
      mine = end_sole(claimed.page, claimed.offset, claimed.word, true);
    release(claim, lane.me);
    return mine ? Code::ok : Code::fenced;
  });
  if (!done) post.abandon();
  return done;
}

Status ClaimAccess::ack(Claim& claim, std::optional<Durability> asked) {
  Post post;
  Status note;
  ThreadContext* me = nullptr;
  Durability wanted = wanted_of(claim, asked, me);
  Status done = ack_posting(claim, wanted, me, post, note);
  if (!done) return done;
  return post ? finish_acks(*me, {&post, 1}, wanted, note) : note;
}

bool ClaimAccess::over_when_looked_at(const ThreadContext& me, Reference page) {
  return page_is_over(view_of(me.pond->segment(), page));
}

bool ClaimAccess::ended_in_cleared(const ThreadContext& me, const Claim& claim) {
  RecordWord word{claim.word_};
  return !word.sole() ||
         end_sole(view_of(me.pond->segment(), Reference{claim.reference_}), claim.offset_, word, true);
}

void ClaimAccess::unlink_over(Attachment& pond, std::uint64_t binding, int lane, Reference over) {
  ThreadContext* me = pond.thread();
  if (!me) return;
  Lane from(*me, Binding{binding}, lane);
  if (is_live(from.stream, from.binding))
    unlink_done(from, over);
  else
    finish_tombed(*me, from.binding);
}

namespace {

/// Waits for the posts of a batch, once.
Result<std::size_t> settle_posts(std::vector<Post>& posts, Durability wanted, std::size_t acked,
                                 const Status& note) {
  if (posts.empty()) return {acked, note};
  Status waited = finish_acks(posts.front().owner(), posts, wanted, note);
  return {acked, note.ok() && note.cause() == Code::ok ? std::move(waited) : note};
}

}  // namespace

/// Claims that share a hold stand in one page: acked in a row, looked at once.
Result<std::size_t> ClaimAccess::ack_many(std::span<Claim> claims, std::optional<Durability> asked) {
  std::size_t acked = 0;
  std::vector<Post> posts;
  Durability most_wanted = Durability::memory;
  Status note;
  for (std::size_t i = 0; i < claims.size();) {
    Claim& first = claims[i];
    ThreadContext* me = nullptr;
    const Durability wanted = wanted_of(first, asked, me);
    if (me && needs_post(RecordWord{first.word_}, wanted)) {
      Post post;
      Status done = ack_posting(first, wanted, me, post, note);
      if (!done && done.code() != Code::fenced) {
        // What was acked is; this claim and those behind it stand.
        return settle_posts(posts, most_wanted, acked, Status::in_memory(done));
      }
      acked += done.ok();
      most_wanted = std::max(most_wanted, wanted);
      if (post) posts.push_back(std::move(post));
      i++;
      continue;
    }
    if (!first.shared_hold_ || !me) {
      acked += first.ack().ok();
      i++;
      continue;
    }
    Attachment& pond = *first.pond_;
    Over over(first.binding_, first.lane_);
    Lane lane(*me, Binding{first.binding_}, first.lane_);
    Claimed claimed;
    claimed.page = view_of(lane.segment, Reference{first.reference_});
    // As in may_be_over(), once for all: in order the `done` mark keeps up.
    PageHeader& header = *claimed.page.header;
    const std::uint32_t mark = header.done.load(std::memory_order_relaxed);
    std::uint64_t done = mark ? mark : kFirstRecord;
    bool in_order = true;
    const int hold = first.hold_;
    const std::size_t begin = i;
    char* const base = claimed.page.base;
    for (; i < claims.size(); i++) {
      Claim& claim = claims[i];
      const RecordWord word{claim.word_};
      if (claim.pond_ != &pond || claim.hold_ != hold || !claim.shared_hold_ || word.has(kDurable)) break;
      bool mine = true;
      if (word.sole()) [[likely]]
        reinterpret_cast<Word*>(base + claim.offset_)->store(word.acked().raw, std::memory_order_release);
      else
        mine = internal::ack(lane, {claimed.page, claim.offset_, word, false, {}});
      acked += mine;
      if (mine && claim.offset_ == done && !(word.flags() & ~kSole)) [[likely]]
        done += kRecordHeader + round8(word.size());
      else
        in_order = false;
      claim.pond_ = nullptr, claim.payload_ = {};
    }
    if (in_order) header.done.store(static_cast<std::uint32_t>(done), std::memory_order_release);
    if (!in_order || ends_or_is_done(claimed.page.word(done))) over.look(lane, claimed);
    std::atomic_signal_fence(std::memory_order_seq_cst);  // as in ack_straight()
    const bool cleared = !lane.current();
    for (std::size_t k = begin; cleared && k < i; k++)
      if (RecordWord word{claims[k].word_}; word.sole())
        acked -= !end_sole(claimed.page, claims[k].offset_, word, true);
    ring(lane.segment, lane.stream.space_bell, Wake::all);
    const int settled = static_cast<int>(i - begin);
    me->open_claims -= settled;
    if (pond.unshare_hold(hold, settled)) pond.give_hold(*me, hold);
    if (cleared) finish_tombed(*me, lane.binding);
  }
  return settle_posts(posts, most_wanted, acked, note);
}

Status ClaimAccess::give_back(Claim& claim) {
  return with_claimed(claim, [&](Lane& lane, const Claimed& claimed) {
    // In a queue that was cleared it goes with the rest.
    bool gone = claimed.word.sole() && !lane.current();
    if (gone) (void)internal::ack(lane, claimed);
    bool mine = !gone && internal::give_back(lane, claimed);
    release(claim, lane.me);
    return mine ? Code::ok : Code::fenced;
  });
}

Status ClaimAccess::nack(Claim& claim, milliseconds delay) {
  if (delay.count() <= 0) return give_back(claim);
  Status moved = move_with_room(claim.pond_, [&] { return nack_once(claim, delay); });
  if (moved.ok() || moved.code() == Code::fenced) return moved;
  if (Status back = give_back(claim); !back) return back;
  return moved;
}

Status ClaimAccess::nack_once(Claim& claim, milliseconds delay) {
  Over over(claim.binding_, claim.lane_);
  return with_claimed(claim, [&](Lane& lane, const Claimed& claimed) {
    std::uint64_t due = sys::wall_ms() + static_cast<std::uint64_t>(delay.count());
    DelayedPrefix prefix{due, static_cast<std::uint16_t>(claimed.word.claims()),
                         static_cast<std::uint16_t>(claimed.word.crashes()),
                         static_cast<std::uint32_t>(lane.number)};
    Move item;
    item.payload = {Bytes(reinterpret_cast<const char*>(&prefix), sizeof prefix), claim.payload_};
    item.birth = id_of_record(lane, claimed.page, claimed.offset, claimed.word);
    item.stamp_us = sys::coarse_us(), item.due_ms = due;
    lane.stream.lanes.fetch_or(1u << kDelayedLane, std::memory_order_seq_cst);
    Lane to(lane.me, lane.binding, kDelayedLane);
    Code code = move(to, claimed, item);
    if (code == Code::not_found) code = cleared(lane, claimed);
    if (code == Code::ok && claim.hold_ >= 0) over.look(lane, claimed);
    if (code == Code::ok || code == Code::fenced) release(claim, lane.me);
    lane.error = std::move(to.error);
    return code;
  });
}

Status ClaimAccess::extend(Claim& claim, milliseconds lease) {
  return with_claimed(claim, [&](Lane& lane, Claimed claimed) {
    // somebody must look, also in a queue without leases of its own
    if (lane.current()) lane.stream.policy.fetch_or(kLeased, std::memory_order_seq_cst);
    if (claimed.word.sole()) {
      if (!lane.current()) return Code::fenced;  // stays sole: its clear may have counted it
      RecordWord sole = claimed.word;
      Word& word = claimed.page.word(claimed.offset);
      claimed.word = share_sole(word, sole);
      claim.word_ = claimed.word.raw;
      std::atomic_thread_fence(std::memory_order_seq_cst);
      std::uint64_t expected = claimed.word.raw;
      if (!lane.current()) {  // cleared in between: DONE by the sweep by now, or sole again
        if (word.compare_exchange_strong(expected, sole.raw, std::memory_order_acq_rel))
          claim.word_ = sole.raw;
        return Code::fenced;
      }
    }
    // Steps of the coarse clock: at least as long as was asked for.
    return extend_lease(lane, claimed,
                        sys::coarse_us() + static_cast<std::uint64_t>(lease.count()) * 1000 + 4000)
               ? Code::ok
               : Code::fenced;
  });
}

Status ClaimAccess::bury(Claim& claim, Bytes reason) {
  return move_with_room(claim.pond_, [&] { return bury_once(claim, reason); });
}

Status ClaimAccess::bury_once(Claim& claim, Bytes reason) {
  Over over(claim.binding_, claim.lane_);
  return with_claimed(claim, [&](Lane& lane, const Claimed& claimed) {
    Code code = bury_claimed(lane, claimed, Cause::buried, reason, sys::process(), 0);
    if (code == Code::not_found) code = cleared(lane, claimed);
    if (code == Code::ok && claim.hold_ >= 0) over.look(lane, claimed);
    if (code == Code::ok || code == Code::fenced) release(claim, lane.me);
    if (code == Code::ok) ring(lane.segment, lane.stream.space_bell, Wake::all);
    return code;
  });
}

ItemId ClaimAccess::id(const Claim& claim) {
  if (!claim.pond_ || claim.pond_->usable() != Code::ok) return {};
  ThreadContext* me = claim.pond_->thread();
  if (!me) return {};
  Lane lane(*me, Binding{claim.binding_}, claim.lane_);
  PageView page;
  if (claim.hold_ >= 0)
    page = view_of(lane.segment, Reference{claim.reference_});
  else if (!lane.pin(Reference{claim.reference_}, page))
    return lane.unpin(), ItemId{};
  ItemId id = id_of_record(lane, page, claim.offset_, RecordWord{claim.word_});
  if (claim.hold_ < 0) lane.unpin();
  return id;
}

}  // namespace headpond::internal
