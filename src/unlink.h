// Taking pages off a lane's chain when all their records are DONE (protocol 3).
#pragma once

#include "lane.h"

namespace headpond::internal {

/// A page of this lane as it is seen inside the section, where chains stand still but for what builders add at the end: no pin needed.
PageView in_section(const Lane& lane, Reference r);

/// Does the lane end in a tomb, as it is seen inside the section? Only there does a tomb count for good: who parks may take his back.
bool ends_in_tomb(const Lane& lane);

/// Moves the page's `done` mark on over DONE records; true if it stands at SEAL, or at `end` if that is not 0. What is DONE stays DONE, so
/// a mark that a slow hand stores late is still right.
bool advance_done(const PageView& page, std::uint64_t end = 0);

/// Unlinks every page at the front that is all DONE and has a next, and `target` wherever it stands; recycles them. Of a PARKED stream everything goes, gaps included. Else, in a log only
/// `trimmed` decides: a reader that meets a hole above it would have to call it damage. Leaves it to the next one if somebody is in the section. Leaves the caller's
/// pin alone; a page that it has pinned is recycled later.
void unlink_done(Lane& lane, Reference target = {});

/// Takes the lane's first page off if it is over: two acks at the same time may each have left that to the other.
void unlink_first(Lane& lane);

}  // namespace headpond::internal
