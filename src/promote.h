// Promoting: delayed items that are due move to their priority's lane, wherever they are (protocol 8).
//
// A scan walks over the delayed lane. It raises `due` of a page and of the stream only from the value that it read before, and only if it met nothing that
// is due or may still become READY; what a gap says counts as what a page says. Where that has come, a row with something due is refilled, out of the
// middle of the gap if it lies there, and the scan begins again: so items that are due at the same time come in the order of their ids. What can't be
// brought back keeps nothing else.
#pragma once

#include "delay.h"

namespace headpond::internal {

struct Promoted {
  std::uint64_t items = 0;  // that moved
  bool more = false;        // rows with something due are left: a call brings back some of them at most
  Status failed;            // what kept items that are due from moving
};

/// Moves what is due in memory, and what is due in kDueRowsAtOnce rows, to its priorities' lanes. None moves if somebody else is at it. Pins and unpins; where something
/// is spilled it reads from the disk, and makes room.
Promoted promote_due(ThreadContext& me, Binding stream);
constexpr int kDueRowsAtOnce = 16;

}  // namespace headpond::internal
