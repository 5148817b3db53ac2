#include "count.h"

#include <algorithm>
#include <cstring>

#include "each.h"
#include "gap.h"

namespace headpond::internal {

namespace {

/// The ids that a page's SEAL counts, found from its tail hint; false: it is not sealed.
bool sealed_ids(const PageView& page, std::uint64_t& ids) {
  Hint tail{page.header->tail.load(std::memory_order_acquire)};
  std::uint64_t offset = tail.offset() ? tail.offset() : kFirstRecord;
  while (page.holds(offset)) {
    RecordWord word{page.word(offset).load(std::memory_order_acquire)};
    if (word.state() == RecordState::seal) return ids = word.sealed_ids(), true;
    std::uint64_t extent = word.raw ? page.extent(offset, word) : 0;
    if (!extent) return false;
    offset += extent;
  }
  return false;
}

}  // namespace

Code count_lane(Lane& lane, bool sizes, LaneCount& out) {
  Unpin unpin{lane};
  out = {};
  out.next_id = lane.stream.first_id.load(std::memory_order_relaxed);
  std::uint64_t seen = 0;  // ids up to here are counted: the walk may begin anew
  auto on_page = [&](const PageView& page) {
    std::uint64_t first = id_of(page, 0), ids = 0;
    if (first <= seen && seen) return true;
    out.page_bytes += page.bytes;
    out.next_id = std::max(out.next_id, first);
    if (sizes || page.header->disturbed.load(std::memory_order_acquire) || !sealed_ids(page, ids))
      return true;
    out.ready += ids;
    if (!out.first_id && ids) out.first_id = first;
    seen = first + ids - 1;
    out.next_id = std::max(out.next_id, first + ids);
    return false;
  };
  // Ids behind `seen` and before the page behind the gap are the gap's.
  auto on_gap = [&](const GapAhead& gap, const PageView& behind) {
    std::uint64_t first = id_of(behind, 0);
    if (first <= seen + 1) return Code::ok;
    // A spiller at work may have counted already what is still in memory.
    std::uint64_t items = std::min(gap.items, first - seen - 1);
    if (!out.first_id && items) out.first_id = seen + 1;
    seen = first - 1;
    std::uint64_t bytes = items == gap.items ? gap.bytes : gap.bytes * items / gap.items;
    out.ready += items, out.spilled += items, out.gaps++;
    out.payload_bytes += bytes, out.spilled_bytes += bytes;
    return Code::ok;
  };
  Code code = for_each_record(
      lane, on_page,
      [&](const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t id) {
        if (id <= seen) return Visit::go_on;
        seen = id + word.ids() - 1;
        out.next_id = std::max(out.next_id, seen + 1);
        if (word.state() == RecordState::done) return Visit::go_on;
        if (!out.first_id) out.first_id = id;
        bool spilling = word.state() == RecordState::spilling;  // on its way out, and as good as ready
        if (word.state() == RecordState::ready || spilling)
          out.ready++;
        else if (word.state() == RecordState::claimed)
          out.claimed++;
        else
          out.pending++;
        if (word.state() == RecordState::ready || word.state() == RecordState::claimed || spilling)
          out.payload_bytes += own_bytes(lane.kind(), page, offset, word);
        LeaseWord stamp{page.lease(offset).load(std::memory_order_relaxed)};
        if (!out.oldest_us && word.state() == RecordState::ready && stamp.claims() == 0 && !stamp.mark())
          out.oldest_us = stamp.value();
        return Visit::go_on;
      },
      [] {}, on_gap);
  return code == Code::not_found && !lane.current() ? Code::not_found
         : code == Code::corruption                 ? code
                                                    : Code::ok;
}

}  // namespace headpond::internal
