#include "fork_guard.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <vector>

#include "sqlite.h"
#include "src/sys.h"

namespace headpond::internal::fork_guard {

namespace {

struct Guard {
  std::mutex mutex;
  std::vector<ForkGuarded*> all;
};
// Leaked on purpose: threads may end after static destructors ran.
Guard& guard() {
  static Guard* guard = new Guard;
  return *guard;
}

void before_fork() {
  guard().mutex.lock();
  for (ForkGuarded* guarded : guard().all) guarded->before_fork();
}
void in_parent() {
  for (ForkGuarded* guarded : guard().all) guarded->in_parent();
  guard().mutex.unlock();
}
void in_child() {
  for (ForkGuarded* guarded : guard().all) guarded->in_child();
  guard().all.clear();
  new (&guard().mutex) std::mutex;
}

// At load, before anything of the library runs. Handlers that are registered later run first: those of the attachments, whose mutex may
// be held by who opens a tier.
[[maybe_unused]] const bool registered = (sys::on_fork(before_fork, in_parent, in_child), true);

}  // namespace

Quiet::Quiet() {
  guard().mutex.lock();
  sqlite::Connection::close_abandoned();
}
Quiet::~Quiet() { guard().mutex.unlock(); }
void Quiet::enter(ForkGuarded& guarded) { guard().all.push_back(&guarded); }

void leave(ForkGuarded& guarded) {
  std::lock_guard lock(guard().mutex);
  std::erase(guard().all, &guarded);
}

}  // namespace headpond::internal::fork_guard
