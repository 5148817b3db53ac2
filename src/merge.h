// Merging: what a store has in rows and in its journal becomes rows alone, each live item once (durable.md 2, replay).
//
//   1 acks; then every row is read: its items that are acked, moved away or cleared are to go
//   2 the journal's items at their last places are to be in a row
//   3 rows that change are written again, from their first id on, in one transaction each; items in no row get rows of their own
//   4 a trim: a barrier for 3, then the journal without what the rows say now
//
// An item is named by its birth. Where it is in several places, the one with the most moves counts: rows remember the place that it left. Killed anywhere,
// everything can be done again: 3 leaves the journal as it was, and with it the next one finds the same.
#pragma once

#include <map>
#include <set>
#include <string>

#include "lane.h"
#include "tier.h"

namespace headpond::internal {

class RowImage;

/// A row as it is after merging.
struct MergedRow {
  std::uint64_t last = 0, items = 0, bytes = 0, page_bytes = 0;
  bool damaged = false;
  std::uint64_t due = 0;  // ms, delayed lane: nothing is due before; 0: nothing is in it
};

/// A lane that has items in the store.
struct MergedLane {
  LaneKind kind;
  std::map<std::uint64_t, MergedRow> rows;  // by first id
};

struct Merged {
  std::map<std::uint64_t, MergedLane> lanes;  // by id in the tier
  std::uint64_t from_journal = 0;             // items that no row had
  std::uint64_t damaged_rows = 0, damaged_items = 0;
};

class Merge {
 public:
  /// `names`: of streams that are in use, by id. All ids given so far are below `ids_end`. REQUIRES: nobody else is attached to the pond, or can
  /// attach.
  Merge(ThreadContext& me, Tier& tier, const std::map<std::uint64_t, TierNames>& names, std::uint64_t ids_end)
      : me_(me), tier_(tier), names_(names), ids_end_(ids_end) {}

  /// 1 to 4. Reads every row: some s a GiB. What any call of the tier answers.
  Status run();
  Merged result;

 private:
  using Birth = std::pair<std::uint64_t, std::uint64_t>;  // stream in the tier, seq
  struct Place {
    std::uint64_t stream = 0, seq = 0;
    std::uint32_t moves = 0;
  };
  struct Item {  // of the journal
    Birth birth;
    std::uint32_t moves;
    std::string payload;
  };
  struct Changes {
    std::set<std::uint64_t> drop;
    std::map<std::uint64_t, Item> put;
  };

  Status nonsense(std::uint64_t stream, std::uint64_t from, std::uint64_t to, const char* what) const;
  MergedLane& lane_of(std::uint64_t stream);
  Status read_rows(const Tier::Acked& acked);
  Status read_row(MergedLane& merged, std::uint64_t stream, const TierSpan& span, const Tier::Acked& acked);
  Status take(const JournalEntry& entry);
  void sight(Birth birth, Place place);
  void drop(const Place& place);
  Status write(std::uint64_t stream, Changes& changes);
  Status write_row(std::uint64_t stream, std::uint64_t first, Changes& changes);
  Status write_new(std::uint64_t stream, Changes& changes);
  Status store(std::uint64_t stream, MergedLane& merged, std::vector<RowImage>& images);
  Status trim();
  bool in_damage(std::uint64_t stream, std::uint64_t from, std::uint64_t to) const;

  ThreadContext& me_;
  Tier& tier_;
  const std::map<std::uint64_t, TierNames>& names_;
  const std::uint64_t ids_end_;
  std::map<Birth, Place> last_place_;  // of what has moved, or is in the journal
  std::map<std::uint64_t, Changes> changes_;
};

}  // namespace headpond::internal
