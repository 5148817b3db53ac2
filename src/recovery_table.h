// What is found when a store and a segment are looked at together, and what is to be done: three tables, read in this order.
//
//   store    once
//   stream   for each stream id that rows name
//   row      for each row, and for each row that a gap names
//
// Each table is data: a line says which values of each fact it is about. For any facts exactly one line matches, which a test holds for
// every combination. Every cure may be repeated: who dies in one is followed by the next who looks. REQUIRES: the locks are held.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

namespace headpond::internal::recovery {

/// A set of the values of one fact.
template <class Fact>
class Any {
 public:
  constexpr Any() : bits_(~0u) {}  // whatever it is
  constexpr Any(Fact value) : bits_(1u << static_cast<unsigned>(value)) {}
  constexpr Any(std::initializer_list<Fact> values) : bits_(0) {
    for (Fact value : values) bits_ |= 1u << static_cast<unsigned>(value);
  }
  constexpr bool has(Fact value) const { return bits_ >> static_cast<unsigned>(value) & 1; }

 private:
  unsigned bits_;
};

// ------------------------------------------------------------------------------------------------------------------ store

enum class SegmentIs : std::uint8_t { of_this_boot, gone };  // gone: none, or one of an old boot
enum class OldOnes : std::uint8_t { none, live };            // participants of an older segment
enum class StoreIs : std::uint8_t { the_same, another };     // by its id, as the segment remembers it
enum class JournalIs : std::uint8_t {
  as_remembered,
  behind,
  ahead
};  // by the highest lsn that the segment knows

struct StoreFacts {
  SegmentIs segment;
  OldOnes old_ones;
  StoreIs store;      // says nothing if the segment is gone
  JournalIs journal;  // the same
};
enum class StoreCure : std::uint8_t {
  none,
  note_commits,  // a leader died between its commit and its marks: its entries are durable, the next one writes them again
  rebuild,        // epoch + 1; journal pushes into page rows; journal rows away; each stream is one gap
  wait_for_them,  // no rebuild: say who is still there
  went_back,      // `corruption`: hot data is intact, `repair` writes it out as a new epoch
};
struct StoreLine {
  std::string_view found;
  Any<SegmentIs> segment;
  Any<OldOnes> old_ones;
  Any<StoreIs> store;
  Any<JournalIs> journal;
  StoreCure cure;
  bool matches(const StoreFacts& f) const {
    return segment.has(f.segment) && old_ones.has(f.old_ones) && store.has(f.store) && journal.has(f.journal);
  }
};

// ----------------------------------------------------------------------------------------------------------------- stream

enum class NamesAre : std::uint8_t { declared, unknown };
enum class ScopeIs : std::uint8_t {
  in_use,
  dropped
};  // dropped: every id of the stream is cleared, and none will follow

struct StreamFacts {
  NamesAre names;
  ScopeIs scope;  // says nothing if the stream is unknown
};
enum class StreamCure : std::uint8_t {
  look_at_rows,
  erase_and_forget,  // rows, then a barrier, then the names
  unknown_stream,    // `corruption`: never dropped, since ids are never used again
};
struct StreamLine {
  std::string_view found;
  Any<NamesAre> names;
  Any<ScopeIs> scope;
  StreamCure cure;
  bool matches(const StreamFacts& f) const { return names.has(f.names) && scope.has(f.scope); }
};

// -------------------------------------------------------------------------------------------------------------------- row

enum class RowIs : std::uint8_t { whole, damaged, missing };
enum class Cleared : std::uint8_t { no, yes };  // its last id is not above the stream's cleared ids
enum class Place : std::uint8_t {
  in_a_gap,       // a gap names it
  hot,            // a linked page claims it, on the head's side of the gap: it was refilled
  being_spilled,  // a linked page claims it, and a dead process was spilling that page: the gap was not advanced
  nowhere,        // outside of every gap, and no page claims it
};
enum class ItemsAre : std::uint8_t { live, partly_done, done };

struct RowFacts {
  RowIs row;
  Cleared cleared;
  Place place;
  ItemsAre items;
};
enum class RowCure : std::uint8_t {
  keep,
  replace,   // keep; the page is the truth, and its next spill replaces the row, done items as empty spans
  erase,     // then a barrier; its acks are trimmed later
  lost_ids,  // `corruption` with the range of ids: never skipped
  nothing,   // there is no row, and nobody wants one
};
struct RowLine {
  std::string_view found;
  Any<RowIs> row;
  Any<Cleared> cleared;
  Any<Place> place;
  Any<ItemsAre> items;
  RowCure cure;
  bool matches(const RowFacts& f) const {
    return row.has(f.row) && cleared.has(f.cleared) && place.has(f.place) && items.has(f.items);
  }
};

std::span<const StoreLine> store_lines();
std::span<const StreamLine> stream_lines();
std::span<const RowLine> row_lines();

const StoreLine& classify(const StoreFacts& facts);
const StreamLine& classify(const StreamFacts& facts);
const RowLine& classify(const RowFacts& facts);

}  // namespace headpond::internal::recovery
