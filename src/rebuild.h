// Rebuilding a pond from its durable tier: its segment is gone, with the host or by somebody's hand (durable.md 4).
//
//   1 nobody of an older segment lives: the presence byte is held alone
//   2 epoch + 1 is committed: whoever lives all the same is stale
//   3 rows of cleared ids go; streams that another has followed under the same name are cleared
//   4 journal and rows become rows alone (merge.h)
//   5 names of streams that have nothing left are forgotten
//   6 the new segment, which has no name yet: each stream with items is a parked name (park.h), so that it takes no memory before somebody uses it. Only
//     those with delayed items come back at once. Before them limits of scopes and the cursors of logs, with them the settings of queues, those
//     without items, too
//   7 the segment gets its name
//
// Ids go on at (epoch << 40) + 1 in every stream, those that nobody ever spilled too: every name's floor is there. So no id is used twice. Killed
// before 7, there is a store in a later epoch and no segment: the next one does it all again, and finds less to do.
#pragma once

#include <memory>

#include "attachment.h"
#include "tier.h"

namespace headpond::internal {

/// 1 to 6, if the folder has a tier; else nothing happens and `tier` stays null. `presence`: the right of 1; the caller shares it when the segment has
/// its name. `busy` says who lives; `corruption`, `unsupported` and the like as the tier answers. REQUIRES: the right to create; the segment is
/// fresh, and nobody else has it.
Status rebuild(const std::shared_ptr<Segment>& segment, const Options& options, const StateFolder& state,
               sys::Fd& presence, std::shared_ptr<Tier>& tier);

}  // namespace headpond::internal
