#include "leftovers.h"

#include <algorithm>
#include <map>
#include <set>

#include "directory.h"
#include "gap.h"
#include "section.h"
#include "tier_side.h"
#include "unlink.h"

namespace headpond::internal {

namespace {

/// The descriptor with that id, in whatever state; none: the stream is gone, or parked.
Binding stream_with(const Segment& segment, std::uint64_t id) {
  std::uint64_t used = std::min(segment.header().descriptors_used.load(std::memory_order_acquire),
                                segment.reserved(Table::streams));
  for (std::uint32_t i = 0; i < used; i++) {
    std::uint64_t state = segment.stream(i).state.load(std::memory_order_acquire);
    if (static_cast<StreamState>(state & 0xff) != StreamState::free &&
        segment.stream(i).id.load(std::memory_order_acquire) == id)
      return Binding::make(i, state >> 28);
  }
  return {};
}

/// Asks the directory for the name that the tier knows a stream by.
class ParkedStreams {
 public:
  Result<bool> has(ThreadContext& me, Tier& tier, std::uint64_t number) {
    if (names_.empty()) {
      auto all = tier.streams(sys::precise_us() + kStorePatienceUs);
      if (!all) return all.status();
      for (TierNames& of : *all) names_.emplace(of.stream, std::move(of));
    }
    auto of = names_.find(number);
    if (of == names_.end()) return false;
    Key key{static_cast<Kind>(of->second.kind), of->second.scope, of->second.ns, of->second.name, {}};
    return Directory(me).has_stream(key, number >> 4);
  }

 private:
  std::map<std::uint64_t, TierNames> names_;
};

/// Takes out of `rows` what is in a gap or belongs to a page. In the section: what a dying process unlinked may be on the chain again. False: held up, the
/// stream is over or on its way out, or the walk did not come to the end.
bool keep_used(Lane& lane, std::set<std::uint64_t>& rows) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> used;  // the first id, and the one behind
  Reference next;
  {
    auto section = Section::enter(lane.me, stream_section(lane.binding.index()));
    if (!section) return false;
    Hops hops(lane.segment);
    next = Reference{lane.words.first.load(std::memory_order_acquire)};
    for (PageView page = in_section(lane, next); page && !hops.too_many();) {
      next = Reference{page.header->next.load(std::memory_order_acquire)};
      PageView behind = in_section(lane, next);
      used.emplace_back(id_of(page, 0), id_of(page, 0) + 1);
      if (next.gap() && behind) used.emplace_back(end_of(page), id_of(behind, 0));
      page = behind;
    }
    section->leave();
  }
  for (auto [first, end] : used)
    if (first < end) rows.erase(rows.lower_bound(first), rows.lower_bound(end));
  bool to_the_end = !next && !next.is_tomb();
  return to_the_end && lane.current();
}

}  // namespace

// The rows are listed before the chain is walked: one that is stored later is not looked at, and one that was listed stays in its gap or its
// page until that page is unlinked for good.
Result<std::uint64_t> erase_leftovers(ThreadContext& me) {
  Segment& segment = me.pond->segment();
  if (segment.header().tier_store.load(std::memory_order_acquire) == 0) return std::uint64_t{0};
  auto tier = me.pond->tier_side().tier(me);
  if (!tier) return tier.status();
  std::uint64_t erased = 0, from = segment.header().stream_ids_from.load(std::memory_order_acquire);
  auto streams = (*tier)->streams_with_rows(sys::precise_us() + kStorePatienceUs);
  if (!streams) return streams.status();
  ParkedStreams parked;
  for (std::uint64_t number : *streams) {
    std::uint64_t id = number >> 4, until = sys::precise_us() + kStorePatienceUs;
    if (id <= from || number % 16 >= kLanes) continue;
    std::set<std::uint64_t> rows;
    Status listed = (*tier)->list(
        number, [&](const TierSpan& span) { return rows.insert(span.first), Status(); }, until);
    if (!listed) return listed;
    Binding stream = stream_with(segment, id);
    if (!stream) {  // parked? Then all its rows are its own
      auto known = parked.has(me, **tier, number);
      if (!known) return known.status();
      if (*known) continue;
    }
    if (!stream) {  // cleared, and its clearer did not live to erase them
      TierSide& side = me.pond->tier_side();
      Status gone = side.mark_cleared(me, {&number, 1});
      if (gone.ok()) gone = side.forget_streams(me, {&number, 1});
      if (!gone && gone.code() != Code::not_found) return gone;
      erased += rows.size();
      continue;
    }
    me.pond->touch(stream.index());
    Lane lane(me, stream, static_cast<int>(number % 16));
    if (!lane.current() || !keep_used(lane, rows) || rows.empty()) continue;
    std::vector<std::uint64_t> firsts(rows.begin(), rows.end());
    if (Status gone = (*tier)->erase(number, firsts, until); !gone) return gone;
    erased += firsts.size();
    me.pond->tier_side().note_erased();
  }
  return erased;
}

}  // namespace headpond::internal
