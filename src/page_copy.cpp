#include "page_copy.h"

#include <algorithm>
#include <cstring>

#include "append.h"

namespace headpond::internal {

bool mark_page(Lane& lane, const PageView& page) {
  lane.mark(page);
  Word& life = lane.segment.life(page.reference.page()).life;
  LifeWord linked{life.load(std::memory_order_acquire)};
  std::uint64_t expected = linked.raw;
  return linked.generation() == page.reference.generation() && linked.state() == LifeState::linked &&
         life.compare_exchange_strong(expected, linked.with(LifeState::spilling, lane.me.owner).raw,
                                      std::memory_order_acq_rel);
}

void unmark_page(Lane& lane, const PageView& page) {
  Word& life = lane.segment.life(page.reference.page()).life;
  LifeWord now{life.load(std::memory_order_acquire)};
  std::uint64_t expected = now.with(LifeState::spilling, lane.me.owner).raw;
  life.compare_exchange_strong(expected, now.with(LifeState::linked, 0).raw, std::memory_order_acq_rel);
}

namespace {

void frame(PageCopy& copy) {
  ImageHeader header{kImageFormat, 0};
  char* begin = reinterpret_cast<char*>(copy.memory.get()) + kFirstRecord - sizeof header;
  std::memcpy(begin, &header, sizeof header);
  copy.image = {begin, copy.weight.end - kFirstRecord + sizeof header};
}

}  // namespace

bool copy_page(const Lane& lane, const PageView& page, std::uint64_t end, PageCopy& out) {
  Weight& weight = out.weight;
  out.memory = std::make_unique_for_overwrite<std::uint64_t[]>(page.bytes / 8);
  char* base = reinterpret_cast<char*>(out.memory.get());
  const LaneKind kind = lane.kind();
  for (std::uint64_t offset = kFirstRecord; page.holds(offset);) {
    RecordWord word{page.word(offset).load(std::memory_order_acquire)};
    if (word.state() == RecordState::seal) {
      std::memcpy(base + offset, &word.raw, 8);
      weight.end = offset + 8;
      return frame(out), word.sealed_ids() == weight.ids && id_of(page, weight.ids) == end;
    }
    std::uint64_t extent = page.extent(offset, word), head = extent;
    bool ready = word.state() == RecordState::ready;
    if (!extent || (!ready && word.state() != RecordState::done)) return false;
    if (word.owner() != 0) word = word.acked();
    if (ready) {
      weigh_item(kind, page, offset, word, weight);
    } else {
      head = record_bytes(0, word.flags());
      std::memset(base + offset + head, 0, extent - head);
    }
    std::uint64_t lease = page.lease(offset).load(std::memory_order_acquire);
    std::memcpy(base + offset, &word.raw, 8), std::memcpy(base + offset + 8, &lease, 8);
    std::memcpy(base + offset + kRecordHeader, page.base + offset + kRecordHeader, head - kRecordHeader);
    weight.ids += word.ids(), offset += extent;
  }
  return false;
}

void copy_ids(PageCopy& copy) {
  std::uint64_t spans = (copy.weight.ids + 0xfffe) / 0xffff, left = copy.weight.ids;
  copy.memory = std::make_unique<std::uint64_t[]>(kFirstRecord / 8 + spans * 2 + 1);
  std::uint64_t* at = copy.memory.get() + kFirstRecord / 8;
  for (std::uint64_t n; left; left -= n, at += 2) {
    n = std::min<std::uint64_t>(left, 0xffff);
    *at = RecordWord::make(RecordState::done, 0, static_cast<std::uint32_t>(n), 0).raw;
  }
  *at = RecordWord::seal(static_cast<std::uint32_t>(copy.weight.ids)).raw;
  copy.weight.end = static_cast<std::uint64_t>(at + 1 - copy.memory.get()) * 8;
  frame(copy);
}

bool take_records(Lane& lane, const PageView& page, const PageCopy& copy) {
  if (copy.weight.items == 0) return true;
  const char* base = reinterpret_cast<const char*>(copy.memory.get());
  for (std::uint64_t offset = kFirstRecord;;) {
    RecordWord copied;
    std::memcpy(&copied.raw, base + offset, 8);
    if (copied.state() == RecordState::seal) return true;
    if (copied.state() == RecordState::ready) {
      std::uint64_t expected = copied.raw;
      RecordWord mine = copied.with_state(RecordState::spilling).with_owner(lane.me.owner);
      if (!page.word(offset).compare_exchange_strong(expected, mine.raw, std::memory_order_acq_rel))
        return false;
    }
    offset += page.extent(offset, copied);
  }
}

void give_back_page(Lane& lane, const PageView& page) {
  for (std::uint64_t offset = kFirstRecord; page.holds(offset);) {
    RecordWord word{page.word(offset).load(std::memory_order_acquire)};
    if (word.raw == 0 || word.state() == RecordState::seal) break;
    std::uint64_t extent = page.extent(offset, word), mine = word.raw;
    if (!extent) break;
    if (word.state() == RecordState::spilling && word.owner() == lane.me.owner &&
        page.word(offset).compare_exchange_strong(mine, word.ready().raw, std::memory_order_acq_rel))
      discard_if_cleared(lane, page, offset, 1);
    offset += extent;
  }
  unmark_page(lane, page);
}

void note_spilled(Segment& segment, std::uint64_t page_bytes) {
  Word& largest = segment.header().largest_spilled;
  std::uint64_t units = page_bytes / kUnit;
  for (std::uint64_t seen = largest.load(); seen < units && !largest.compare_exchange_weak(seen, units);) {
  }
}

}  // namespace headpond::internal
