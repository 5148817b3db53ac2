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

/// What the durable tier calls the lanes of a stream.
void add_lanes(const Parked& parked, std::vector<std::uint64_t>& out) {
  for (int n = 0; parked.id && n < kLanes; n++)
    if ((parked.mask | 1) >> n & 1) out.push_back(parked.id << 4 | static_cast<std::uint64_t>(n));
}

/// CLEAR of these; with `upto` 0 only whether the durable tier could say it.
Status mark(ThreadContext& me, const std::vector<std::uint64_t>& lanes, std::uint64_t upto) {
  if (lanes.empty()) return {};
  Status marked = me.pond->tier_side().mark_cleared(me, lanes, upto);
  return marked.code() == Code::not_found ? Status() : marked;
}

}  // namespace

Status begin_clear(ThreadContext& me, std::span<const ToClear> names, std::vector<Ending>& ending) {
  Directory directory(me);
  std::vector<std::uint64_t> before, lanes;
  for (const ToClear& name : names) {
    auto parked = directory.parked(*name.key);
    if (!parked && parked.code() != Code::not_found) return parked.status();
    if (parked) add_lanes(*parked, before);
  }
  // What cannot be taken back is not begun where the durable tier could not say it.
  if (Status could = mark(me, before, 0); !could) return could;
  for (const ToClear& name : names) {
    auto ended = directory.end_parked(*name.key, name.if_last_used);
    if (!ended && ended.code() != Code::busy) return ended.status();
    if (!ended) continue;
    add_lanes(*ended, lanes);
    ending.push_back({name.key, std::move(*ended)});
  }
  return mark(me, lanes, kAllIds);
}

Status finish_clear(ThreadContext& me, std::span<const Ending> ending, bool keep_name,
                    std::size_t& finished) {
  Status done;
  std::vector<std::uint64_t> lanes;
  for (finished = 0; finished < ending.size(); finished++) {
    const Ending& name = ending[finished];
    auto retire = [&] { return Directory(me).retire_parked(*name.key, name.kept, keep_name); };
    bool has_settings = !keep_name && name.kept.policy & (kSettings | kSavedMarks);
    done = has_settings ? drop_saved(me, *name.key, retire) : retire();
    if (!done) break;
    add_lanes(name.kept, lanes);
  }
  Status rows = lanes.empty() ? Status() : me.pond->tier_side().forget_streams(me, lanes);
  if (!rows && rows.code() != Code::not_found) {
    me.pond->tier_side().note_death();  // left over, for who sweeps the tier
    me.pond->say(
        Severity::warning,
        "pond " + me.pond->name() + ": a cleared stream has rows that cannot be erased yet: " + rows.text());
  }
  return done;
}

Result<std::uint64_t> clear_parked(ThreadContext& me, const Key& key, bool keep_name) {
  std::vector<Ending> ending;
  const ToClear name{&key};
  if (Status begun = begin_clear(me, {&name, 1}, ending); !begun) return begun;
  if (ending.empty()) return Code::busy;
  std::size_t finished = 0;
  if (Status done = finish_clear(me, ending, keep_name, finished); !done) return done;
  return ending[0].kept.items();
}

}  // namespace headpond::internal
