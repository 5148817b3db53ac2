// Visiting every record of a lane from `first` on, pinned page by pinned page. For looks, counts and sweeps, not for the hot path.
#pragma once

#include "lane.h"

namespace headpond::internal {

enum class Visit { go_on, stop };

/// A gap that a walk goes over.
struct GapAhead {
  std::uint64_t items = 0, bytes = 0;  // READY items in its rows, bytes of their payloads
  std::uint64_t due = 0;               // delayed lane: ms, none of them is due before; 0: there are none
  Reference before;                    // the page before it
};

/// Where the words of a gap are: in the page before it, or behind it if that came into the middle of a larger one.
struct GapWords {
  Word &items, &bytes, &due;
  /// REQUIRES: neither page can go: the stream's section is held. A pin keeps one alone: who has but that reads the page before first.
  static GapWords of(const PageView& before, const PageView& behind) {
    PageHeader &b = *before.header, &h = *behind.header;
    if (h.front_of.load(std::memory_order_acquire) == before.reference.raw)
      return {h.front_items, h.front_bytes, h.front_due};
    return {b.gap_items, b.gap_bytes, b.gap_due};
  }
  GapAhead load() const {
    return {items.load(std::memory_order_acquire),
            bytes.load(std::memory_order_acquire),
            due.load(std::memory_order_acquire),
            {}};
  }
};

/// Calls page(view) for each page, leave() when its records are done with and it is still pinned, and record(view, offset, word, id) for each record that is not FREE or SEAL. `page` may answer false: skip its
/// records. Codes: ok (to the end, or stopped); not_found (the tomb ended it, or the stream is gone); corruption. A page that goes away under
/// the walk makes it begin anew at `first`; records may then be visited twice, with the same id. Leaves the last page pinned. What is in a gap is
/// not visited: gap(GapAhead, page behind it, pinned) is called for it, and its answer, if that is not ok, ends the walk.
template <class OnPage, class OnRecord, class OnLeave, class OnGap>
Code for_each_record(Lane& lane, OnPage on_page, OnRecord on_record, OnLeave on_leave, OnGap on_gap) {
  PageView page;
  Reference next{};
  GapAhead gap;
  auto follow = [&] {
    next = Reference{page.header->next.load(std::memory_order_acquire)};
    if (!next.gap()) return;
    const PageHeader& header = *page.header;
    gap = {header.gap_items.load(std::memory_order_acquire), header.gap_bytes.load(std::memory_order_acquire),
           header.gap_due.load(std::memory_order_acquire), page.reference};
  };
  Hops hops(lane.segment);
  for (int restarts = 0;;) {
    if (!next) {
      Reference first{lane.words.first.load(std::memory_order_acquire)};
      if (first.is_tomb()) return Code::not_found;
      if (!first) return first.generation() == lane.binding.generation() ? Code::ok : Code::not_found;
      next = first;
    }
    if (!lane.pin(next, page)) {
      if (!lane.current()) return Code::not_found;
      if (++restarts >= kRestarts) return lane.damaged({}, 0, "a page of the chain does not validate");
      next = {};
      hops = Hops(lane.segment);  // bounded by the restarts
      continue;
    }
    if (!lane.current()) return Code::not_found;
    if (hops.too_many()) return lane.damaged(page, 0, "its pages go in a circle");
    if (next.gap()) {
      if (page.header->front_of.load(std::memory_order_acquire) == gap.before.raw) {
        Reference before = gap.before;
        gap = GapWords{page.header->front_items, page.header->front_bytes, page.header->front_due}.load();
        gap.before = before;
      }
      if (Code code = on_gap(gap, page); code != Code::ok) return code;
    }
    std::uint64_t offset = kFirstRecord, ids = 0;
    bool wanted = on_page(page);
    if (!wanted) {
      // Only the link is followed; who needs the ids takes them from first_seq.
      follow();
      if (next.raw == 0) return Code::ok;
      if (next.is_tomb()) return Code::not_found;
      continue;
    }
    for (;;) {
      if (!page.holds(offset)) return lane.damaged(page, offset, "a walk left the page");
      RecordWord word{page.word(offset).load(std::memory_order_acquire)};
      if (word.raw == 0) return on_leave(), Code::ok;
      if (word.state() == RecordState::seal) break;
      std::uint64_t extent = page.extent(offset, word);
      if (!extent) return lane.damaged(page, offset, "a record is longer than its page");
      if (on_record(page, offset, word, id_of(page, ids)) == Visit::stop) return Code::ok;
      // It may have become several records since: a span that is now published is walked as such.
      RecordWord after{page.word(offset).load(std::memory_order_acquire)};
      if (word.state() == RecordState::writing && after.state() != RecordState::writing)
        word = after, extent = page.extent(offset, word);
      if (!extent) return lane.damaged(page, offset, "a record is longer than its page");
      offset += extent, ids += word.ids();
    }
    on_leave();
    follow();
    if (next.raw == 0) return Code::ok;
    if (next.is_tomb()) return Code::not_found;
  }
}

template <class OnPage, class OnRecord, class OnLeave>
Code for_each_record(Lane& lane, OnPage on_page, OnRecord on_record, OnLeave on_leave) {
  return for_each_record(lane, on_page, on_record, on_leave,
                         [](const GapAhead&, const PageView&) { return Code::ok; });
}

template <class OnPage, class OnRecord>
Code for_each_record(Lane& lane, OnPage on_page, OnRecord on_record) {
  return for_each_record(lane, on_page, on_record, [] {});
}

template <class OnRecord>
Code for_each_record(Lane& lane, OnRecord on_record) {
  return for_each_record(
      lane, [](const PageView&) { return true; }, on_record);
}

}  // namespace headpond::internal
