// Room for what must come in: by spilling, and where nothing can be spilled by parking what was idle longest.
#pragma once

#include "pages.h"
#include "spill.h"

namespace headpond::internal {

/// Spills what is cold; where nothing is, parks what was idle longest; and where that is nothing, spills what is left. Answers as they do; `out.busy`: others are at work on what may make room.
Status make_space(ThreadContext& me, std::uint64_t bytes, Spilled& out);

/// A page for what comes back from the durable tier: from the reserve, too; else others' pages make room, whatever the process wants where it pushes. `full`; `timeout`: others are
/// at work on what may make room. REQUIRES: no pin. Sleeps.
Result<NewPage> allocate_with_room(ThreadContext& me, std::uint64_t bytes);

}  // namespace headpond::internal
