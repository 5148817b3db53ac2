#include "move.h"

#include "delay.h"
#include "posting.h"
#include "tier_side.h"

namespace headpond::internal {

namespace {

/// Room to say in the journal where the item goes. None: it is not in the journal; or it is too large or there is no room, and the journal goes
/// on to say its old place.
Post post_for_move(Lane& to, const Claimed& source, std::uint64_t size) {
  Post post;
  if (!source.word.has(kDurable) || Post::bytes_for(size) > Post::kMostBytes || !room_for_posts(to.me))
    return post;
  if (to.me.pond->tier_side().declared_id(to)) (void)post.reserve(to.me, Post::bytes_for(size));
  return post;
}

}  // namespace

Code move(Lane& to, const Claimed& source, const Move& item) {
  ThreadContext& me = to.me;
  // before the operation pin goes
  me.pins->hold.store(source.page.reference.page(), std::memory_order_seq_cst);
  struct Unhold {
    const Lane& lane;
    ~Unhold() {
      lane.unpin();
      lane.me.pins->hold.store(0, std::memory_order_release);
    }
  } unhold{to};

  UseReserve reserve_too(me);
  std::uint64_t size = item.payload.size();
  std::uint32_t flags = size_flags(size) | kMoved | (source.word.flags() & kDurable);
  Post post = post_for_move(to, source, size);
  std::uint64_t bytes = record_bytes(size, flags);
  RecordWord writing = RecordWord::make(RecordState::writing, me.owner, 1,
                                        flags & kLarge ? 0 : static_cast<std::uint32_t>(size), flags);
  Place place;
  Code code = bytes > largest_shared(to.segment) ? reserve_own(to, size, writing, place)
                                                 : reserve(to, bytes, writing, place);
  if (code != Code::ok) return code;

  std::uint64_t moves =
      1 + (source.word.has(kMoved) ? source.page.moved(source.offset).moves & 0xffffffff : 0);
  item.payload.copy_to(lay(place.at(), size, flags, item.stamp_us));
  place.page.moved(place.offset) = {item.birth.value, source.page.reference.raw,
                                    source.offset | static_cast<std::uint64_t>(source.word.claims()) << 32 |
                                        static_cast<std::uint64_t>(me.owner) << 48,
                                    moves};
  if (post) {
    post.add({journal_push(TierSide::id_of(to), item.birth, place.id, static_cast<std::uint32_t>(moves)),
              to.binding},
             item.payload);
    post.publish();
  }
  if (item.due_ms) lower_due(to, place.page, item.due_ms);  // after WRITING, before READY
  RecordWord intent = writing.with_claims(item.claims).with_crashes(item.crashes).with_flags(flags | kIntent);
  Word& word = place.page.word(place.offset);
  word.store(intent.raw, std::memory_order_release);

  std::uint64_t claimed = source.word.raw;
  if (!source.page.word(source.offset)
           .compare_exchange_strong(claimed, source.word.with_sole(false).with_state(RecordState::done).raw,
                                    std::memory_order_acq_rel)) {
    place.page.header->disturbed.store(1, std::memory_order_relaxed);
    word.store(writing.with_state(RecordState::done).with_owner(0).with_claims(1).raw,
               std::memory_order_release);
    ring(to.segment, to.stream.bell, Wake::all);
    to.unpin();
    if (post) (void)post.withdraw();  // written already: a later move says better
    return Code::fenced;
  }
  std::uint64_t expected = intent.raw;
  // a helper may have been first
  word.compare_exchange_strong(expected, intent.ready().raw, std::memory_order_acq_rel);
  if (!(flags & kLarge))
    place.page.header->tail.store(Hint::make(static_cast<std::uint32_t>(place.offset + bytes),
                                             static_cast<std::uint32_t>(place.ids_before + 1))
                                      .raw,
                                  std::memory_order_relaxed);
  ring(to.segment, to.stream.bell, to.wake_one());
  return Code::ok;
}

ItemId id_of_record(const Lane& lane, const PageView& page, std::uint64_t offset, RecordWord word) {
  if (word.has(kMoved)) return {page.moved(offset).birth};
  std::uint64_t ids = 0;
  for (std::uint64_t at = kFirstRecord; at < offset && page.holds(at);) {
    RecordWord passed{page.word(at).load(std::memory_order_acquire)};
    std::uint64_t extent = passed.raw ? page.extent(at, passed) : 0;
    if (!extent) break;
    at += extent, ids += passed.ids();
  }
  return {static_cast<std::uint64_t>(lane.number) << 60 | id_of(page, ids)};
}

Code bury_claimed(Lane& lane, const Claimed& claimed, Cause cause, Bytes reason, std::int32_t pid,
                  int signal) {
  DeadPrefix prefix{};
  prefix.at_ms = sys::wall_ms(), prefix.pid = pid, prefix.signal = static_cast<std::uint16_t>(signal),
  prefix.cause = static_cast<std::uint8_t>(cause);
  prefix.priority = static_cast<std::uint8_t>(lane.number),
  prefix.reason_bytes = static_cast<std::uint32_t>(reason.size());
  // A claim that only finds the attempts used up delivered nothing, and does not count.
  prefix.attempts = static_cast<std::uint16_t>(claimed.word.claims() - (cause == Cause::max_attempts)),
  prefix.crashes = static_cast<std::uint16_t>(claimed.word.crashes());
  std::string head(reinterpret_cast<const char*>(&prefix), sizeof prefix);
  head.append(reason);
  auto payload = claimed.page.payload(claimed.offset, claimed.word);
  Move item;
  item.payload = {head, Bytes(payload.data(), payload.size())};
  item.birth = id_of_record(lane, claimed.page, claimed.offset, claimed.word);
  item.stamp_us = sys::coarse_us();
  lane.stream.lanes.fetch_or(1u << kDeadLane, std::memory_order_seq_cst);
  Lane to(lane.me, lane.binding, kDeadLane);
  Code code = move(to, claimed, item);
  lane.error = std::move(to.error);
  return code;
}

}  // namespace headpond::internal
