// gc: streams that nobody uses leave the segment, then the pond (design 8).
//
//   idle for spill_idle    parked: nothing is lost, and whoever comes to it brings it back
//   idle for drop_idle     parked, then cleared with its name. Only if nobody has used it since: who unparks a name changes what it keeps, in the same
//                          section in which the other marks it as ending. A log's cursors go between that mark and its name
//
// So a writer that races it finds the stream as it was, or parked, or gone and makes a new one: its item is in none that is dropped. Killed anywhere it has parked or
// dropped some of them, and no more: a name that is ending is the next one's, or its user's, to whom the log is empty and its cursors are where they were.
#pragma once

#include "attachment.h"
#include "headpond/pond.h"

namespace headpond::internal {

Result<GcResult> collect_idle(ThreadContext& me, const GcOptions& options);

/// Limits are from 0 to 10 years.
Status check_gc(const GcOptions& options);

}  // namespace headpond::internal
