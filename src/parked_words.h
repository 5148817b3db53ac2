// What a parked name keeps in the directory: the stream's id in the durable tier, where its lanes go on, and how it is governed.
//
// It stands in slots of its own, which the entry's `value` names: first a head of 9 words and one lane, then 3 lanes a slot, each slot's word 0 being its
// `chain`. Written where nobody looks, by who parks or helps, in the directory's section; shown by the one word in the entry.
//
//   0 id  1 first_id  2 policy 32 | max_attempts 32  3 lease_us  4 max_items  5 max_bytes  6 trimmed  7 last_use  8 lanes' mask 16 | count 8
//   lane: number 4 | first 60, next, items, bytes
#pragma once

#include <vector>

#include "layout.h"

namespace headpond::internal {

/// A lane that has left the segment: ids from `first` to `next` - 1, of which the items are in rows.
struct ParkedLane {
  int number = 0;
  std::uint64_t first = 0, next = 0, items = 0, bytes = 0;
};

struct Parked {
  std::uint64_t id = 0;  // in the durable tier; 0: it never had rows
  std::uint64_t first_id = 0;
  std::uint32_t policy = 0, max_attempts = 0;
  std::uint64_t lease_us = 0, max_items = 0, max_bytes = 0, trimmed = 0;
  std::uint64_t last_use = 0;  // us, CLOCK_MONOTONIC_COARSE
  std::uint32_t mask = 1;      // StreamWords::lanes
  std::vector<ParkedLane> lanes;

  std::uint64_t items() const {
    std::uint64_t sum = 0;
    for (const ParkedLane& lane : lanes) sum += lane.items;
    return sum;
  }
  std::uint64_t next_id() const {
    std::uint64_t most = first_id;
    for (const ParkedLane& lane : lanes) most = most < lane.next ? lane.next : most;
    return most;
  }
};

constexpr std::size_t kParkedHead = 9, kParkedLane = 4, kParkedLanesASlot = 3;
constexpr std::uint32_t parked_slots_for(std::size_t lanes) {
  return static_cast<std::uint32_t>(lanes <= 1 ? 1
                                               : 1 + (lanes - 1 + kParkedLanesASlot - 1) / kParkedLanesASlot);
}
static_assert((1 + kParkedHead + kParkedLane) * 8 <= sizeof(SlotWords) &&
              (1 + kParkedLanesASlot * kParkedLane) * 8 <= sizeof(SlotWords));

}  // namespace headpond::internal
