#include "count.h"

#include <algorithm>
#include <cstring>

#include "each.h"

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

/// What stands before the item's own bytes in the delayed and the dead lane.
std::uint64_t prefix_bytes(int lane, const PageView& page, std::uint64_t offset, RecordWord word) {
  if (lane == kDelayedLane) return sizeof(DelayedPrefix);
  if (lane != kDeadLane) return 0;
  DeadPrefix prefix{};
  auto payload = page.payload(offset, word);
  if (payload.size() >= sizeof prefix) std::memcpy(&prefix, payload.data(), sizeof prefix);
  return sizeof prefix + prefix.reason_bytes;
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
  Code code = for_each_record(
      lane, on_page, [&](const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t id) {
        if (id <= seen) return Visit::go_on;
        seen = id + word.ids() - 1;
        out.next_id = std::max(out.next_id, seen + 1);
        if (word.state() == RecordState::done) return Visit::go_on;
        if (!out.first_id) out.first_id = id;
        if (word.state() == RecordState::ready)
          out.ready++;
        else if (word.state() == RecordState::claimed)
          out.claimed++;
        else
          out.pending++;
        if (word.state() == RecordState::ready || word.state() == RecordState::claimed) {
          std::uint64_t size = page.payload(offset, word).size(),
                        extra = lane.is_log() ? 0 : prefix_bytes(lane.number, page, offset, word);
          out.payload_bytes += size - std::min(size, extra);
        }
        LeaseWord stamp{page.lease(offset).load(std::memory_order_relaxed)};
        if (!out.oldest_us && word.state() == RecordState::ready && stamp.claims() == 0 && !stamp.mark())
          out.oldest_us = stamp.value();
        return Visit::go_on;
      });
  return code == Code::not_found && !lane.current() ? Code::not_found
         : code == Code::corruption                 ? code
                                                    : Code::ok;
}

}  // namespace headpond::internal
