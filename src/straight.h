// The straight way: push, claim and ack when nothing is in the way, each rule of protocol 2 once and in order, without a loop or a call.
// Whatever is unusual (another page, a lost race, a limit, a second priority, a stale cursor) makes them answer false with nothing
// changed, and the general way in append.cpp, claim.cpp and claim_access.cpp does the whole operation. They are here for speed alone: with
// these functions answering false always, everything works the same.
#pragma once

#include "claim_access.h"
#include "retire.h"

namespace headpond::internal {

/// Pins, with this pin, a page that is LINKED in the life that `r` names and belongs to lane 0 of this stream in this life; null: not so.
/// Whoever calls unpins either way.
[[gnu::always_inline]] inline char* pin_straight(ThreadContext& me, std::atomic<std::uint32_t>& pin,
                                                 Binding binding, Reference r, std::uint64_t& bytes) {
  std::uint32_t unit = r.page() - 1;
  if (unit >= me.backed) [[unlikely]]
    return nullptr;  // also if there is none
  pin.store(r.page(), std::memory_order_release);
  std::atomic_signal_fence(std::memory_order_seq_cst);  // the recycler's membarrier is the other half
  LifeEntry& entry = me.lives[unit];
  LifeWord linked = LifeWord{r.generation() << 16}.with(LifeState::linked, 0);
  if (entry.life.load(std::memory_order_acquire) != linked.raw) [[unlikely]]
    return nullptr;
  char* base = me.pages + static_cast<std::uint64_t>(unit) * kUnit;
  auto& header = *reinterpret_cast<PageHeader*>(base);
  if (header.stream.load(std::memory_order_relaxed) != binding.index() ||
      !(header.owners.load(std::memory_order_relaxed) & me.owner_bit)) [[unlikely]]
    return nullptr;
  std::uint64_t units = entry.units.load(std::memory_order_relaxed);
  if (units > me.backed - unit) [[unlikely]]
    return nullptr;  // damaged: the general way says so
  bytes = units * kUnit;
  return base;
}

/// READY at the tail of lane 0.
[[gnu::always_inline]] inline bool push_straight(Attachment& pond, Binding binding, Bytes item, Wake wake,
                                                 std::uint64_t& id) {
  ThreadContext* me = pond.straight_thread();
  if (!me || !binding || item.size() > me->largest_straight) [[unlikely]]
    return false;
  StreamWords& stream = me->streams[binding.index()];
  if (stream.policy.load(std::memory_order_relaxed) & (kDraining | kLimited | kNotInMemory)) [[unlikely]]
    return false;
  struct Unpin {
    PinWords* pins;
    ~Unpin() { pins->pin.store(0, std::memory_order_release); }
  } unpin{me->pins};
  std::uint64_t page_bytes;
  char* base = pin_straight(*me, me->pins->pin, binding,
                            Reference{stream.lane[0].tail.load(std::memory_order_acquire)}, page_bytes);
  if (!base || !is_live(stream, binding)) [[unlikely]]
    return false;
  auto& header = *reinterpret_cast<PageHeader*>(base);
  Hint tail{header.tail.load(std::memory_order_acquire)};
  std::uint64_t offset = tail.offset(), bytes = kRecordHeader + round8(item.size());
  if (offset < kFirstRecord || offset % 8 || offset + bytes + 8 > page_bytes) [[unlikely]]
    return false;
  auto& record = *reinterpret_cast<RecordHeader*>(base + offset);
  std::uint64_t size = item.size(), free = 0;
  if (!record.word.compare_exchange_strong(
          free, RecordWord::make(RecordState::writing, me->owner, 1, static_cast<std::uint32_t>(size)).raw,
          std::memory_order_acq_rel)) [[unlikely]]
    return false;
  // A log goes on through memory that it has not touched for long, a queue's pages were zeroed on another core.
  prefetch_behind(base + offset, bytes, 12);
  std::uint64_t now = sys::coarse_us();
  record.lease.store(LeaseWord::born(now).raw, std::memory_order_relaxed);
  if (size) std::memcpy(base + offset + kRecordHeader, item.data(), size);  // an empty view may be null
  record.word.store(RecordWord::make(RecordState::ready, 0, 0, static_cast<std::uint32_t>(size)).raw,
                    std::memory_order_release);
  header.tail.store(Hint::make(static_cast<std::uint32_t>(offset + bytes), tail.count() + 1).raw,
                    std::memory_order_relaxed);
  // the waiter's membarrier, and the clearer's, are the other half
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if ((stream.state.load(std::memory_order_acquire) & 0xff) != static_cast<std::uint64_t>(StreamState::live))
      [[unlikely]] {  // cleared meanwhile: gone with the rest
    std::uint64_t ready = RecordWord::make(RecordState::ready, 0, 0, static_cast<std::uint32_t>(size)).raw;
    record.word.compare_exchange_strong(ready, RecordWord{ready}.acked().raw, std::memory_order_acq_rel);
    finish_tombed(*me, binding);
  }
  std::uint32_t bell = stream.bell.load(std::memory_order_acquire);
  if (bell & kAsleep) [[unlikely]]
    ring_sleepers(stream.bell, bell, wake);
  id = header.first_seq.load(std::memory_order_relaxed) + tail.count();
  if (stream.last_use.load(std::memory_order_relaxed) != now) [[unlikely]]
    stream.last_use.store(now, std::memory_order_relaxed);
  return true;
}

/// The record at the head hint of lane 0.
struct HeadRecord {
  PageHeader& header;
  Reference page;
  std::uint64_t page_bytes;
  char* at;  // the record
  std::uint64_t offset, end;
  RecordWord ready;
  std::uint32_t epoch;  // of the page, before the record was read

  char* base() const { return at - offset; }
  Word& word() const { return *reinterpret_cast<Word*>(at); }
  const char* payload() const { return at + kRecordHeader; }
  /// After it was taken: nothing READY stands before `end`.
  void pass() const {
    if (header.next.load(std::memory_order_relaxed) != 0) prefetch_behind(at, end - offset, 8);
    header.head.store(Hint::make(static_cast<std::uint32_t>(end), epoch).raw, std::memory_order_relaxed);
  }
};

/// Finds it with `pin` on its page, if it is READY and lane 0 is the only one. Whoever calls unpins either way, and looks after taking the
/// record whether the stream was LIVE. (A head hint is stored only behind what was taken: the page is disturbed.)
[[gnu::always_inline]] inline bool find_straight(ThreadContext& me, std::atomic<std::uint32_t>& pin,
                                                 StreamWords& stream, Binding binding,
                                                 std::optional<HeadRecord>& out) {
  if ((stream.policy.load(std::memory_order_relaxed) & ~(kConfigured | kSavedMarks)) != 0 ||
      stream.lanes.load(std::memory_order_acquire) != 1) [[unlikely]]
    return false;
  Cursor& cursor = me.cursor(binding, 0);
  if (cursor.epoch != stream.lane[0].epoch.load(std::memory_order_acquire)) [[unlikely]]
    return false;
  std::uint64_t page_bytes;
  char* base = pin_straight(me, pin, binding, cursor.page, page_bytes);
  if (!base) [[unlikely]]
    return false;
  auto& header = *reinterpret_cast<PageHeader*>(base);
  std::uint32_t epoch = header.epoch.load(std::memory_order_acquire);
  Hint head{header.head.load(std::memory_order_acquire)};
  std::uint64_t offset = head.offset();
  if (head.count() != epoch || offset < kFirstRecord || offset % 8 || offset + 8 > page_bytes) [[unlikely]]
    return false;
  RecordWord ready{reinterpret_cast<Word*>(base + offset)->load(std::memory_order_acquire)};
  std::uint64_t end = offset + kRecordHeader + round8(ready.size());
  if (!ready.plainly_ready() || end + 8 > page_bytes) [[unlikely]]
    return false;
  out.emplace(HeadRecord{header, cursor.page, page_bytes, base + offset, offset, end, ready, epoch});
  return true;
}

/// What claim_straight found: the claim of a small record that has not moved.
struct StraightClaim {
  ThreadContext* me;
  Reference page;
  RecordWord word;
  const char* payload;
  std::uint32_t offset;
  int hold;
};

/// The record at the head hint -> CLAIMED, sole. Its page is pinned by the claim's own hold pin from the beginning.
[[gnu::always_inline]] inline bool claim_straight(Attachment& pond, Binding binding, StraightClaim& out) {
  ThreadContext* me = pond.straight_thread();
  if (!me || !binding || !me->holds_cached) [[unlikely]]
    return false;
  StreamWords& stream = me->streams[binding.index()];
  const int hold = me->hold_cache[me->holds_cached - 1];
  struct Unhold {
    std::atomic<std::uint32_t>* pin;
    ~Unhold() {
      if (pin) [[unlikely]]
        pin->store(0, std::memory_order_release);
    }
  } unhold{&me->holds[hold]};
  std::optional<HeadRecord> record;
  if (!find_straight(*me, *unhold.pin, stream, binding, record)) [[unlikely]]
    return false;
  RecordWord mine{record->ready.raw + me->claim_step};
  std::uint64_t expected = record->ready.raw;
  if (!record->word().compare_exchange_strong(expected, mine.raw, std::memory_order_acq_rel)) [[unlikely]]
    return false;
  if (!is_live(stream, binding)) [[unlikely]] {  // cleared meanwhile: gone with the rest
    expected = mine.raw;
    record->word().compare_exchange_strong(expected, mine.acked().raw, std::memory_order_acq_rel);
    return false;
  }
  if (stream.policy.load(std::memory_order_relaxed) & kLeased) [[unlikely]]  // since a moment ago
    mine = share_sole(record->word(), mine);
  record->pass();
  if (!stream.used.load(std::memory_order_relaxed)) [[unlikely]]
    stream.used.store(1, std::memory_order_relaxed);
  out = {me, record->page, mine, record->payload(), static_cast<std::uint32_t>(record->offset), hold};
  me->holds_cached--, me->open_claims++;
  unhold.pin = nullptr;
  return true;
}

/// The same record taken in one step, READY -> DONE: the copy is made before, while nobody can change what is READY. Like cancel or clear,
/// it names nobody, so a death loses nothing: the item was there or is gone. `over`: its page, if that was the last of it.
[[gnu::always_inline]] inline bool pop_straight(Attachment& pond, Binding binding, std::string& out,
                                                Reference& over) {
  ThreadContext* me = pond.straight_thread();
  if (!me || !binding) [[unlikely]]
    return false;
  StreamWords& stream = me->streams[binding.index()];
  struct Unpin {
    PinWords* pins;
    ~Unpin() { pins->pin.store(0, std::memory_order_release); }
  } unpin{me->pins};
  std::optional<HeadRecord> record;
  if (!find_straight(*me, me->pins->pin, stream, binding, record) || record->ready.size() > 4096) [[unlikely]]
    return false;
  out.assign(record->payload(), record->ready.size());
  std::uint64_t expected = record->ready.raw;
  if (!record->word().compare_exchange_strong(expected, record->ready.acked().raw, std::memory_order_acq_rel))
      [[unlikely]]
    return false;
  if (!is_live(stream, binding)) [[unlikely]]  // cleared meanwhile: gone with the rest
    return false;
  record->pass();
  if (may_be_over(record->base(), record->offset, record->end) &&
      page_is_over({record->page, &record->header, record->base(), record->page_bytes})) [[unlikely]]
    over = record->page;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (std::uint32_t seen = stream.space_bell.load(std::memory_order_acquire); seen & kAsleep) [[unlikely]]
    ring_sleepers(stream.space_bell, seen, Wake::all);
  if (!stream.used.load(std::memory_order_relaxed)) [[unlikely]]
    stream.used.store(1, std::memory_order_relaxed);
  return true;
}

}  // namespace headpond::internal
