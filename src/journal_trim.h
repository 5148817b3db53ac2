// Trim: the journal written anew without what it need not say any more.
//
//   push, move   goes when its item is acked in the journal, cleared or trimmed, or a later place of it is in the journal
//   ack          goes when no page row of its stream can hold its item: then its pushes, which are all in these rows or none (P2), go with it
//   note         stays
//
// All rows at once, under the commit lock: so whatever an ack ends is looked at together with it. What the hot tier knows is read in this order:
//
//   1 the journal: its acks and last places     2 pages that are in work by a spiller, or may have a row     3 streams that have rows
//
// A spiller whose copy has the item as it was before the ack began before it (SPILLING), so 2 sees its page; if the page has left meanwhile, its row was
// committed, so 3 sees that. Rows whose items are all done may come back by a power cut until the barrier that a trim begins with.
#pragma once

#include "attachment.h"
#include "tier.h"

namespace headpond::internal {

/// `kept`: bytes that the journal has now, about. REQUIRES: the commit lock; reads and writes the disk.
Status trim_journal(ThreadContext& me, Tier& tier, std::uint64_t& kept, std::uint64_t until_us);

}  // namespace headpond::internal
