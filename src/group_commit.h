// Group commit: those who wait for a durable operation share one commit, whichever process they are in.
//
//   1 Whoever waits tries the commit lock, a robust mutex; else it sleeps on the commit bell, 10 ms at most.
//   2 The holder leads: gathers until as many have posted as last time and came while that was written, or for 3/4 of a commit's time, at most 300 us; collects what is posted
//     (posting.h); ONE row, one synced commit; marks each post DONE; rings. Sometimes it trims the journal, then. It unlocks, and rings.
//   3 A leader whose commit fails takes back its own post only, answers `memory` with the cause, and passes the lock on: each waiter tries itself.
//   4 What is too large to be posted is committed by its author, as a row of its own: with the lock, from before READY until after the commit. So
//     P2 holds for it, too.
//
//   the leader is killed   found                           becomes
//   before its COMMIT      a mutex whose owner is dead     nothing happened: the next one leads
//   before all are DONE    the same, and a row             the next one writes the same entries again: the journal is a union by birth id
//   in a trim              the same                        the old rows, or the new ones
//   before its last ring   waiters asleep                  they look again within 10 ms
//
// The leader keeps nothing in the segment that says what it is doing. A stopped leader makes others answer `memory`, cause `timeout`: nothing is
// taken from it.
#pragma once

#include <span>

#include "posting.h"

namespace headpond::internal {

/// Who leads, or commits for itself. One a thread; sections may be entered under it, not around it.
class CommitLock {
 public:
  CommitLock() = default;
  ~CommitLock() { release(); }
  CommitLock(const CommitLock&) = delete;
  CommitLock& operator=(const CommitLock&) = delete;

  /// ok; `busy`; corruption. Never waits.
  Status try_take(ThreadContext& me);
  /// Waits, until a moment of sys::precise_us(): `timeout`.
  Status take(ThreadContext& me, std::uint64_t until_us);
  /// Unlocks and rings.
  void release();

 private:
  ThreadContext* me_ = nullptr;
};

/// When an operation that begins now gives up waiting for the disk.
std::uint64_t durable_deadline(const Attachment& pond);

/// Waits until these published posts are written. Answers ok in any case: durable, or in memory with the cause; then a push or move is withdrawn, an
/// ack stays posted if there is room. Sleeps; uses the operation pin.
Status wait_for_posts(ThreadContext& me, std::span<Post> posts, std::uint64_t until_us);
/// Commits these entries as a row of their own. Answers as above.
Status commit_own(ThreadContext& me, const CommitLock& held, std::span<const JournalEntry> entries,
                  std::uint64_t until_us);
/// Commits these, as they were read with the lock held. Not ok: nothing was written.
Status commit_settings(ThreadContext& me, const CommitLock& held, std::span<const TierSetting> settings,
                       std::uint64_t until_us);
/// Waits until everything is written that was posted before the call and of which `of` answers true for an entry. ok, durable; or what keeps it.
Status flush_posts(
    ThreadContext& me, std::uint64_t until_us,
    const std::function<bool(const PostEntry&)>& of = [](const PostEntry&) { return true; });
/// After a post that nobody waits for: when many are there, one in some hundred callers leads, if nobody does. What fails is tried again.
void commit_if_many(ThreadContext& me);

}  // namespace headpond::internal
