// Leases: a word beside the record, good only for the claim with the same claims count (protocol 2, lease).
//
//   begin   by the claimer, or by the first look or extension that finds none: read the lease, read the record AGAIN, it must still be that
//           claim; compare-exchange the lease to {now + time, claims}
//   extend  to the later of both deadlines, never over EXPIRED
//   expire  {deadline, claims} -> {EXPIRED, claims}; then CLAIMED -> RETURNING, epochs, READY; who finds EXPIRED goes on with the second step
//
// Ack, nack and move look at the record only: between EXPIRED and RETURNING they still win. A lease word with claims 0 is none: it says when
// the record was written, or who died with it.
#pragma once

#include "claim.h"

namespace headpond::internal {

/// REQUIRES: the page is pinned or held.
void begin_lease(Lane& lane, const Claimed& claimed, std::uint64_t deadline_us);
/// False: the claim is lost, or its time is over. REQUIRES as above.
bool extend_lease(Lane& lane, const Claimed& claimed, std::uint64_t deadline_us);
/// Returns every claim of the lane whose time is over; begins the lease of those that have none, if the queue has leases. Returns how many
/// came back. Pins and unpins.
std::uint64_t expire_leases(Lane& lane);

}  // namespace headpond::internal
