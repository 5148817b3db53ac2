// Ending a stream: clear, and dropping a scope. The name goes on with a new stream whose ids begin above (protocol 4, drop and clear).
//
//   0 the descriptor: LIVE -> CLEARING, never taken back: nobody begins anything new in any lane
//   1 every lane: seal the tail, then next (or an empty `first`) -> tomb; a pusher's page that was there first: on to it; then, in the stream's section:
//     all lanes end in tombs
//   2 one directory section: the name's floor rises, it gets a successor or goes, the descriptor is TOMBED
//   3 a membarrier; CLEAR in the durable tier, then the gaps are cut and the rows erased; then the sweep: READY and CLAIMED -> DONE; late acks are fenced. Who makes a record READY or CLAIMED looks at the
//     state afterwards: either the sweep saw that record, or its maker sees the state and takes it out itself
//   4 unlink: all-DONE pages of a TOMBED stream, the last one too
//   5 when `first` of every lane is the tomb, and not before: the rows once more, and the tier forgets the stream; then the descriptor is FREE in
//     its next generation. A spiller that is on its way has a page until then, so nobody stores a row of a stream that the tier does not know
//
//   killed after    whoever meets the tomb (a pusher or claimer with an old handle, a reaper) goes on with
//   0, some of 1    the other lanes, 2
//   1, before 2     2
//   2 to 4          3 to 5, by the reaper or whoever is short of memory; nobody finds the stream by its name any more
#pragma once

#include "directory.h"
#include "lane.h"

namespace headpond::internal {

/// Steps 0 to 5 as far as they go now; answers as end_stream(), or returns how many items this call took. Any number of processes at once. `keep_name`: the name goes on
/// with an empty stream that is governed alike; else it goes.
Result<std::uint64_t> retire_stream(ThreadContext& me, Binding stream, bool keep_name);

/// Steps 0 to 2, CLEAR before 2; what the tier answers, where it cannot say CLEAR: before 0 nothing has happened, later whoever comes by goes
/// on. `not_found`: the name means something else by now, look it up again. What somebody does who meets the tomb of a clear that another has begun, and who leaves the count to that one.
Status end_stream(ThreadContext& me, Binding stream, bool keep_name);

/// Steps 3 to 5 for a stream that is TOMBED; nothing for any other. Returns how many items this call took. `rows`: why the durable tier
/// keeps rows of it; the gaps are gone all the same, and who sweeps the tier later finds them.
std::uint64_t sweep_tombed(ThreadContext& me, Binding stream, Status& rows);

/// Step 4 and 5 alone, for who has just discarded a record of its own: what it unlinks may be the last page.
void finish_tombed(ThreadContext& me, Binding stream);

/// For every TOMBED stream, and every PARKED one (park.h).
void sweep_all_tombed(ThreadContext& me);

}  // namespace headpond::internal
