// Refilling: a row of a gap, the first one but for delayed items, comes back as a page (protocol 4, refill).
//
//   1 the lane's gap version; then the page before the gap: pin, validate; its `next` and last id
//   2 the row whose first id is the next one, below `dense_from` the nearest (none left: the gap ends, and has no items any more); allocate BUILDING(me), the reserve too; lay the row there
//   3 pin, validate again; prev; in the stream's section: same gap, same version, then version + 1, and the link as one store that nothing undoes
//   4 BUILDING -> LINKED; wake all; unpin
//
//   killed before     found                                          becomes
//   the link          BUILDING(dead), prev's next names another      RETIRED; a raised version only makes others look again
//   4                 BUILDING(dead), prev's next names it           LINKED
//
// In the delayed lane the row may come from the gap's middle (refill_due), or from behind a hole: then {gap, page} is what 3 stores, and the page has the
// words of the gap in front of it, too (layout.h, front_of). Before a page that came so, and is BUILDING still, the next one must not be linked: that the
// page before names it is what the reaper goes by. It is made LINKED first, in the section, where it is on the chain for sure.
//
// The row stays until the page is unlinked with all its items done: after a reboot the rows are what is left.
#pragma once

#include "claim.h"

namespace headpond::internal {

/// The gap behind `before`. ok: its first page is back, or the gap has changed: look again. Else why not: what the tier answered, `full`, corruption.
/// Pins and unpins; reads from the disk.
Code refill(Lane& lane, Reference before);

/// The same of the delayed lane for a row with something due at `now_ms`, wherever in the gap it is; none: from now on the gap says so. Answers as refill().
Code refill_due(Lane& lane, Reference before, std::uint64_t now_ms);

/// Refills until the item with this seq is in memory again, or is in no gap. Answers as refill(). What is before it comes back, too, or has gone out
/// again behind us; in the delayed lane its row alone comes.
Code bring_back(Lane& lane, std::uint64_t seq);

/// claim() that goes on behind gaps.
Code claim_refilling(Lane& lane, Claimed& out);

/// The first pages of a gap, before those who claim come to it: if there is room to spare. What fails is met again at the gap.
void prefetch(Lane& lane, Reference before);

}  // namespace headpond::internal
