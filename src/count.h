// Counting what a lane holds, from the cells themselves: nothing is kept beside them that could drift when a process dies.
#pragma once

#include "lane.h"

namespace headpond::internal {

struct LaneCount {
  std::uint64_t ready = 0, claimed = 0;  // ready: in the durable tier, or on the way there, too
  std::uint64_t spilled = 0;             // of the ready ones, those in the durable tier
  std::uint64_t spilled_bytes = 0, gaps = 0;
  std::uint64_t pending = 0;  // WRITING, RETURNING: may become READY
  std::uint64_t payload_bytes = 0, page_bytes = 0;
  std::uint64_t first_id = 0;   // of the first record that is not DONE; 0: none
  std::uint64_t next_id = 0;    // of the next record
  std::uint64_t oldest_us = 0;  // birth stamp of the first READY record that has one
};

/// `sizes`: payload bytes and stamps, too, which means looking at every record; without it a sealed page that nobody has claimed from is
/// counted by its SEAL. Pins and unpins.
Code count_lane(Lane& lane, bool sizes, LaneCount& out);

}  // namespace headpond::internal
