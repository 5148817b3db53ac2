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

/// One step of it; bare `full`: this process does not spill.
Status make_room_for_move(Attachment& pond);

/// attempt() -> Status, which moves an item to another lane; again where there was no room for it and what a push does there makes some, if this process spills.
/// An item that goes back without its delay comes at once, and again, until its attempts are used up. What the tier answers, if it is asked; else what
/// the attempt does. REQUIRES: no pin, but holds. Sleeps on the disk.
template <class Attempt>
Status move_with_room(Attachment* pond, Attempt attempt) {
  constexpr int kTries = 4;  // others may take what was made
  for (int tries = 1;; tries++) {
    Status moved = attempt();
    if (moved.code() != Code::full || tries == kTries || !pond) return moved;
    if (Status made = make_room_for_move(*pond); !made)
      return made.text() == Status(Code::full).text() ? moved : made;
  }
}

}  // namespace headpond::internal
