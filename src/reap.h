// Reaping: finishing or undoing what a dead participant left (protocol 5). Every step may be repeated; a killed reaper is followed by the next.
//
//   found                          becomes
//   a section that it named        entered, its journal replayed, before the walk
//   WRITING(dead)                  DONE with its ids; with intent and a source that is exactly DONE(dead, those claims): READY
//   CLAIMED(dead)                  the cause of death beside it; RETURNING(dead), crashes + 1
//   RETURNING(dead)                both epochs raised, READY
//   SPILLING(dead)                 READY; DONE where the stream is PARKED. A park that is behind its commit is finished first (park.h)
//   page BUILDING(dead)            LINKED if prev's next, or `first`, names it; else RETIRED
//   page ZEROING(dead)             RETIRED
//   page SPILLING(dead)            LINKED
//   its pins, then its slot        free, last
#pragma once

#include "attachment.h"

namespace headpond::internal {

/// Reaps every participant that is dead; returns how many. A few file-lock queries if there is none. May wait for another reaper of this process.
std::uint32_t reap_dead(ThreadContext& me);

/// reap_dead() for who finds nothing: with many participants at most once in 4 ms per process, since each look asks the kernel about each.
std::uint32_t look_for_dead(ThreadContext& me);

/// Pages that nobody is at work on but that are not free: LIMBO and RETIRED ones. Done after a reaping.
void recover_pages(ThreadContext& me);

/// Memory is short: reaps, recycles, unlinks what is all DONE and shrinks the tails of every stream.
void make_room(ThreadContext& me);

}  // namespace headpond::internal
