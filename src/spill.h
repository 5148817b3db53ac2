// Spilling: sealed pages leave the segment for the durable tier, and a gap takes their place (protocol 4, spill).
//
//   1 pin, validate; LINKED -> SPILLING(me): one spiller a page; a hold pin follows
//   2 copy, if all records are READY or DONE; `row` set
//   3 COMMIT the rows of several pages
//   4 in a queue: READY -> SPILLING(me) for every copied record; one that changed: all of that page back
//   5 in the stream's section: still on the chain, behind a page, ids contiguous on both sides or a gap there: the page before gets {gap,
//     next}, LIMBO, commit
//   6 wake all: who sleeps there must see the gap; unhold, recycle
//
//   killed before     found                             becomes
//   3                 page SPILLING(dead)               LINKED
//   5                 page and records SPILLING(dead)   READY, LINKED; the row is replaced by the next spill, or goes with the page
//   the commit of 5   a journal                         undone: as above
//   6                 page LIMBO, the gap in place      RETIRED
//
// In the delayed lane the row says when its first item is due, and 5 puts that to the gap's words; a page with nothing left in it goes too, and leaves
// no row: the one that it had is erased in 3, and `dense_from` allows the hole from 5 on. Others can be unlinked wherever they stand; there that would
// leave a hole without a gap, and nothing behind it could leave.
//
// Between 4 and the end of 5 no system call: who meets SPILLING there answers `timeout`, not `empty`.
#pragma once

#include <algorithm>
#include <initializer_list>

#include "lane.h"

namespace headpond::internal {

struct Spilled {
  std::uint64_t pages = 0, bytes = 0;  // that left the segment
  bool busy = false;                   // pages were met on which others are at work
};

/// Which pages of a lane may go.
enum class SpillFrom : std::uint8_t {
  cold,  // behind the first gap, or behind the head run if there is none; of delayed items what is not due
  any,   // all but the first and the last
};

constexpr std::size_t kSpilledAtOnce = 16;
/// Bytes of delayed items in one gap, about, while cold pages can go elsewhere.
constexpr std::uint64_t kMostDelayedTogether = 4 << 20;

/// Spills up to kSpilledAtOnce pages of the lane, at least one or until `bytes` have left if it can, in one transaction. ok: perhaps none could go. Else what
/// the tier or the section answered: nothing happened but to the pages in `out`. Pins and unpins.
Code spill_lane(Lane& lane, SpillFrom from, std::uint64_t bytes, Spilled& out);

/// What a pusher that finds the segment full asks for: a transaction's worth.
inline std::uint64_t spill_step(const Segment& segment) {
  return std::min<std::uint64_t>(kSpilledAtOnce * segment.max_page_bytes(), segment.limit_bytes() / 8);
}

/// Spills about `bytes` from whatever was not used for longest, pass by pass until one has moved something: `cold` pages of all lanes, then `any`. Dead letters before delayed
/// items, these before items, low priorities before high ones. Answers as above.
Status spill_some(ThreadContext& me, std::uint64_t bytes, Spilled& out,
                  std::initializer_list<SpillFrom> passes = {SpillFrom::cold, SpillFrom::any});

}  // namespace headpond::internal
