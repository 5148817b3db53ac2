// Unpark: whoever looks a parked name up makes a stream of it again, in a descriptor of its own. Its items stay in their rows until somebody comes to them.
//
//   first -> empty page, SEAL{0} --{gap, tail}--> tail       of each lane that has rows; a lane without has the tail alone
//
//   1 pages BUILDING(me), which nothing names
//   2 directory's section, the name still parked and not ending: a FREE descriptor is filled in; then, journaled, the pages' lives -> LINKED, each empty
//     page's next, every `first`, the entry, the descriptor LIVE. Leaving it commits, for all lanes
//
//   killed before      found                                         becomes
//   the commit of 2    pages BUILDING(dead), a journal               undone: nothing names them: RETIRED
//
// Below `dense_from`, the id of the tail, ids may be missing: rows of pages that were all done are gone. That none is lost says the gap's count of items.
#pragma once

#include <span>
#include <vector>

#include "directory.h"

namespace headpond::internal {

/// The stream that the name means from now on. `busy`: it is not parked any more, or is ending: look again. `full`: no room for its pages, or no descriptor. May
/// make room, and sleeps for it. Pins and unpins.
Result<Binding> unpark(ThreadContext& me, const Key& key);

/// Clear of a parked name, or going on with one that is ending: CLEAR, then the name is absent, or empty (`keep_name`), then its rows go. Returns its items. `busy`: it is not
/// parked. What the tier answers: the name is ending, and whoever comes by goes on with it.
Result<std::uint64_t> clear_parked(ThreadContext& me, const Key& key, bool keep_name);

/// The same of many names, in two steps, for who has something to do in between that whoever goes on with it finds to do, too. From the first on they are ending.
/// Each step has one transaction in each database for all of them.
struct ToClear {
  const Key* key;  // outlives both steps
  std::optional<std::uint64_t> if_last_used = {};
};
struct Ending {
  const Key* key;
  Parked kept;
};
/// Adds to `ending` those that are parked, and were not used since. Not ok: some of them are ending, and whoever comes by goes on with them.
Status begin_clear(ThreadContext& me, std::span<const ToClear> names, std::vector<Ending>& ending);
/// `finished`: so many of them are cleared, the first ones; all, if it answers ok.
Status finish_clear(ThreadContext& me, std::span<const Ending> ending, bool keep_name, std::size_t& finished);

}  // namespace headpond::internal
