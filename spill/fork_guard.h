// What a fork may not tear apart. While a process forks no database call is under way in any of its threads; the child then lets go of
// what it inherited, so that it holds up nobody when its parent dies, and can open the same files anew.
#pragma once

namespace headpond::internal {

/// One thing with a mutex. A tier opens as one of these and closes as one.
class ForkGuarded {
 public:
  virtual void before_fork() = 0;  // locks; waits for a call under way, which is at most one of the disk
  virtual void in_parent() = 0;    // unlocks
  virtual void in_child() noexcept = 0;  // unlocks, and lets go of descriptors and connections
 protected:
  ~ForkGuarded() = default;
};

namespace fork_guard {

/// No fork happens while this lives: what is opened meanwhile is either entered, or closed again. In a child it first closes what was
/// inherited: no database of ours may be opened before that. Keep it short; not for two at once in a thread.
class Quiet {
 public:
  Quiet();
  ~Quiet();
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
  void enter(ForkGuarded& guarded);
};

/// No longer to be guarded. Fine if it was never entered.
void leave(ForkGuarded& guarded);

}  // namespace fork_guard

}  // namespace headpond::internal
