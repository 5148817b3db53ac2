#include "headpond/queue.h"

#include <algorithm>

#include "fixed.h"
#include "reap.h"
#include "retire.h"
#include "settings.h"
#include "stream.h"

namespace headpond {

using namespace internal;

Result<std::uint64_t> Queue::clear() {
  std::uint64_t taken = 0;
  Status done = stream_->run(false, [&](ThreadContext& me, Binding binding, Status& error) {
    // Cleared before, and this handle has not looked since: the name means another stream by now.
    std::uint64_t state = me.pond->segment().stream(binding.index()).state.load(std::memory_order_acquire);
    if (state >> 28 != binding.generation() || static_cast<StreamState>(state & 0xff) != StreamState::live)
      return Code::not_found;
    auto retired = retire_stream(me, binding, true);
    if (!retired) return error = retired.status(), retired.code();
    taken += *retired;
    return Code::ok;
  });
  if (done.ok() || done.code() == Code::not_found) return taken;
  return done;
}

namespace {

/// change(me, words) answers whether something is not as it was. In memory it holds whatever the disk says. The mark comes first: who is
/// killed behind the change has left it, and one that marks nothing is only saved once more.
template <class Change>
Status set(Stream& stream, Change change) {
  bool unsaved = false;
  Status done = stream.govern([&](ThreadContext& me, StreamWords& words) {
    unsaved = words.policy.fetch_or(kUnsaved, std::memory_order_seq_cst) & kUnsaved;
    if (change(me, words) || unsaved) return void(unsaved = true);
    words.policy.fetch_and(~static_cast<std::uint32_t>(kUnsaved), std::memory_order_seq_cst);
  });
  ThreadContext* me = done ? stream.pond().thread() : nullptr;
  return me ? save_setting(*me, stream.key(), unsaved) : done;
}

Status set_policy(Stream& stream, std::uint32_t on, std::uint32_t off) {
  return set(stream, [&](ThreadContext& me, StreamWords& words) {
    std::uint32_t before = words.policy.fetch_or(on, std::memory_order_seq_cst);
    words.policy.fetch_and(~off, std::memory_order_seq_cst);
    ring(me.pond->segment(), words.bell, Wake::all);
    return ((before | on) & ~off) != before;
  });
}

struct Pending {
  std::uint64_t items = 0, signature = 0;
};
/// Everything but dead letters that is or may become an item.
Code pending(ThreadContext& me, Binding binding, Pending& out, Status& error) {
  std::uint32_t lanes = me.pond->segment().stream(binding.index()).lanes.load(std::memory_order_acquire) | 1;
  for (int n = 0; n < kLanes; n++) {
    if (!(lanes >> n & 1)) continue;
    Lane lane(me, binding, n);
    LaneCount count;
    if (Code code = count_lane(lane, true, count); code != Code::ok)
      return error = std::move(lane.error), code;
    if (n != kDeadLane)
      out.items += count.ready + count.claimed + count.pending;
    else
      out.items += count.pending;
    out.signature = out.signature * 31 + count.next_id * 7 + lane.words.epoch.load(std::memory_order_acquire);
  }
  return Code::ok;
}

}  // namespace

Status Queue::pause() { return set_policy(*stream_, kPaused, 0); }
Status Queue::resume() { return set_policy(*stream_, 0, kPaused | kDraining); }

Status Queue::drain(milliseconds timeout) {
  Status draining = set_policy(*stream_, kDraining, 0);
  if (!draining) return draining;
  auto not_done = [&](const Status& why) {
    if (draining.cause() == Code::ok) return Status::after(draining, why);
    std::string text = "the queue drains in memory alone: " + draining.text();
    if (why.code() != Code::timeout) text = why.text() + "; " + text;
    return Status::after(draining, {why.code(), std::move(text), why.error_number()});
  };
  // a push that has not seen it shows its record to the count
  if (stream_->pond().segment().uses_membarrier()) sys::barrier();
  for (Deadline deadline(timeout);;) {
    bool empty = false;
    Status done = stream_->run(true, [&](ThreadContext& me, Binding binding, Status& error) {
      StreamWords& words = me.pond->segment().stream(binding.index());
      std::uint32_t armed = arm(me.pond->segment(), words.space_bell);
      reap_dead(me);
      // Nothing twice in a row, with no id given and nothing returned in between: then nothing moved past the walk.
      Pending first, second;
      if (Code code = pending(me, binding, first, error); code != Code::ok) return code;
      if (first.items == 0)
        if (Code code = pending(me, binding, second, error); code != Code::ok) return code;
      empty = first.items == 0 && second.items == 0 && first.signature == second.signature;
      if (!empty && !deadline.over()) sleep_on(words.space_bell, armed, deadline.left_us());
      return Code::ok;
    });
    if (!done) return not_done(done);
    if (empty) return draining;
    if (deadline.over()) return not_done(Code::timeout);
  }
}

Status Queue::configure(const QueueOptions& options) {
  if (Status good = check_queue(options); !good) return good;
  return set(*stream_, [&](ThreadContext& me, StreamWords& words) {
    auto differs = [](auto& word, std::uint64_t value) {
      using Value = decltype(word.load());
      return word.exchange(static_cast<Value>(value), std::memory_order_relaxed) != value;
    };
    // Bits are only added: a lease that was begun must still be looked at, and the words themselves say what is off. They come first: who is killed
    // between two words leaves none that nobody looks at.
    const std::uint32_t bits = kConfigured | (options.lease.count() ? kLeased : 0u) |
                               (options.max_attempts ? kAttemptsLimited : 0u) |
                               (options.max_items || options.max_bytes ? kLimited : 0u);
    bool changed = !(words.policy.fetch_or(bits, std::memory_order_seq_cst) & kConfigured);
    changed |= differs(words.lease_us, static_cast<std::uint64_t>(options.lease.count()) * 1000);
    changed |= differs(words.max_attempts, options.max_attempts);
    changed |= differs(words.max_items, options.max_items);
    changed |= differs(words.max_bytes, options.max_bytes);
    ring(me.pond->segment(), words.space_bell, Wake::all);
    return changed;
  });
}

Result<QueueOptions> Queue::options() const {
  QueueOptions out;
  Status done = stream_->govern([&](ThreadContext&, StreamWords& words) {
    std::uint64_t lease_ms = words.lease_us.load(std::memory_order_relaxed) / 1000;
    out.lease = std::min(milliseconds(static_cast<std::int64_t>(lease_ms)), kLongestLease);
    out.max_attempts = words.max_attempts.load(std::memory_order_relaxed);
    out.max_items = words.max_items.load(std::memory_order_relaxed);
    out.max_bytes = words.max_bytes.load(std::memory_order_relaxed);
  });
  if (!done) return done;
  return out;
}

}  // namespace headpond
