// A sealed page on its way out of the segment: LINKED -> SPILLING(me), its copy, its records READY -> SPILLING(me), and all of that back. What spill and park
// have in common; where the two differ is what comes then.
//
// A page that is SPILLING(me) stays in its life until I end that: others unlink only what is LINKED. So it needs no pin.
#pragma once

#include <memory>
#include <string_view>

#include "gap.h"

namespace headpond::internal {

/// The image of a page, as a row of the durable tier has it.
struct PageCopy {
  Weight weight;
  std::unique_ptr<std::uint64_t[]> memory;  // at the page's offsets
  std::string_view image;                   // of that
};

/// LINKED -> SPILLING(me), with our bit in it. False: another works on it.
bool mark_page(Lane& lane, const PageView& page);
/// SPILLING(me) -> LINKED.
void unmark_page(Lane& lane, const PageView& page);
/// Records READY or DONE, of DONE ones no payload. False: another state, or its SEAL does not stand before `end`. REQUIRES: SPILLING(me), sealed.
bool copy_page(const Lane& lane, const PageView& page, std::uint64_t end, PageCopy& out);
/// All of the page's ids as DONE, where nothing is left in it.
void copy_ids(PageCopy& copy);
/// Every copied READY record -> SPILLING(me). False: one has changed; those before it are ours.
bool take_records(Lane& lane, const PageView& page, const PageCopy& copy);
/// Records SPILLING(me) -> READY, then the page LINKED. The caller rings.
void give_back_page(Lane& lane, const PageView& page);
/// Before the row of a page of that size is committed: the allocator's reserve has room for it from then on.
void note_spilled(Segment& segment, std::uint64_t page_bytes);

}  // namespace headpond::internal
