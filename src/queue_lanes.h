// How a queue's items are named, and its lanes of priority.
#pragma once

#include <bit>

#include "headpond/queue.h"
#include "layout.h"

namespace headpond::internal {

inline ItemId item_id(int lane, std::uint64_t seq) { return {static_cast<std::uint64_t>(lane) << 60 | seq}; }

/// Priorities that may have items, highest first: work(lane number) until it answers something else than empty.
template <class Work>
Code by_priority(const StreamWords& stream, Work work) {
  std::uint32_t lanes = (stream.lanes.load(std::memory_order_acquire) | 1) & ((1u << kPriorities) - 1);
  for (Code held_up = Code::empty;;) {
    int lane = 31 - std::countl_zero(lanes);
    Code code = work(lane);
    if (code != Code::empty && code != Code::timeout) return code;
    if (code == Code::timeout) held_up = code;
    lanes &= ~(1u << lane);
    if (lanes == 0) return held_up;
  }
}

}  // namespace headpond::internal
