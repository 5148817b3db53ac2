// A handle's inside: a name, and the stream that it means at present. Queue and Log are thin faces over it.
#pragma once

#include <functional>

#include "append.h"
#include "count.h"
#include "directory.h"

namespace headpond::internal {

/// When a call that may wait has to come back.
class Deadline {
 public:
  explicit Deadline(milliseconds timeout)
      : end_us_(timeout.count() <= 0 ? 0
                : timeout.count() >= kForever
                    ? UINT64_MAX
                    : sys::precise_us() + static_cast<std::uint64_t>(timeout.count()) * 1000) {}
  std::uint64_t left_us() const {
    if (end_us_ == 0 || end_us_ == UINT64_MAX) return end_us_;
    std::uint64_t now = sys::precise_us();
    return now < end_us_ ? end_us_ - now : 0;
  }
  bool over() const { return left_us() == 0; }

 private:
  static constexpr std::int64_t kForever = 1LL << 50;
  std::uint64_t end_us_;
};

class Stream {
 public:
  Stream(std::shared_ptr<Attachment> pond, Key key) : pond_(std::move(pond)), key_(std::move(key)) {}

  Attachment& pond() const { return *pond_; }
  const Key& key() const { return key_; }
  /// What the name meant at last; none before the first operation.
  Binding binding() const { return {binding_.load(std::memory_order_acquire)}; }
  Directory directory(ThreadContext& me) const { return Directory(me); }

  /// Where a scan stood at last, for the next one: a Reference, perhaps stale.
  std::uint64_t remembered() const { return remembered_.load(std::memory_order_relaxed); }
  void remember(std::uint64_t page) { remembered_.store(page, std::memory_order_relaxed); }

  /// Runs work(me, binding, error) -> Code on the stream that the name means; on `not_found` (its tomb was met) helps to end it, looks the
  /// name up again and runs it again. `create`: makes the stream if there is none; else its absence is `not_found`.
  template <class Work>
  Status run(bool create, Work work) {
    for (int tries = 0; tries < 200; tries++) {
      ThreadContext* me = nullptr;
      Binding binding{binding_.load(std::memory_order_acquire)};
      if (Code usable = pond_->usable(); usable != Code::ok) [[unlikely]]
        return explain(usable);
      if (me = pond_->thread(); !me) [[unlikely]]
        return Status(Code::full, "pond " + pond_->name() + ": all " + std::to_string(kMaxThreads) +
                                      " thread slots are taken");
      if (!binding) [[unlikely]] {
        if (Status bound = bind(*me, create, binding); !bound) return bound;
      }
      StreamWords& words = pond_->segment().stream(binding.index());
      if (std::uint64_t now = sys::coarse_us(); words.last_use.load(std::memory_order_relaxed) != now)
        words.last_use.store(now, std::memory_order_relaxed);
      Status error;
      Code code = work(*me, binding, error);
      if (code != Code::not_found) [[likely]]
        return error.ok() ? Status(code) : error;
      if (Status damaged = lost(*me, binding); !damaged) return damaged;
    }
    return Status(Code::busy,
                  "pond " + pond_->name() + ": the stream is cleared all the time by others; try again");
  }

  /// Runs work(me, words) on the stream's words, which it makes if there is none, in the directory's section: they are no other stream's.
  template <class Work>
  Status govern(Work work) {
    return run(true, [&](ThreadContext& me, Binding binding, Status& error) {
      Status done = Directory(me).with_stream(binding, [&](StreamWords& words) { work(me, words); });
      if (!done && done.code() != Code::not_found) error = done;
      return done.code();
    });
  }

  /// Appends records, all or nothing; limits, draining, waiting for room and for the disk included.
  Status append(std::span<const Parts> records, int lane, std::uint64_t due_ms,
                std::optional<milliseconds> full_timeout, std::optional<Durability> durability,
                std::uint64_t& first_id);
  /// Room for one record of that size; the place is pinned, and `fill` is run before the pin is dropped.
  Status reserve(std::uint64_t payload, int lane, std::optional<milliseconds> full_timeout,
                 const std::function<void(ThreadContext&, Binding, const Place&)>& fill);

  /// Runs `attempt` until it answers something else than empty, or the time is over: spins, then sleeps on the stream's bell. `attempt` gets
  /// `look` = true when it should also look for dead processes and expired leases.
  Status wait(milliseconds timeout,
              const std::function<Code(ThreadContext&, Binding, bool look, Status&)>& attempt);

 private:
  Status bind(ThreadContext& me, bool create, Binding& binding);
  Result<Binding> wake(ThreadContext& me, Binding parked);
  Status lost(ThreadContext& me, Binding binding);
  Status explain(Code code) const;
  Code within_limits(ThreadContext& me, Binding binding, std::uint64_t items, std::uint64_t bytes,
                     Status& error);
  Status with_room(std::optional<milliseconds> full_timeout,
                   const std::function<Code(ThreadContext&, Binding, Status&)>& attempt);

  std::shared_ptr<Attachment> pond_;
  Key key_;
  std::atomic<std::uint64_t> binding_{0}, remembered_{0};
  std::atomic<std::int64_t> credit_{0};  // items that may be pushed before the next count against the limits
  std::atomic<std::uint64_t> credited_{0};  // the limits that it was counted against
};

}  // namespace headpond::internal
