// One stream on its way out: steps 1 to 5 of park.h, and all of it back.
#pragma once

#include <set>

#include "page_copy.h"
#include "tier.h"

namespace headpond::internal {

class LeavingStream {
 public:
  LeavingStream(ThreadContext& me, Binding stream, std::uint64_t last_use)
      : me_(me), words_(me.pond->segment().stream(stream.index())), stream_(stream), last_use_(last_use) {}

  Binding stream() const { return stream_; }
  std::uint64_t items() const { return items_; }
  std::uint64_t page_bytes() const { return page_bytes_; }
  /// Too much of it is in memory for one transaction: spill first.
  bool too_large() const { return page_bytes_ > kMostBytes; }
  static constexpr std::uint64_t kMostBytes = 2 << 20;

  /// 1. False: busy, or too large. Else what keeps the directory's section.
  Result<bool> mark();
  /// 2. False: busy.
  bool copy();
  bool pinned(const std::vector<std::uint32_t>& pages) const;
  /// 3. The lanes that get rows; then, once their ids are known, the rows, and what the others of the stream's keep.
  std::vector<Lane*> lanes_with_rows();
  void rows(std::uint64_t now_ms, std::vector<TierPage>& pages, std::vector<TierKept>& whole) const;
  /// 4. False: something has changed.
  bool take();
  /// 5. False: it is not idle, or was refilled. Else what keeps the section.
  Result<bool> tomb();
  /// All of it back, and a ring.
  void give_back();

 private:
  struct Page {
    PageView view;
    std::uint64_t first = 0, end = 0;
    PageCopy copy;
  };
  struct LeavingLane {
    LeavingLane(ThreadContext& me, Binding stream, int number) : lane(me, stream, number) {}
    Lane lane;
    std::uint64_t version = 0;
    std::vector<Page> pages;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> gaps;  // first and last id
  };
  bool mark_lane(LeavingLane& out);
  bool copy(LeavingLane& lane, Page& page);
  std::size_t used_lanes() const;

  ThreadContext& me_;
  StreamWords& words_;
  const Binding stream_;
  const std::uint64_t last_use_;
  std::vector<LeavingLane> lanes_;
  bool had_id_ = false;
  std::uint64_t items_ = 0, page_bytes_ = 0;
};

}  // namespace headpond::internal
