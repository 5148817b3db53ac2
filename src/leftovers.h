// Rows of the durable tier that nobody will read again: their eraser was killed, or could not reach the tier.
#pragma once

#include "attachment.h"
#include "headpond/status.h"

namespace headpond::internal {

/// Erases the rows of streams that are gone, and those in no gap to which no page belongs. Rows of earlier segments stay. Reads the ids of all
/// rows and walks every lane that has some; nothing if the pond never had a durable tier. Returns how many rows.
Result<std::uint64_t> erase_leftovers(ThreadContext& me);

}  // namespace headpond::internal
