// Adding records at the end of a lane: reserve, publish, link, pages of their own (protocol 2).
#pragma once

#include <cstring>

#include "lane.h"
#include "pages.h"

namespace headpond::internal {

/// A walk to the end of a lane. The page that it stands in is pinned until unpin().
class Tail {
 public:
  enum class At {
    free,     // a FREE word at `offset`
    sealed,   // SEAL, and no page behind: one may be linked
    none,     // the lane has no page: the first one may be linked
    gone,     // the tomb, or the descriptor is another stream's by now
    damaged,  // lane.error says what
  };
  explicit Tail(Lane& lane) : lane_(lane) {}

  /// Goes to the end from the tail hint, or on from where it stands.
  At find();

  PageView page;             // none if At::none
  std::uint64_t offset = 0;  // of the FREE word or the SEAL
  std::uint64_t ids = 0;     // of the page, before `offset`
  /// Of the next record here.
  std::uint64_t next_id() const {
    return page ? id_of(page, ids) : lane_.stream.first_id.load(std::memory_order_relaxed);
  }
  /// Of the first record behind here. Behind what came from an earlier epoch ids jump to the present one's.
  std::uint64_t id_behind() const {
    return std::max(next_id(), lane_.stream.first_id.load(std::memory_order_relaxed));
  }

  /// At::free: ends the page here. Lost: find() walks on.
  void seal();
  /// At::sealed or At::none: puts a page behind by one compare-exchange. False: lost, find() goes on; the new page is still ours.
  bool link(const NewPage& next);
  /// At::sealed or At::none: the stream ends here for good.
  bool tomb();

 private:
  At restart();
  Word& link_word() const { return page ? page.header->next : lane_.words.first; }
  Lane& lane_;
  int restarts_ = 0;
  Hops hops_{lane_.segment};
};

/// Bytes that the largest record or batch in a shared page may take; more gets a page of its own.
inline std::uint64_t largest_shared(const Segment& segment) { return segment.max_page_bytes() / 4; }

/// Room for one record or span at the tail: WRITING(me), its page pinned until publish() or abandon().
struct Place {
  PageView page;
  std::uint64_t offset = 0;
  std::uint64_t ids_before = 0;
  std::uint64_t id = 0;
  RecordWord word;
  char* at() const { return page.base + offset; }
};

/// FREE -> WRITING. `bytes` with the header; `word` names the owner, its ids and size. Codes: ok, full, timeout, not_found (the stream is
/// gone: look it up again), corruption.
Code reserve(Lane& lane, std::uint64_t bytes, RecordWord word, Place& out);
/// What was made READY in a stream that was cleared meanwhile goes with the rest: the sweep may have been here before it. The page is pinned
/// or held.
void discard_if_cleared(Lane& lane, const PageView& page, std::uint64_t offset, std::uint32_t ids);
/// WRITING -> READY, by a plain store: only we may. Then the tail hint, then the wake.
void publish(Lane& lane, const Place& place, RecordWord ready, std::uint32_t ids, Wake wake);
/// WRITING -> DONE.
void abandon(Lane& lane, const Place& place);

/// One record as it is laid down: its payload comes in up to two parts.
struct Parts {
  Bytes first, second;
  std::uint16_t claims = 0;  // READY with these counts
  std::uint8_t crashes = 0;
  std::uint64_t size() const { return first.size() + second.size(); }
  void copy_to(char* to) const {
    // memmove: pages overlap where the allocator's tables are damaged
    if (!first.empty()) std::memmove(to, first.data(), first.size());
    if (!second.empty()) std::memmove(to + first.size(), second.data(), second.size());
  }
};

/// The flags that a payload of this size needs.
constexpr std::uint32_t size_flags(std::uint64_t payload) { return payload > kMaxRecordSize ? kLarge : 0; }

/// Writes what stands between header and payload (the size of a large one) and the birth stamp; returns where the payload goes.
char* lay(char* at, std::uint64_t payload, std::uint32_t flags, std::uint64_t stamp_us);

/// Appends these records as one: all or nothing, with lane.record_flags; lane.before_ready is run in between, unless together they are larger
/// than largest_shared(). `first_id` gets the id of the first; the others follow. `due_ms`: into the delayed lane.
Code append_all(Lane& lane, std::span<const Parts> records, std::uint64_t& first_id,
                std::uint64_t due_ms = 0);
Code append_one(Lane& lane, const Parts& record, std::uint64_t& id, std::uint64_t due_ms = 0);

/// A page of its own with one WRITING(me) record of that size and flags, linked; pinned. For reserve()d and moved items that are large.
Code reserve_own(Lane& lane, std::uint64_t payload, RecordWord word, Place& out);

/// An all-DONE tail of more than 4 KiB is sealed and followed by a page of the smallest size, so that a drained lane is small.
Code shrink_tail(Lane& lane);

}  // namespace headpond::internal
