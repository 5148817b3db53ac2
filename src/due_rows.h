// When the rows of delayed items are due: what this process has seen of them, and the row of a gap in which something is due.
//
// A page's ids are those that it was sealed with, and its items only become fewer. So what a row once said stays true in one direction: nothing in it
// is due before, and if it has as many items as then, it is the same. Ids that had no row in a gap never get one.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "each.h"
#include "gap.h"

namespace headpond::internal {

/// A row, or ids without one: then there are no items.
struct RowFacts {
  std::uint64_t first = 0, last = 0, items = 0, bytes = 0;
  std::uint64_t due = 0;  // ms, nothing is due before; 0: there are no items
};

/// Private to the process, and safe from every thread.
class DueRows {
 public:
  bool find(std::uint64_t stream, std::uint64_t first, RowFacts& out) const;
  void put(std::uint64_t stream, const RowFacts& facts);

 private:
  static constexpr std::size_t kMost =
      1 << 17;  // then it begins anew: a gap of more rows is read whole with each look
  mutable std::mutex mutex_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, RowFacts> rows_;  // by stream in the tier and first id
};

/// Which row: the first one with something due, or the one with that id if there is anything in it.
struct WantedRow {
  std::uint64_t due_by_ms = 0, seq = 0;  // one of them
  explicit operator bool() const { return due_by_ms || seq; }
  bool may_be(const RowFacts& row) const {
    return seq ? row.items && row.first <= seq && seq <= row.last : row.due && row.due <= due_by_ms;
  }
};

/// What a look for it found in a gap.
struct DueInGap {
  std::shared_ptr<const SpilledPage> row;  // null: there is none
  GapAhead left;                           // what is in the rows before it
  std::uint64_t due = 0;  // when the first in the rows behind it is due, or in all; 0: there are none
};

/// Looks at the gap of ids `first` to `end` - 1, which has `all`. Reads the rows that this process has not seen, and those that may be wanted. A row that is
/// damaged or missing keeps no other from being found: `corruption` or `unsupported`, with its ids, if nothing else is wanted and it may be; or the gap has changed
/// meanwhile. `not_found`: the lane is another stream's by now. The caller holds no section.
Result<DueInGap> find_due_row(Lane& lane, std::uint64_t first, std::uint64_t end, const GapAhead& all,
                              WantedRow wanted);

}  // namespace headpond::internal
