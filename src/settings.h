// Settings and cursors that outlive the segment: what queues and scopes are set to, where the readers of logs are. They belong to names, not to
// streams: a clear leaves them as they are, in memory and in the durable tier alike; who drops a name takes them away.
//
//   1 the change, in the directory's section, with the mark `unsaved`: it holds for every process from then on
//   2 the name is posted (posting.h)
//   3 who leads the next commit reads, with the commit lock, what the name has now, marks `maybe saved`, and commits it as the row of that name
//   4 the mark `unsaved` goes, if that is still what the name has
//
// Who does not want the disk counts the change, and leaves 2 to 4 to save_unsaved(), which takes every name that is unsaved. In a pond without a durable
// tier nobody wants the disk; they follow as soon as there is one.
//
// S1  A row is read from memory and committed under one lock: the last one is of the last look. So rows need no versions, and none says what was
//     never so. Who is stopped with the lock holds up everybody, and nobody goes past.
// S2  A name that is gone has no row: with the lock, first its row goes, then the name. The mark `unsaved` stands for a row that is missing between.
// S3  A row says what memory says, or the name is marked `unsaved`. (I20)
//
//   killed after          found                     becomes
//   1                     memory, unsaved           its reaper counts a change: the next save_unsaved() finds it. The call never returned
//   2                     a post                    the next leader's
//   3                     a row, and the mark       committed once more, at some time
//   the row, not its      the row of before, until  the same: a commit is written where it says what is there, too, and takes the other's place
//   place in the index    nobody has the file open  (spill/README.md, D6)
//   a row has gone        the name, unsaved         the row again, by the next save_unsaved()
//   some words of 1       a part of it, unsaved     that is saved: as others saw it meanwhile. A scope's streams hear of it one by one, behind its limits
#pragma once

#include <functional>
#include <optional>
#include <span>

#include "directory.h"
#include "headpond/options.h"

namespace headpond::internal {

/// 2 to 4, or a count: after 1. ok, durable or in memory as it was wanted; or in memory, with the cause: then it stays unsaved, and whoever saves what is unsaved
/// tries again. Sleeps if it is to be durable, for durable_timeout at most. Uses the operation pin.
Status save(ThreadContext& me, const Key& key, Durability wanted);
/// The same of what nobody is asked about: durable if the pond has a durable tier. Nothing to do if it is not `unsaved`.
Status save_setting(ThreadContext& me, const Key& key, bool unsaved);

/// Commits everything that is unsaved, some a transaction; makes the tier only if `make_tier` and there is something. What the commit lock or the tier
/// answers: the rest stays unsaved. Nothing to do costs a look at two words. Sleeps.
enum class NoTier { make_it, leave_it };
Status save_unsaved(ThreadContext& me, std::uint64_t until_us, NoTier no_tier);
/// The same where a tier has come to a pond that had none: tries once, and says what keeps it. For who has just used it.
void follow_tier(ThreadContext& me);

/// S2: runs `drop`, which takes the name away or keeps it if another was faster, behind the end of its row. What the lock or the tier answers, with nothing
/// done; else what `drop` answers.
Status drop_saved(ThreadContext& me, const Key& key, const std::function<Status()>& drop);
/// The same for cursors, in one transaction.
Status drop_cursors(ThreadContext& me, std::span<const Key> cursors);
/// The same for those alone whose log is not there, or is ending in that life: parked, and last used then. The others stay.
struct Orphan {
  Key cursor;
  std::optional<std::uint64_t> log_last_used;  // none: the log is not there
};
Status drop_orphans(ThreadContext& me, std::span<const Orphan> cursors);

/// I20: adds what is wrong to `problems`.
Status verify_settings(ThreadContext& me, std::vector<std::string>& problems);

}  // namespace headpond::internal
