// A process's presence in a pond: the mapping, a participant slot that a file lock keeps alive, and a pin slot per thread.
//
// Liveness: an OFD lock on byte kAliveByte + slot of the segment's own inode, held by this attachment's open file description for life. The
// kernel takes it away with the process. LIVE without a lock is a death; FREE with a lock is somebody who is just attaching.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "headpond/options.h"
#include "headpond/status.h"
#include "segment.h"

namespace headpond::internal {

constexpr std::uint64_t kAliveByte = 1ULL << 62;                            // + slot
constexpr std::uint64_t kRecoveryByte = kAliveByte + kMaxParticipants + 1;  // + slot: who reaps it

class Attachment;
class TierSide;

/// A claimer's private place in a lane: nothing READY stands before this page while the lane's epoch is the same (protocol 2, claim).
struct Cursor {
  std::uint64_t binding = 0;  // of the stream
  Reference page;
  std::uint32_t epoch = 0;
  std::uint32_t lane = 0;
};

/// What one thread needs to work in a pond. Private to this process but for the pin words.
struct ThreadContext {
  Attachment* pond = nullptr;
  PinWords* pins = nullptr;
  std::uint32_t owner = 0;       // participant slot
  std::uint64_t owner_bit = 0;   // in a page's `owners`
  std::uint64_t claim_step = 0;  // RecordWord::claim_step(owner)
  std::int64_t open_claims = 0;  // claims taken by this thread minus those settled by it
  std::uint32_t claims_made = 0, empty_looks = 0;
  std::uint64_t next_lease_us = UINT64_MAX;           // the earliest deadline that the last look met
  std::uint64_t leases_looked_us = 0, leases_of = 0;  // when and of which lane
  // Hold pins kept for the next claim: 4 for each of a process's first threads, then 1, then none, so that some are always left to share.
  int hold_quota = 0, holds_cached = 0;
  std::int16_t hold_cache[4] = {};
  // Copies for the straight way.
  const std::atomic<std::uint32_t>* witness = nullptr;  // 1: not forked
  const Word* removed = nullptr;                        // 0: the pond has its name
  StreamWords* streams = nullptr;
  LifeEntry* lives = nullptr;
  char* pages = nullptr;
  std::atomic<std::uint32_t>* holds = nullptr;  // the participant's hold pins
  // units known to have memory; 0 without membarrier: no straight way
  std::uint64_t backed = 0;
  std::uint64_t largest_straight = 0;  // bytes of an item
  Cursor cursors[16];
  bool in_use = false;
  bool in_section = false;
  bool may_use_reserve = false;  // of pages: while it moves or shrinks

  Cursor& cursor(Binding stream, int lane) {
    Cursor& c = cursors[(stream.index() * 3 + static_cast<unsigned>(lane)) & 15];
    if (c.binding != stream.raw || c.lane != static_cast<std::uint32_t>(lane))
      c = Cursor{stream.raw, {}, 0, static_cast<std::uint32_t>(lane)};
    return c;
  }
};

class Attachment : public std::enable_shared_from_this<Attachment> {
 public:
  /// The process's attachment to that pond; a second call shares it. `create`: makes the pond if there is none.
  static Result<std::shared_ptr<Attachment>> open(const std::string& pond, const Options& options,
                                                  bool create);
  /// The only participant of a segment that has no name yet.
  static Result<std::shared_ptr<Attachment>> alone(std::shared_ptr<Segment> segment, const Options& options,
                                                   const std::string& folder);
  /// Another participant over the same mapping: for tests that need several in one process.
  static Result<std::shared_ptr<Attachment>> join(const Attachment& other);
  ~Attachment();
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;

  Segment& segment() const { return *segment_; }
  const Options& options() const { return options_; }
  std::uint32_t slot() const { return slot_; }
  ParticipantWords& participant() const { return *participant_; }
  const std::string& name() const { return segment_->pond(); }
  const std::string& folder() const { return folder_; }

  /// ok, `removed` or `forked`. Two loads.
  Code usable() const {
    if (witness_->load(std::memory_order_relaxed) != 1) [[unlikely]]
      return Code::forked;
    if (segment_->header().removed.load(std::memory_order_relaxed)) [[unlikely]]
      return Code::removed;
    return Code::ok;
  }
  bool forked() const { return witness_->load(std::memory_order_relaxed) != 1; }

  /// This thread's context; null if all pin slots are taken.
  ThreadContext* thread() {
    if (cached_.serial == serial_) [[likely]]
      return cached_.context;
    return find_thread();
  }

  /// The same for the straight way: null also if anything is unusual.
  ThreadContext* straight_thread() const {
    if (cached_.serial != serial_) [[unlikely]]
      return nullptr;
    ThreadContext* me = cached_.context;
    return me->witness->load(std::memory_order_relaxed) == 1 && !me->removed->load(std::memory_order_relaxed)
               ? me
               : nullptr;
  }

  // Hold pins: handed out within this process only.
  int take_hold(ThreadContext& me) {
    if (me.holds_cached) [[likely]]
      return me.hold_cache[--me.holds_cached];
    return take_shared_hold();
  }
  void give_hold(ThreadContext& me, int hold) {
    participant_->hold[hold].store(0, std::memory_order_release);
    if (me.holds_cached < me.hold_quota)
      me.hold_cache[me.holds_cached++] = static_cast<std::int16_t>(hold);
    else
      shared_holds_.fetch_and(~(1ULL << hold), std::memory_order_release);
  }

  /// Several claims of one page on one hold: every one after the first counts. True: it was the last.
  void share_hold(int hold, int more) { sharers_[hold].fetch_add(more, std::memory_order_relaxed); }
  bool unshare_hold(int hold, int claims = 1) {
    if (sharers_[hold].fetch_sub(claims, std::memory_order_acq_rel) != claims - 1) return false;
    sharers_[hold].store(0, std::memory_order_relaxed);
    return true;
  }

  /// Sets the stream's bit in this participant's set, before its first access.
  void touch(std::uint32_t stream) {
    Word& word = participant_->touched[stream / 64 % 32];
    std::uint64_t bit = 1ULL << stream % 64;
    if (!(word.load(std::memory_order_relaxed) & bit)) word.fetch_or(bit, std::memory_order_seq_cst);
  }

  /// True once in each step of the coarse clock, for looks that are not worth more.
  bool tick_begins() {
    std::uint64_t now = sys::coarse_us();
    return tick_.exchange(now, std::memory_order_relaxed) != now;
  }

  /// True when the maintenance thread has left these limits long enough alone: a quarter of the shorter, and a second.
  bool gc_is_due(const GcOptions& gc) {
    std::uint64_t now = sys::coarse_us();
    if (now < next_gc_us_) return false;
    auto least = [](milliseconds a, milliseconds b) { return a.count() && (a < b || !b.count()) ? a : b; };
    next_gc_us_ =
        now + std::max<std::uint64_t>(
                  static_cast<std::uint64_t>(least(gc.spill_idle, gc.drop_idle).count()) * 250, 1'000'000);
    return true;
  }

  /// LIVE slots whose lock is gone.
  std::vector<std::uint32_t> dead() const;
  bool is_dead(std::uint32_t slot) const;
  /// One reaper at a time within this process; the recovery lock of a slot excludes other processes, and goes with a killed reaper.
  std::mutex& reap_mutex() { return reap_mutex_; }
  bool begin_recovery(std::uint32_t slot) { return sys::try_lock(alive_, kRecoveryByte + slot, true) == 0; }
  void end_recovery(std::uint32_t slot) { sys::unlock(alive_, kRecoveryByte + slot); }

  /// RETIRED pages that wait for the next recycling; returns how many units of them wait.
  std::uint64_t remember_retired(Reference page, std::uint64_t units = 0);
  bool has_retired() const { return retired_units_.load(std::memory_order_relaxed) != 0; }
  std::vector<Reference> take_retired();

  /// The durable tier; see tier_side.h. Does not open it.
  TierSide& tier_side() const { return *tier_side_; }

  void say(Severity severity, const std::string& text) const {
    if (options_.log) options_.log(severity, text);
  }
  /// Runs `work` in the maintenance thread whenever a process died, and every 100 ms.
  void start_maintenance(std::function<void(Attachment&)> work);
  void stop_maintenance();

 private:
  Attachment(std::shared_ptr<Segment> segment, const Options& options, const std::string& folder);
  struct Registry;
  static Registry& registry();
  static void release_thread(std::uint64_t serial, ThreadContext* context);
  friend struct ThreadExit;

  Status take_slot(bool spare);
  static bool reap_from_spare(const std::shared_ptr<Segment>& segment, const Options& options,
                              const std::string& folder);
  void leave();
  ThreadContext* find_thread();
  int take_shared_hold();

  struct Cached {
    std::uint64_t serial = 0;
    ThreadContext* context = nullptr;
  };
  static thread_local constinit Cached cached_;

  std::shared_ptr<Segment> segment_;
  Options options_;
  sys::Fd alive_;     // holds the slot's lock
  sys::Fd presence_;  // shared lock in the state folder
  const std::atomic<std::uint32_t>* witness_;
  std::uint64_t serial_;
  std::uint32_t slot_ = 0;
  ParticipantWords* participant_ = nullptr;
  std::atomic<std::uint64_t> shared_holds_{0};
  std::atomic<std::int32_t> sharers_[kHoldPins] = {};  // beyond the first
  std::mutex threads_mutex_;
  std::vector<std::unique_ptr<ThreadContext>> threads_;
  std::mutex retired_mutex_;
  std::vector<Reference> retired_;
  std::atomic<std::uint64_t> retired_units_{0};
  std::mutex reap_mutex_;
  std::atomic<std::uint64_t> tick_{0};
  std::uint64_t next_gc_us_ = 0;  // the maintenance thread
  std::string folder_;
  std::unique_ptr<TierSide> tier_side_;
  std::unique_ptr<sys::DeathWatch> watch_;
  std::thread maintenance_;
  std::atomic<bool> stopping_{false};
};

}  // namespace headpond::internal
