#include "attachment.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <new>

#include "check.h"
#include "group_commit.h"
#include "pages.h"
#include "reap.h"
#include "rebuild.h"
#include "settings.h"
#include "tier_side.h"

namespace headpond::internal {

// The attachments of this process. Leaked on purpose: threads may end after static destructors ran.
struct Attachment::Registry {
  std::recursive_mutex mutex;
  std::map<std::uint64_t, Attachment*> by_serial;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::weak_ptr<Attachment>> by_inode;
  std::uint64_t next_serial = 1;

  // A child has copies of the descriptors, and the locks live as long as any copy: close them, so that the parent's death shows.
  static void before_fork() { registry().mutex.lock(); }
  static void in_parent() { registry().mutex.unlock(); }
  static void in_child() {
    Registry& r = registry();
    for (auto& [serial, attachment] : r.by_serial)
      attachment->alive_.reset(), attachment->presence_.reset(), attachment->segment_->forget_file();
    new (&r.mutex) std::recursive_mutex;
    r.by_inode.clear();
  }
};

Attachment::Registry& Attachment::registry() {
  static Registry* registry = [] {
    sys::on_fork(Registry::before_fork, Registry::in_parent, Registry::in_child);
    return new Registry;
  }();
  return *registry;
}

// ------------------------------------------------------------------------------------------------------------------ threads

thread_local constinit Attachment::Cached Attachment::cached_;

// What a thread holds in each attachment; given back when the thread ends.
struct ThreadExit {
  static thread_local constinit bool ended;  // destructors of other thread-local objects may still come by
  std::map<std::uint64_t, ThreadContext*> contexts;
  ~ThreadExit() {
    ended = true;
    for (auto& [serial, context] : contexts) Attachment::release_thread(serial, context);
  }
};
thread_local constinit bool ThreadExit::ended = false;
static thread_local ThreadExit thread_exit;

void Attachment::release_thread(std::uint64_t serial, ThreadContext* context) {
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  if (cached_.serial == serial) cached_ = {};
  auto found = r.by_serial.find(serial);
  // the attachment went first, or is our parent's
  if (found == r.by_serial.end() || found->second->forked()) return;
  for (; context->holds_cached > 0; context->holds_cached--)
    found->second->shared_holds_.fetch_and(~(1ULL << context->hold_cache[context->holds_cached - 1]));
  std::lock_guard threads(found->second->threads_mutex_);
  context->in_use = false;
}

ThreadContext* Attachment::find_thread() {
  if (forked() || ThreadExit::ended) return nullptr;
  ThreadContext*& mine = thread_exit.contexts[serial_];
  if (!mine) {
    std::lock_guard lock(threads_mutex_);
    for (auto& context : threads_)
      if (!context->in_use) {
        mine = context.get();
        break;
      }
    if (!mine) {
      Header& header = segment_->header();
      PinWords* pins = nullptr;
      for (std::uint32_t i = 0; i < kMaxThreads && !pins; i++) {
        if (!segment_->back(Table::pins, i + 1)) return nullptr;
        // The mark first: whoever scans the pins must come by here before anything is pinned.
        for (std::uint64_t used = header.pins_used.load(std::memory_order_relaxed);
             used < i + 1 && !header.pins_used.compare_exchange_weak(used, i + 1);) {
        }
        PinWords& words = segment_->pins(i);
        std::uint64_t none = 0;
        if (words.owner.load(std::memory_order_relaxed) == 0 &&
            words.owner.compare_exchange_strong(none, slot_))
          pins = &words;
      }
      if (!pins) return nullptr;
      // A free slot has none of these, unless it is damaged.
      pins->pin.store(0), pins->hold.store(0), pins->section.store(0);
      threads_.push_back(std::make_unique<ThreadContext>());
      mine = threads_.back().get();
      mine->hold_quota = threads_.size() <= 8 ? 4 : threads_.size() <= 32 ? 1 : 0;
      mine->witness = witness_, mine->removed = &segment_->header().removed;
      mine->pond = this, mine->pins = pins, mine->owner = slot_, mine->owner_bit = 1ULL << slot_ % 64;
      mine->claim_step = RecordWord::claim_step(slot_);
      mine->streams = &segment_->stream(0), mine->lives = &segment_->life(1), mine->pages = segment_->page(1),
      mine->holds = participant_->hold;
      mine->largest_straight = segment_->max_page_bytes() / 4 - kRecordHeader;
    }
    mine->in_use = true;
  }
  cached_ = {serial_, mine};
  return mine;
}

int Attachment::take_shared_hold() {
  for (std::uint64_t taken = shared_holds_.load(std::memory_order_relaxed);;) {
    if (taken == ~0ULL) return -1;
    int hold = std::countr_one(taken);
    if (!shared_holds_.compare_exchange_weak(taken, taken | 1ULL << hold, std::memory_order_acquire))
      continue;
    auto& used = participant_->holds_used;  // before the pin itself: who scans looks no further than this
    for (std::uint32_t n = used.load(std::memory_order_relaxed);
         n <= static_cast<std::uint32_t>(hold) &&
         !used.compare_exchange_weak(n, static_cast<std::uint32_t>(hold) + 1);) {
    }
    return hold;
  }
}

// ------------------------------------------------------------------------------------------------------------ attach, leave

Attachment::Attachment(std::shared_ptr<Segment> segment, const Options& options, const std::string& folder)
    : segment_(std::move(segment)),
      options_(options),
      witness_(sys::process_witness()),
      folder_(folder),
      tier_side_(std::make_unique<TierSide>(folder)) {
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  serial_ = r.next_serial++;
  r.by_serial[serial_] = this;
}

Result<std::shared_ptr<Attachment>> Attachment::open(const std::string& pond, const Options& options,
                                                     bool create) {
  if (Status good = Segment::check_name(pond); !good) return good;
  Registry& r = registry();
  // if we turn out to hold the last reference, it goes after the registry's lock
  std::vector<std::shared_ptr<Attachment>> dropped;
  std::lock_guard lock(r.mutex);
  for (int tries = 0; tries < 100; tries++) {
    auto file = Segment::open_file(pond);
    if (!file && file.code() != Code::not_found) return file.status();
    std::shared_ptr<Segment> segment;
    auto state = StateFolder::open(pond, options.state_home, create);
    bool gone = !file || Segment::is_over(*file);
    if (gone && !create && !(state && has_tier(state->path())))
      return file ? Status(Code::not_found, "pond " + pond +
                                                ": its segment was removed, or is of before the last boot "
                                                "(`headpond rm` gives its memory back)")
                  : file.status();
    if (!state && create && state.code() == Code::not_found) continue;  // removed between two steps of ours
    if (!state) return state.status();
    sys::FileInfo info;
    sys::Fd rebuilt;  // of who rebuilt the pond: nobody else attaches before the segment has its name
    std::shared_ptr<Tier> tier;
    if (!gone) {
      if (sys::describe(*file, info)) continue;
      auto known = r.by_inode[{info.device, info.inode}].lock();
      if (known) dropped.push_back(known);
      if (known && known->usable() == Code::ok) {
        // What was fixed at creation is checked against the options as if we attached anew.
        auto checked = Segment::map(pond, std::move(*file), options, *state);
        if (!checked) return checked.status();
        return known;
      }
      auto mapped = Segment::map(pond, std::move(*file), options, *state);
      sys::FileInfo named;  // the segment that was opened, or its folder, may have been replaced by now
      if (!mapped &&
          (!state->is_same() || sys::describe(Segment::path_of(pond), named) || named.inode != info.inode))
        continue;
      if (!mapped) return mapped.status();
      segment = *mapped;
    } else {
      auto right = state->exclusive();
      // the folder went with a pond that was removed just now
      if (!right && right.status().error_number() == ENOENT) continue;
      if (!right) return right.status();
      if (!state->is_same()) continue;
      // Another may have been faster: what is there now is the one that we saw, or nothing as then.
      sys::FileInfo old, named;
      bool there = sys::describe(Segment::path_of(pond), named) == 0;
      if (there != static_cast<bool>(file) ||
          (file && (sys::describe(*file, old) || old.inode != named.inode || old.device != named.device)))
        continue;
      if (!create && !has_tier(state->path())) continue;  // it was removed while we waited
      if (Status ended = end_removal(state->path(), [&] { return forget_fixed(*state); }); !ended)
        return ended;
      auto kept = read_fixed(state->path());
      if (!kept) return kept.status();
      const Fixed fixed = kept->with(options);
      if (Status good = fixed.check(); !good)
        return Status(good.code(), good.text() + "; what is not asked for is what the pond in " +
                                       state->path() + " was created with");
      auto made = Segment::create(pond, fixed, *state, [&](const std::shared_ptr<Segment>& fresh) {
        Status filled = rebuild(fresh, options, *state, rebuilt, tier);
        // before the segment has its name: what anybody can find is what the next one finds, too
        if (filled) filled = keep_fixed(*state, fixed, fixed != *kept);
        if (filled && file) {  // the one that is over; if it has no name any more, ours tells
          Status removed = Segment::remove(pond, *file);
          if (removed.code() != Code::not_found) filled = std::move(removed);
        }
        if (rebuilt) StateFolder::share(rebuilt);
        return filled;
      });
      if (made.code() == Code::exists) continue;
      if (!made) return made.status();
      segment = *made;
    }
    auto presence = state->announce();
    if (!presence && presence.status().error_number() == ENOENT) continue;
    if (!presence) return presence.status();
    auto attachment = std::shared_ptr<Attachment>(new Attachment(std::move(segment), options, state->path()));
    attachment->presence_ = std::move(*presence);
    if (Status taken = attachment->take_slot(false); !taken) {
      if (taken.code() != Code::full || !reap_from_spare(attachment->segment_, options, state->path()))
        return taken;
      if (Status again = attachment->take_slot(false); !again) return again;
    }
    if (attachment->usable() == Code::removed) continue;  // while we were on the way
    if (tier) attachment->tier_side_->use(std::move(tier));
    if (!sys::describe(attachment->segment_->file(), info))
      r.by_inode[{info.device, info.inode}] = attachment;
    return attachment;
  }
  return Status(Code::busy, "pond " + pond + ": is created and removed all the time by others; try again");
}

Result<std::shared_ptr<Attachment>> Attachment::alone(std::shared_ptr<Segment> segment,
                                                      const Options& options, const std::string& folder) {
  auto attachment = std::shared_ptr<Attachment>(new Attachment(std::move(segment), options, folder));
  if (Status taken = attachment->take_slot(false); !taken) return taken;
  return attachment;
}

Result<std::shared_ptr<Attachment>> Attachment::join(const Attachment& other) {
  auto attachment =
      std::shared_ptr<Attachment>(new Attachment(other.segment_, other.options_, other.folder_));
  if (Status taken = attachment->take_slot(false); !taken) return taken;
  return attachment;
}

// All slots are LIVE, and whoever could reap would need one: one spare slot is for that alone.
bool Attachment::reap_from_spare(const std::shared_ptr<Segment>& segment, const Options& options,
                                 const std::string& folder) {
  auto reaper = std::shared_ptr<Attachment>(new Attachment(segment, options, folder));
  if (!reaper->take_slot(true)) return false;
  ThreadContext* me = reaper->thread();
  return me && reap_dead(*me) > 0;
}

// Killed before LIVE: the slot is FREE and its lock gone, nothing happened. Killed after: a death like any other.
Status Attachment::take_slot(bool spare) {
  if (int error = sys::open_again(segment_->file(), alive_))
    return {Code::system, Segment::path_of(name()) + ": cannot open it again: " + std::strerror(error),
            error};
  Header& header = segment_->header();
  for (std::uint32_t slot = 1; slot <= segment_->max_participants() + (spare ? 1 : 0); slot++) {
    if (spare) slot = segment_->max_participants() + 1;
    if (Status backed = segment_->back(Table::participants, slot + 1); !backed) return backed;
    ParticipantWords& words = segment_->participant(slot);
    auto is_free = [&] {
      return words.state.load(std::memory_order_acquire) == static_cast<std::uint32_t>(SlotState::free);
    };
    if (!is_free() || !begin_recovery(slot)) continue;
    // With the slot's recovery lock: a reaper whose look is old by now can't take us for the one that it saw dead.
    struct Recovered {
      Attachment& attachment;
      std::uint32_t slot;
      ~Recovered() { attachment.end_recovery(slot); }
    } recovered{*this, slot};
    if (sys::try_lock(alive_, kAliveByte + slot, true)) continue;
    if (!is_free()) {
      sys::unlock(alive_, kAliveByte + slot);
      continue;
    }
    words.pid.store(sys::process(), std::memory_order_relaxed);
    words.start_time.store(sys::start_time(sys::process()), std::memory_order_relaxed);
    words.attached_ms.store(sys::coarse_us() / 1000, std::memory_order_relaxed);
    for (std::uint64_t used = header.participants_used.load();
         used < slot && !header.participants_used.compare_exchange_weak(used, slot);) {
    }
    words.state.store(static_cast<std::uint32_t>(SlotState::live), std::memory_order_release);
    slot_ = slot, participant_ = &words;
    return {};
  }
  return {Code::full, "pond " + name() + ": all " + std::to_string(segment_->max_participants()) +
                          " participant slots are taken by live processes; a pond created with more "
                          "max_participants has more"};
}

Attachment::~Attachment() {
  stop_maintenance();
  Registry& r = registry();
  {
    std::lock_guard lock(r.mutex);
    r.by_serial.erase(serial_);
  }
  if (!forked() && participant_) leave();
}

// Nothing names us any more: the slot is free. With claims or reservations still open we go as a dead one does, and are reaped.
void Attachment::leave() {
  std::int64_t open = 0;
  for (auto& context : threads_) open += context->open_claims;
  // what was pinned when it was unlinked
  if (ThreadContext* me = open == 0 && usable() == Code::ok ? thread() : nullptr) {
    if (posts_waiting(*me) > 0)
      (void)flush_posts(*me, sys::precise_us() + kReadPatienceUs);  // else somebody later
    if (tier_side_->take_unsaved())
      (void)save_unsaved(*me, sys::precise_us() + kReadPatienceUs, NoTier::leave_it);
    recycle(*me, {});
    tier_side_->erase_forgotten(*me, true);
    tier_side_->give_back_disk();
  }
  if (open != 0)
    return say(Severity::warning, "pond " + name() + ": closed with " + std::to_string(open) +
                                      " open claims; they go back to their queues");
  for (auto& context : threads_) {
    context->pins->pin.store(0, std::memory_order_release);
    context->pins->hold.store(0, std::memory_order_release);
    context->pins->owner.store(0, std::memory_order_release);
  }
  for (Word& touched : participant_->touched) touched.store(0, std::memory_order_relaxed);
  participant_->holds_used.store(0, std::memory_order_relaxed);
  participant_->state.store(static_cast<std::uint32_t>(SlotState::free), std::memory_order_release);
}

// ---------------------------------------------------------------------------------------------------------------- liveness

bool Attachment::is_dead(std::uint32_t slot) const {
  ParticipantWords& words = segment_->participant(slot);
  if (slot == slot_ ||
      words.state.load(std::memory_order_acquire) != static_cast<std::uint32_t>(SlotState::live))
    return false;
  return !sys::locked_by_another(alive_, kAliveByte + slot);
}

std::vector<std::uint32_t> Attachment::dead() const {
  std::vector<std::uint32_t> out;
  std::uint64_t used = std::min<std::uint64_t>(
      segment_->header().participants_used.load(std::memory_order_acquire), segment_->max_participants() + 1);
  for (std::uint32_t slot = 1; slot <= used; slot++)
    if (is_dead(slot)) out.push_back(slot);
  return out;
}

std::uint64_t Attachment::remember_retired(Reference page, std::uint64_t units) {
  std::lock_guard lock(retired_mutex_);
  retired_.push_back(page);
  return retired_units_.fetch_add(units, std::memory_order_relaxed) + units;
}
std::vector<Reference> Attachment::take_retired() {
  std::lock_guard lock(retired_mutex_);
  retired_units_.store(0, std::memory_order_relaxed);
  return std::exchange(retired_, {});
}

// -------------------------------------------------------------------------------------------------------------- maintenance

void Attachment::start_maintenance(std::function<void(Attachment&)> work) {
  std::lock_guard lock(registry().mutex);
  if (watch_) return;
  watch_ = std::make_unique<sys::DeathWatch>();
  maintenance_ = std::thread([this, work = std::move(work)] {
    while (!stopping_.load()) {
      std::vector<std::int32_t> pids;
      std::uint64_t used = std::min<std::uint64_t>(segment_->header().participants_used.load(),
                                                   segment_->max_participants() + 1);
      for (std::uint32_t slot = 1; slot <= used; slot++)
        if (slot != slot_ &&
            segment_->participant(slot).state.load() == static_cast<std::uint32_t>(SlotState::live))
          pids.push_back(segment_->participant(slot).pid.load());
      watch_->set(pids);
      watch_->wait(100'000);
      if (!stopping_.load()) work(*this);
    }
  });
}
void Attachment::stop_maintenance() {
  if (!watch_) return;
  if (forked()) {
    new std::thread(std::move(maintenance_));  // the thread is the parent's: neither joined nor detached here
    return;
  }
  stopping_.store(true);
  watch_->interrupt();
  maintenance_.join();
}

}  // namespace headpond::internal
