#include "append.h"

#include <algorithm>

#include "delay.h"
#include "unlink.h"

namespace headpond::internal {

// --------------------------------------------------------------------------------------------------------------------- tail

Tail::At Tail::restart() {
  page = {};
  hops_ = Hops(lane_.segment);  // a walk that begins again is bounded by its restarts
  for (; restarts_ < kRestarts; restarts_++) {
    Reference first{lane_.words.first.load(std::memory_order_acquire)};
    if (first.is_tomb()) return At::gone;
    // who links the first page has no page to check
    if (first == Reference::empty(lane_.binding.generation())) return lane_.current() ? At::none : At::gone;
    if (!first && first.generation() != lane_.binding.generation()) return At::gone;
    if (lane_.pin(first, page)) break;
    if (!lane_.current()) return At::gone;
  }
  if (restarts_ >= kRestarts) {
    lane_.damaged({}, 0, "its first page does not validate");
    return At::damaged;
  }
  return At::free;
}

Tail::At Tail::find() {
  bool begin = !page;
  if (begin) {
    Reference hint{lane_.words.tail.load(std::memory_order_acquire)};
    if (!lane_.pin(hint, page)) {
      if (At at = restart(); at != At::free) return at;
    }
    if (!lane_.current()) return At::gone;
  }
  for (;;) {
    if (begin) {
      Hint tail{page.header->tail.load(std::memory_order_acquire)};
      offset = tail.offset() ? tail.offset() : kFirstRecord, ids = tail.offset() ? tail.count() : 0;
      begin = false;
    }
    if (!page.holds(offset)) {
      lane_.damaged(page, offset, "the walk to the tail left the page");
      return At::damaged;
    }
    RecordWord word{page.word(offset).load(std::memory_order_acquire)};
    if (word.raw == 0) return At::free;
    if (word.state() != RecordState::seal) {
      std::uint64_t extent = page.extent(offset, word);
      if (!extent) {
        lane_.damaged(page, offset, "a record is longer than its page");
        return At::damaged;
      }
      offset += extent, ids += word.ids();
      continue;
    }
    ids = word.sealed_ids();
    Reference next{page.header->next.load(std::memory_order_acquire)};
    if (next.raw == 0) return At::sealed;
    if (next.is_tomb()) return At::gone;
    if (hops_.too_many()) return lane_.damaged(page, offset, "its pages go in a circle"), At::damaged;
    begin = true;
    if (!lane_.pin(next, page)) {
      if (++restarts_ >= kRestarts) {
        lane_.damaged(page, offset, "the next page does not validate");
        return At::damaged;
      }
      if (At at = restart(); at != At::free) return at;
      if (!lane_.current()) return At::gone;
    }
  }
}

void Tail::seal() {
  lane_.mark(page);
  std::uint64_t free = 0;
  page.word(offset).compare_exchange_strong(free, RecordWord::seal(static_cast<std::uint32_t>(ids)).raw,
                                            std::memory_order_acq_rel);
}

// I2, I5: the page names us and says where it belongs before the compare-exchange shows it; whoever reaps us finds out from prev's next
// whether it did. The pin on prev stays until LINKED, so that the evidence stays.
bool Tail::link(const NewPage& next) {
  PageHeader& header = *next.header;
  header.stream.store(lane_.page_stream(), std::memory_order_relaxed);
  header.prev.store(page ? page.reference.raw : 0, std::memory_order_relaxed);
  header.first_seq.store(id_behind(), std::memory_order_relaxed);
  std::uint64_t expected = page ? 0 : Reference::empty(lane_.binding.generation()).raw;
  if (!link_word().compare_exchange_strong(expected, next.reference.raw, std::memory_order_acq_rel))
    return false;
  // Delayed items in a page that comes whole: the stream learns when before the page is LINKED; a reaper does the same (protocol 8).
  if (DueWord due{header.due.load(std::memory_order_relaxed)}; due.ms()) lower_stream_due(lane_, due.ms());
  Word& life = lane_.segment.life(next.reference.page()).life;
  LifeWord building{life.load(std::memory_order_relaxed)};
  std::uint64_t before = building.with(LifeState::building, lane_.me.owner).raw;
  life.compare_exchange_strong(before, building.with(LifeState::linked, 0).raw, std::memory_order_acq_rel);
  lane_.words.tail.store(next.reference.raw, std::memory_order_release);
  return true;
}

bool Tail::tomb() {
  std::uint64_t expected = page ? 0 : Reference::empty(lane_.binding.generation()).raw;
  return link_word().compare_exchange_strong(expected, Reference::tomb().raw, std::memory_order_acq_rel);
}

// ------------------------------------------------------------------------------------------------------------------ reserve

namespace {

/// The page behind the one that is full: twice its size, and large enough for what comes.
Code link_page(Lane& lane, Tail& tail, std::uint64_t bytes) {
  const Segment& segment = lane.segment;
  std::uint64_t before = tail.page ? tail.page.bytes : 0;
  std::uint64_t size = before > segment.max_page_bytes() ? segment.min_page_bytes() : before * 2;
  size = std::clamp<std::uint64_t>(size, segment.min_page_bytes(), segment.max_page_bytes());
  while (size < kFirstRecord + bytes + 8) size *= 2;
  auto next = allocate_page(lane.me, size);
  // a smaller one may still be there
  if (!next && next.code() == Code::full && size > kFirstRecord + bytes + 8) {
    for (size = segment.min_page_bytes(); size < kFirstRecord + bytes + 8;) size *= 2;
    next = allocate_page(lane.me, size);
  }
  if (!next) return lane.failed(next.status());
  if (!tail.link(*next)) give_back(lane.me, *next, kFirstRecord);
  return Code::ok;
}

}  // namespace

Code reserve(Lane& lane, std::uint64_t bytes, RecordWord word, Place& out) {
  for (Tail tail(lane);;) {
    switch (tail.find()) {
      case Tail::At::free: {
        if (tail.offset + bytes + 8 > tail.page.bytes) {  // room for SEAL is always kept
          tail.seal();
          continue;
        }
        lane.mark(tail.page);
        std::uint64_t free = 0;
        if (!tail.page.word(tail.offset).compare_exchange_strong(free, word.raw, std::memory_order_acq_rel))
          continue;
        out = {tail.page, tail.offset, tail.ids, tail.next_id(), word};
        return Code::ok;
      }
      case Tail::At::sealed:
      case Tail::At::none:
        if (Code code = link_page(lane, tail, bytes); code != Code::ok) return code;
        continue;
      case Tail::At::gone: return Code::not_found;
      case Tail::At::damaged: return Code::corruption;
    }
  }
}

void discard_if_cleared(Lane& lane, const PageView& page, std::uint64_t offset, std::uint32_t ids) {
  std::atomic_signal_fence(std::memory_order_seq_cst);  // the clearer's membarrier is the other half
  if (lane.current()) [[likely]]
    return;
  for (; ids > 0 && page.holds(offset); ids--) {
    RecordWord word{page.word(offset).load(std::memory_order_acquire)};
    std::uint64_t extent = word.raw ? page.extent(offset, word) : 0;
    if (!extent) return;
    while (word.state() == RecordState::ready && !page.word(offset).compare_exchange_strong(
                                                     word.raw, word.acked().raw, std::memory_order_acq_rel)) {
    }
    offset += extent;
  }
}

void publish(Lane& lane, const Place& place, RecordWord ready, std::uint32_t ids, Wake wake) {
  place.page.word(place.offset).store(ready.raw, std::memory_order_release);
  if (!place.word.has(kLarge))  // the page of a large one is sealed, and its hint stands behind it
    place.page.header->tail.store(
        Hint::make(
            static_cast<std::uint32_t>(place.offset + record_bytes(place.word.size(), place.word.flags())),
            static_cast<std::uint32_t>(place.ids_before + ids))
            .raw,
        std::memory_order_relaxed);
  discard_if_cleared(lane, place.page, place.offset, ids);
  ring(lane.segment, lane.stream.bell, wake);
}

void abandon(Lane& lane, const Place& place) {
  Lane::disturb(place.page);
  place.page.word(place.offset)
      .store(place.word.with_state(RecordState::done).with_owner(0).raw, std::memory_order_release);
  ring(lane.segment, lane.stream.bell, Wake::all);
}

// ------------------------------------------------------------------------------------------------------------------- append

char* lay(char* at, std::uint64_t payload, std::uint32_t flags, std::uint64_t stamp_us) {
  reinterpret_cast<Word*>(at + 8)->store(LeaseWord::born(stamp_us).raw, std::memory_order_relaxed);
  at += kRecordHeader;
  if (flags & kMoved) at += sizeof(MovedRecord);
  if (flags & kLarge) std::memcpy(at, &payload, 8), at += 8;
  return at;
}

namespace {

RecordWord ready_word(const Parts& record, std::uint32_t more_flags) {
  std::uint32_t flags = size_flags(record.size()) | more_flags;
  return RecordWord::make(RecordState::ready, 0, record.claims,
                          flags & kLarge ? 0 : static_cast<std::uint32_t>(record.size()), flags)
      .with_crashes(record.crashes);
}

/// A page of `bytes` of records, laid by `fill`, then linked: one compare-exchange shows all of it. `place` gets the page, pinned if
/// that is asked for.
template <class Fill>
Code link_own(Lane& lane, std::uint64_t bytes, std::uint32_t ids, std::uint64_t due_ms, Fill fill,
              std::uint64_t& first_id, PageView* keep) {
  if (kFirstRecord + bytes + 8 > UINT32_MAX)
    return lane.failed(
        Status(Code::too_large, "a batch of " + std::to_string(bytes) + " bytes is over the limit of 4 GiB"));
  auto next = allocate_page(lane.me, kFirstRecord + bytes + 8);
  if (!next) return lane.failed(next.status());
  fill(next->base + kFirstRecord);
  reinterpret_cast<Word*>(next->base + kFirstRecord + bytes)
      ->store(RecordWord::seal(ids).raw, std::memory_order_release);
  next->header->tail.store(Hint::make(static_cast<std::uint32_t>(kFirstRecord + bytes), ids).raw,
                           std::memory_order_relaxed);
  next->header->owners.store(lane.me.owner_bit, std::memory_order_relaxed);
  if (due_ms) next->header->due.store(DueWord{}.next(due_ms).raw, std::memory_order_relaxed);
  for (Tail tail(lane);;) {
    Tail::At at = tail.find();
    if (at == Tail::At::free) {
      tail.seal();
    } else if (at == Tail::At::gone || at == Tail::At::damaged) {
      give_back(lane.me, *next, kFirstRecord + bytes + 8);
      return at == Tail::At::gone ? Code::not_found : Code::corruption;
    } else {
      first_id = tail.id_behind();
      if (!tail.link(*next)) continue;
      if (!keep) {
        PageView page;  // not there any more: swept and gone
        if (lane.pin(next->reference, page)) discard_if_cleared(lane, page, kFirstRecord, ids);
      }
      if (keep) {  // still BUILDING or LINKED: our WRITING record is in it
        if (!lane.pin(next->reference, *keep))
          return lane.damaged(*keep, 0, "a page that was just linked does not validate");
      }
      return Code::ok;
    }
  }
}

}  // namespace

Code append_one(Lane& lane, const Parts& record, std::uint64_t& id, std::uint64_t due_ms) {
  std::uint64_t size = record.size();
  std::uint64_t bytes = kRecordHeader + round8(size);
  if (bytes > largest_shared(lane.segment)) [[unlikely]]
    return append_all(lane, {&record, 1}, id, due_ms);
  Unpin unpin{lane};
  Place place;
  if (Code code = reserve(lane, bytes,
                          RecordWord::make(RecordState::writing, lane.me.owner, 1,
                                           static_cast<std::uint32_t>(size), lane.record_flags),
                          place);
      code != Code::ok)
    return code;
  record.copy_to(lay(place.at(), size, 0, sys::coarse_us()));
  id = place.id;
  if (due_ms) [[unlikely]]
    lower_due(lane, place.page, due_ms);
  if (lane.before_ready) [[unlikely]]
    lane.before_ready->run(place.id);
  publish(lane, place, ready_word(record, lane.record_flags), 1, lane.wake_one());
  return Code::ok;
}

Code append_all(Lane& lane, std::span<const Parts> records, std::uint64_t& first_id, std::uint64_t due_ms) {
  std::uint64_t bytes = 0, now = sys::coarse_us();
  for (const Parts& r : records) bytes += record_bytes(r.size(), size_flags(r.size()));
  auto ids = static_cast<std::uint32_t>(records.size());
  auto lay_all = [&](char* at, bool first_header) {
    for (const Parts& r : records) {
      RecordWord word = ready_word(r, lane.record_flags);
      r.copy_to(lay(at, r.size(), word.flags(), now));
      if (first_header || &r != records.data())
        reinterpret_cast<Word*>(at)->store(word.raw, std::memory_order_release);
      std::uint64_t extent = record_bytes(r.size(), word.flags());
      prefetch_behind(at, extent, 12);
      at += extent;
    }
  };
  Unpin unpin{lane};
  if (bytes > largest_shared(lane.segment)) {
    Code code = link_own(
        lane, bytes, ids, due_ms, [&](char* at) { lay_all(at, true); }, first_id, nullptr);
    if (code == Code::ok) ring(lane.segment, lane.stream.bell, Wake::all);
    return code;
  }
  // The inner headers are READY before the first one is: until then the span is one WRITING word.
  Place place;
  RecordWord span = RecordWord::make(RecordState::writing, lane.me.owner, ids,
                                     static_cast<std::uint32_t>(bytes - kRecordHeader), lane.record_flags);
  if (Code code = reserve(lane, bytes, span, place); code != Code::ok) return code;
  lay_all(place.at(), false);
  first_id = place.id;
  if (due_ms) lower_due(lane, place.page, due_ms);
  if (lane.before_ready) [[unlikely]]
    lane.before_ready->run(place.id);
  publish(lane, place, ready_word(records[0], lane.record_flags), ids, ids > 1 ? Wake::all : lane.wake_one());
  return Code::ok;
}

Code reserve_own(Lane& lane, std::uint64_t payload, RecordWord word, Place& out) {
  std::uint64_t bytes = record_bytes(payload, word.flags());
  std::uint64_t id = 0;
  auto fill = [&](char* at) {
    lay(at, payload, word.flags(), sys::coarse_us());
    reinterpret_cast<Word*>(at)->store(word.raw, std::memory_order_release);
  };
  PageView page;
  if (Code code = link_own(lane, bytes, 1, 0, fill, id, &page); code != Code::ok) return code;
  out = {page, kFirstRecord, 0, id, word};
  return Code::ok;
}

// ------------------------------------------------------------------------------------------------------------------- shrink

Code shrink_tail(Lane& lane) {
  bool linked = false;
  {
    Unpin unpin{lane};
    Tail tail(lane);
    auto drained = [&](Tail::At at) {
      return (at == Tail::At::free || at == Tail::At::sealed) && tail.page.bytes > 4096 &&
             advance_done(tail.page, at == Tail::At::free ? tail.offset : 0);
    };
    Tail::At at = tail.find();
    if (!drained(at)) return Code::empty;
    UseReserve reserve(lane.me);
    // first: a tail that is sealed without a page to follow would be of no use
    auto next = allocate_page(lane.me, lane.segment.min_page_bytes());
    if (!next) return lane.failed(next.status());
    for (; drained(at) && !linked; at = tail.find()) {
      if (at == Tail::At::free)
        tail.seal();
      else if (!(linked = tail.link(*next)))
        break;
      if (linked) break;
    }
    if (!linked) give_back(lane.me, *next, kFirstRecord);
  }
  if (!linked) return Code::empty;
  unlink_done(lane);
  return Code::ok;
}

}  // namespace headpond::internal
