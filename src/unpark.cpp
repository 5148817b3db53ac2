#include "unpark.h"

#include <algorithm>

#include "pages.h"
#include "room.h"
#include "settings.h"
#include "tier_side.h"

namespace headpond::internal {

namespace {

/// What a lane needs: 2 pages around a gap, 1 where only ids go on, 0 if it never had any.
std::size_t pages_of(const Parked& parked, const ParkedLane& lane) {
  return lane.items > 0 ? 2 : lane.next > parked.first_id ? 1 : 0;
}
std::size_t pages_of(const Parked& parked) {
  std::size_t sum = 0;
  for (const ParkedLane& lane : parked.lanes) sum += pages_of(parked, lane);
  return sum;
}

/// The pages of all lanes, in the directory's section.
class Chains {
 public:
  Chains(Segment& segment, Section& section, StreamWords& words, std::uint32_t index)
      : segment_(segment), section_(section), words_(words), index_(index) {}

  /// Two pages, or one.
  void link(const ParkedLane& lane, const NewPage* pages, std::size_t count) {
    LaneWords& to = words_.lane[lane.number];
    const NewPage& first = pages[0];
    const NewPage& tail = pages[count - 1];
    for (std::size_t i = 0; i < count; i++) {
      PageHeader& header = *pages[i].header;
      header.stream.store(index_ | static_cast<std::uint64_t>(lane.number) << 28, std::memory_order_relaxed);
      header.prev.store(i ? first.reference.raw : 0, std::memory_order_relaxed);
      header.first_seq.store(i + 1 == count ? lane.next : lane.first, std::memory_order_relaxed);
      // Before anything names it: a refill may come between the two as soon as it does.
      Word& life = segment_.life(pages[i].reference.page()).life;
      section_.set(life, LifeWord{life.load(std::memory_order_relaxed)}.with(LifeState::linked, 0).raw);
    }
    to.dense_from.store(lane.next, std::memory_order_relaxed);
    to.tail.store(tail.reference.raw, std::memory_order_relaxed);
    // Ids of an earlier epoch end here: whoever pushes links a page that begins with the present one's.
    if (lane.next < words_.first_id.load(std::memory_order_relaxed)) seal(tail);
    if (count == 2) {
      seal(first);
      first.header->gap_items.store(lane.items, std::memory_order_relaxed);
      first.header->gap_bytes.store(lane.bytes, std::memory_order_relaxed);
      // When these are due is not known: whoever looks finds out.
      if (lane.number == kDelayedLane) {
        first.header->gap_due.store(1, std::memory_order_relaxed);
        words_.due.store(DueWord{}.next(1).raw, std::memory_order_relaxed);
      }
      section_.set(first.header->next, tail.reference.with_gap().raw);
    }
    section_.set(to.first, first.reference.raw);
  }

 private:
  /// Without ids.
  static void seal(const NewPage& page) {
    reinterpret_cast<Word*>(page.base + kFirstRecord)
        ->store(RecordWord::seal(0).raw, std::memory_order_relaxed);
    page.header->tail.store(Hint::make(kFirstRecord, 0).raw, std::memory_order_relaxed);
  }

  Segment& segment_;
  Section& section_;
  StreamWords& words_;
  const std::uint32_t index_;
};

}  // namespace

Result<Binding> unpark(ThreadContext& me, const Key& key) {
  Segment& segment = me.pond->segment();
  Directory directory(me);
  auto parked = directory.parked(key);
  if (!parked) return parked.code() == Code::not_found ? Status(Code::busy) : parked.status();
  std::vector<NewPage> pages;
  auto give_all_back = [&] {
    for (const NewPage& page : pages) give_back(me, page, kFirstRecord + 8);
  };
  for (std::size_t n = pages_of(*parked); n > 0; n--) {
    auto page = allocate_with_room(me, segment.min_page_bytes());
    if (!page) return give_all_back(), page.status();
    pages.push_back(*page);
  }
  auto bound = directory.unpark(
      key, [&](Section& section, const Parked& now, StreamWords& words, std::uint32_t index) {
        if (pages_of(now) != pages.size()) return false;  // used, and parked again
        Chains chains(segment, section, words, index);
        std::size_t at = 0;
        for (const ParkedLane& lane : now.lanes) {
          std::size_t count = pages_of(now, lane);
          if (count) chains.link(lane, &pages[at], count);
          at += count;
        }
        return true;
      });
  if (!bound) give_all_back();
  return bound;
}

namespace {

std::uint64_t lane_id(const Parked& parked, int n) { return parked.id << 4 | static_cast<std::uint64_t>(n); }

/// CLEAR of every lane; with `upto` 0 only whether the durable tier could say it.
Status mark_lanes(ThreadContext& me, const Parked& parked, std::uint64_t upto) {
  if (!parked.id) return {};
  for (int n = 0; n < kLanes; n++) {
    if (!((parked.mask | 1) >> n & 1)) continue;
    Status marked = me.pond->tier_side().mark_cleared(me, lane_id(parked, n), upto);
    if (!marked && marked.code() != Code::not_found) return marked;
    if (marked.ok() && upto == 0) break;
  }
  return {};
}

}  // namespace

Result<Parked> begin_clear(ThreadContext& me, const Key& key, std::optional<std::uint64_t> if_last_used) {
  Directory directory(me);
  auto before = directory.parked(key);
  if (!before) return before.code() == Code::not_found ? Status(Code::busy) : before.status();
  // What cannot be taken back is not begun where the durable tier could not say it.
  if (Status could = mark_lanes(me, *before, 0); !could) return could;
  auto ending = directory.end_parked(key, if_last_used);
  if (!ending) return ending.status();
  if (Status marked = mark_lanes(me, *ending, kAllIds); !marked) return marked;
  return ending;
}

Status finish_clear(ThreadContext& me, const Key& key, const Parked& ending, bool keep_name) {
  auto retire = [&] { return Directory(me).retire_parked(key, keep_name); };
  bool has_settings = !keep_name && ending.policy & (kSettings | kSavedMarks);
  if (Status retired = has_settings ? drop_saved(me, key, retire) : retire(); !retired) return retired;
  Status rows;
  for (int n = 0; ending.id && n < kLanes; n++) {
    if (!((ending.mask | 1) >> n & 1)) continue;
    Status gone = me.pond->tier_side().forget_stream(me, lane_id(ending, n));
    if (!gone && gone.code() != Code::not_found) rows = gone;
  }
  if (!rows)  // left over, for who sweeps the tier
    me.pond->say(
        Severity::warning,
        "pond " + me.pond->name() + ": a cleared stream has rows that cannot be erased yet: " + rows.text());
  return {};
}

Result<std::uint64_t> clear_parked(ThreadContext& me, const Key& key, bool keep_name) {
  auto ending = begin_clear(me, key);
  if (!ending) return ending.status();
  if (Status finished = finish_clear(me, key, *ending, keep_name); !finished) return finished;
  return ending->items();
}

}  // namespace headpond::internal
