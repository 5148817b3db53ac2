// A gap: the run of a lane that is in the durable tier, and its rows as walkers read them.
//
//   first ->  page r  --next {gap, G}-->  page G  -> ...          rows of the ids between r's last and G's first, end to end
//
// A row is the image of a sealed page: an ImageHeader, then the bytes of the page from kFirstRecord to the end of its SEAL. Its records are READY or
// DONE. What comes from a disk is checked record by record before anybody walks over it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "lane.h"
#include "tier.h"

namespace headpond::internal {

struct ImageHeader {
  std::uint32_t format;  // kImageFormat
  std::uint32_t unused;
};
constexpr std::uint32_t kImageFormat = 1;

/// What the records of an image or a page come to.
struct Weight {
  std::uint64_t ids = 0, items = 0, bytes = 0;  // ids of all; READY items and the bytes of their payloads
  std::uint64_t due = 0;                        // ms, delayed lane: when the first of these is due; 0: none
  std::uint64_t end = 0;                        // offset behind SEAL
};

/// A row in private memory, laid out like a page, so that what walks over pages walks over it, too.
struct SpilledPage {
  std::uint64_t stream = 0, first = 0, last = 0;
  std::unique_ptr<std::uint64_t[]> memory;
  PageView view;  // no reference
  Weight weight;
};

/// When the item of a record in the delayed lane is due: ms of the wall clock, 1 at the least.
std::uint64_t due_of(const PageView& page, std::uint64_t offset, RecordWord word);
/// The sooner of two due times; 0: never.
constexpr std::uint64_t sooner(std::uint64_t a, std::uint64_t b) { return !a || (b && b < a) ? b : a; }
/// Counts a READY record.
void weigh_item(LaneKind kind, const PageView& page, std::uint64_t offset, RecordWord word, Weight& out);

/// The item's own bytes: in the delayed and the dead lane others stand before them.
std::uint64_t own_bytes(LaneKind kind, const PageView& page, std::uint64_t offset, RecordWord word);

/// Walks from kFirstRecord to SEAL. False: not end to end, another state than READY or DONE, or a SEAL that counts otherwise.
bool weigh(LaneKind kind, const PageView& page, Weight& out);

/// The id behind the page's last, by its SEAL; 0: it has none.
std::uint64_t end_of(const PageView& page);

/// The row that holds `seq`, checked; below `dense_from`, if none does, the next row. `not_found`: there is none. Reads from the disk; the caller holds no section.
Result<std::shared_ptr<const SpilledPage>> read_row(Lane& lane, std::uint64_t seq, bool cached);
/// A row that was loaded, checked and laid out. `pond` is named where it is damaged.
Result<std::shared_ptr<const SpilledPage>> lay_out_row(const std::string& pond, LaneKind kind,
                                                       const TierRow& row);

/// Visits the READY and DONE records of the rows with ids from `from` to `to` - 1, in order; visit(view, offset, word, id) as for_each_record() does.
/// `not_found`: a row is missing: look at the chain again, it may be back, or trimmed.
Code for_each_spilled(
    Lane& lane, std::uint64_t from, std::uint64_t to,
    const std::function<bool(const PageView&, std::uint64_t, RecordWord, std::uint64_t)>& visit);

/// A gap names rows that are not there: says which ids.
Code missing_row(Lane& lane, std::uint64_t from, std::uint64_t to);

/// What it means that a row was not found in a gap that began at `from`: `busy` if the lane was refilled, trimmed or cleared since its
/// gap version was `version`; look at the chain again. `ok`: a queue's below `dense_from`, where ids may be missing. Else damage.
Code row_not_found(Lane& lane, std::uint64_t version, std::uint64_t from, std::uint64_t to);

}  // namespace headpond::internal
