// A look at what waits in a lane of a queue, in both tiers, record by record and without a copy: what is spilled is read a row at a time.
#pragma once

#include <functional>
#include <set>

#include "headpond/queue.h"
#include "lane.h"

namespace headpond::internal {

/// How far a look has come. A second look with the same one finds what was added since, and moves that were under way then.
struct Looked {
  std::uint64_t seen = 0;             // ids up to here
  std::set<std::uint64_t> unsettled;  // but these, where an item was on its way in
};

/// A record that waits: its page is pinned, or a row.
using WaitingVisitor =
    std::function<bool(const PageView&, std::uint64_t offset, RecordWord, std::uint64_t id)>;

/// Visits the READY records of a lane in both tiers, once each and in order, with `claimed` those that are CLAIMED or on their way back, too; what
/// is on its way out counts as READY. The visitor answers whether to go on. Codes as for_each_record(), and what the tier answers; `busy`:
/// others spill and refill all the time. Pins and unpins.
Code for_each_waiting(Lane& lane, bool claimed, Looked& looked, const WaitingVisitor& visit);
/// The READY ones.
Code for_each_ready(Lane& lane, const WaitingVisitor& visit);

/// What such a record is, in place. False: it is shorter than it says.
bool view_item(const Lane& lane, const PageView& page, std::uint64_t offset, RecordWord word,
               std::uint64_t id, WaitingItem& out);

}  // namespace headpond::internal
