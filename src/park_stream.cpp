#include "park_stream.h"

#include <algorithm>

#include "directory.h"
#include "pages.h"
#include "retire.h"
#include "section.h"
#include "tier_side.h"
#include "unlink.h"

namespace headpond::internal {

namespace {

/// Seals the page if it is open; the id behind its last. 0: a record that is not settled, or damage.
std::uint64_t seal(Lane& lane, const PageView& page) {
  std::uint64_t ids = 0;
  for (std::uint64_t offset = kFirstRecord; page.holds(offset);) {
    RecordWord word{page.word(offset).load(std::memory_order_acquire)};
    if (word.state() == RecordState::seal) return id_of(page, ids);
    if (word.raw == 0) {
      std::uint64_t free = 0;
      lane.mark(page);
      page.word(offset).compare_exchange_strong(free, RecordWord::seal(static_cast<std::uint32_t>(ids)).raw,
                                                std::memory_order_acq_rel);
      continue;
    }
    std::uint64_t extent = page.extent(offset, word);
    if (!extent || (word.state() != RecordState::ready && word.state() != RecordState::done)) return 0;
    offset += extent, ids += word.ids();
  }
  return 0;
}

}  // namespace

// ------------------------------------------------------------------------------------------------------------------ 1 mark

Result<bool> LeavingStream::mark() {
  me_.pond->touch(stream_.index());
  if ((words_.bell.load(std::memory_order_acquire) | words_.space_bell.load(std::memory_order_acquire)) &
      kAsleep)
    return false;  // somebody waits for it
  if (auto live = Directory(me_).is_settled(stream_, StreamState::live); !live || !*live) return live;
  had_id_ = words_.id.load(std::memory_order_acquire) != 0;
  lanes_.reserve(kLanes);
  for (int n = 0; n < kLanes; n++) lanes_.emplace_back(me_, stream_, n);
  {
    auto section = Section::try_enter(me_, stream_section(stream_.index()));
    if (!section) return false;
    for (LeavingLane& of : lanes_) of.version = of.lane.words.gap_version.load(std::memory_order_relaxed);
    section->leave();
  }
  return std::all_of(lanes_.begin(), lanes_.end(), [&](LeavingLane& of) { return mark_lane(of); });
}

bool LeavingStream::mark_lane(LeavingLane& out) {
  Lane& lane = out.lane;
  Unpin unpin{lane};
  Reference next{lane.words.first.load(std::memory_order_acquire)};
  if (!next) return next == Reference::empty(stream_.generation()) && lane.current();
  std::uint64_t end = 0;
  for (Hops hops(lane.segment); next && !hops.too_many();) {
    PageView page;
    if (!lane.pin(next, page) || !lane.current() ||
        page.bytes > lane.segment.limit_bytes() / kLargestSpilledPart)
      return false;
    if (next.gap() && lane.kind().delayed()) return false;  // these must be seen when they are due
    if (next.gap() && end < id_of(page, 0)) out.gaps.push_back({end, id_of(page, 0) - 1});
    if (!mark_page(lane, page)) return false;
    out.pages.push_back({.view = page, .first = id_of(page, 0), .end = 0, .copy = {}});
    page_bytes_ += page.bytes;
    if (page_bytes_ > kMostBytes) return false;
    out.pages.back().end = end = seal(lane, page);
    if (end == 0) return false;
    next = Reference{page.header->next.load(std::memory_order_acquire)};
  }
  return next.raw == 0;
}

// ------------------------------------------------------------------------------------------------------------------ 2 copy

bool LeavingStream::copy() {
  for (LeavingLane& lane : lanes_)
    for (Page& page : lane.pages)
      if (!copy(lane, page)) return false;
  return true;
}

bool LeavingStream::copy(LeavingLane& in, Page& page) {
  Weight& weight = page.copy.weight;
  if (!copy_page(in.lane, page.view, page.end, page.copy)) return false;
  bool log = in.lane.is_log();
  if (log && page.end <= in.lane.stream.trimmed.load(std::memory_order_acquire)) weight.items = 0;
  if (weight.items == 0) return true;                        // no row
  if (in.lane.number == kDelayedLane && !log) return false;  // these must be seen when they are due
  items_ += weight.items;
  page.view.header->row.store(1, std::memory_order_seq_cst);
  note_spilled(in.lane.segment, page.view.bytes);
  return true;
}

bool LeavingStream::pinned(const std::vector<std::uint32_t>& pages) const {
  for (const LeavingLane& lane : lanes_)
    for (const Page& page : lane.pages)
      if (std::binary_search(pages.begin(), pages.end(), page.view.reference.page())) return true;
  return false;
}

// ------------------------------------------------------------------------------------------------------------------ 3 rows

std::vector<Lane*> LeavingStream::lanes_with_rows() {
  std::vector<Lane*> out;
  for (LeavingLane& lane : lanes_)
    if (std::any_of(lane.pages.begin(), lane.pages.end(),
                    [](const Page& page) { return page.copy.weight.items > 0; }))
      out.push_back(&lane.lane);
  return out;
}

void LeavingStream::rows(std::uint64_t now_ms, std::vector<TierPage>& pages,
                         std::vector<TierKept>& whole) const {
  std::uint32_t mask = words_.lanes.load(std::memory_order_acquire) | 1;
  for (const LeavingLane& lane : lanes_) {
    std::uint64_t id = TierSide::id_of(lane.lane);
    // What begins behind the tail as it was sealed is of pages that others have linked and spilled since: theirs.
    if (had_id_ && (mask >> lane.lane.number & 1) && !lane.pages.empty())
      whole.push_back({id, lane.pages.back().end, lane.gaps});
    for (const Page& page : lane.pages)
      if (page.copy.weight.items > 0)
        pages.push_back({.stream = id,
                         .first = page.first,
                         .last = page.end - 1,
                         .records = static_cast<std::uint32_t>(page.copy.weight.items),
                         .created_ms = now_ms,
                         .bytes = page.copy.image});
  }
}

// ------------------------------------------------------------------------------------------------------------- 4, 5: the way out

std::size_t LeavingStream::used_lanes() const {
  return static_cast<std::size_t>(std::count_if(lanes_.begin(), lanes_.end(),
                                                [](const LeavingLane& lane) { return !lane.pages.empty(); }));
}

bool LeavingStream::take() {
  for (LeavingLane& lane : lanes_)
    for (Page& page : lane.pages)
      if (!lane.lane.is_log() && !take_records(lane.lane, page.view, page.copy)) return false;
  return true;
}

Result<bool> LeavingStream::tomb() {
  if (Status kept = Directory(me_).keep_slots(stream_, used_lanes()); !kept) {
    if (kept.code() == Code::not_found) return false;
    return kept;
  }
  auto section = Section::enter(me_, stream_section(stream_.index()));
  if (!section) return section.status();
  // Every operation counts as use; who comes from here on finds what he wants taken, or the tail sealed.
  if (words_.used.load(std::memory_order_acquire) ||
      words_.last_use.load(std::memory_order_acquire) != last_use_)
    return false;
  for (LeavingLane& lane : lanes_)
    if (!lane.lane.current() || lane.lane.words.gap_version.load(std::memory_order_acquire) != lane.version)
      return false;
  for (LeavingLane& lane : lanes_) {
    bool empty = lane.pages.empty();
    Word& end = empty ? lane.lane.words.first : lane.pages.back().view.header->next;
    if (!section->exchange(end, empty ? Reference::empty(stream_.generation()).raw : 0,
                           Reference::tomb().raw))
      return false;  // somebody linked a page: undone, in all lanes
  }
  section->leave();
  return true;
}

void LeavingStream::give_back() {
  for (LeavingLane& lane : lanes_)
    for (Page& page : lane.pages) give_back_page(lane.lane, page.view);
  Segment& segment = me_.pond->segment();
  ring(segment, words_.bell, Wake::all), ring(segment, words_.space_bell, Wake::all);
  if (lanes_.empty() || lanes_[0].lane.current()) return;
  // Cleared under us: what we gave back may have been its last pages, and our rows go with its end. Parked by another: they are its own.
  finish_tombed(me_, stream_);
}

}  // namespace headpond::internal
