// Delayed items: a lane of their own, where an item waits until its time, then moves to its priority's lane (protocol 8).
//
// A page and the stream each have a word `due`: {earliest due time, version}; a gap has such a time. A pusher lowers it between WRITING and READY. A scanner raises it
// only from the value that it read before its scan, and only if it met nothing that is due or may still become READY (WRITING, CLAIMED,
// RETURNING; promote.h). So no item is overlooked: one that becomes READY has lowered both words after every scan that did not see it began, and one
// that its mover or a reaper returns kept every scan meanwhile from raising them.
#pragma once

#include "lane.h"

namespace headpond::internal {

/// REQUIRES: the page is pinned and a WRITING word of ours stands in it.
void lower_due(Lane& lane, const PageView& page, std::uint64_t due_ms);

/// The stream's word only: for a page of its own, whose word was written before it was linked.
void lower_stream_due(Lane& lane, std::uint64_t due_ms);

/// Is something due? One load.
inline bool something_due(const StreamWords& stream, std::uint64_t now_ms) {
  DueWord due{stream.due.load(std::memory_order_acquire)};
  return due.ms() != 0 && due.ms() <= now_ms;
}

}  // namespace headpond::internal
