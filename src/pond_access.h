// What Pond's methods do, room by room.
#pragma once

#include "directory.h"
#include "headpond/pond.h"

namespace headpond::internal {

Recovered pond_recovered(const Attachment& pond) noexcept;
Result<Stats> pond_stats(Attachment& pond);      // stats.cpp
Result<Findings> pond_verify(Attachment& pond);  // verify.cpp
/// I15, I17 and I19, of what is parked; adds to `out`.
Status verify_parked(ThreadContext& me, Findings& out);  // verify_parked.cpp

}  // namespace headpond::internal
