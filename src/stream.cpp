#include "stream.h"

#include <algorithm>

#include "delay.h"
#include "durable.h"
#include "park.h"
#include "reap.h"
#include "retire.h"
#include "room.h"
#include "unpark.h"

namespace headpond::internal {

Status Stream::explain(Code code) const {
  if (code == Code::removed)
    return {code, "pond " + pond_->name() + ": was removed; open it anew to create another"};
  if (code == Code::forked)
    return {code, "pond " + pond_->name() +
                      ": this handle was made before a fork; open the pond anew in the child"};
  return code;
}

// Bytes of pages that go where all descriptors are taken: some hundred streams.
constexpr std::uint64_t kBindMakesRoom = 1 << 18;

Status Stream::bind(ThreadContext& me, bool create, Binding& binding) {
  Directory directory(me);
  Result<Binding> found = Code::busy;
  for (int tries = 0; tries < 200 && found.code() == Code::busy; tries++) {
    found = create ? directory.find_or_create(key_) : directory.find(key_);
    if (found && found->is_parked()) found = wake(me, *found);
    if (found.code() != Code::full || tries > 20) continue;
    make_room(me);  // descriptors of cleared streams may come free
    ParkCount parked;
    Status done = park_some(me, kBindMakesRoom, parked);
    if (!done) return done;
    if (parked.streams || tries == 0) found = Code::busy;
  }
  if (!found) return found.status();
  binding = *found;
  pond_->touch(binding.index());  // before the first access: the reaper walks only these
  binding_.store(binding.raw, std::memory_order_release);
  return {};
}

/// The name is parked, or was just now: a stream of it again. `busy`: look again.
Result<Binding> Stream::wake(ThreadContext& me, Binding parked) {
  if (!parked.ending()) return unpark(me, key_);
  auto cleared = clear_parked(me, key_, true);  // whoever began that was killed, or is slow
  return cleared ? Status(Code::busy) : cleared.status();
}

/// Its tomb was met, or another life of the descriptor. If the name still means it, whoever began to clear it was
/// killed or is slow: the name gets its successor; who began to park it, likewise. The sweep is the clearer's, which counts, or its reaper's. Not ok: what keeps it from
/// ending.
Status Stream::lost(ThreadContext& me, Binding binding) {
  auto named = Directory(me).find(key_);
  std::uint64_t state = pond_->segment().stream(binding.index()).state.load(std::memory_order_acquire);
  bool clearing =
      state >> 28 == binding.generation() && static_cast<StreamState>(state & 0xff) == StreamState::clearing;
  Status ended;
  if (named && *named == binding) ended = clearing ? end_stream(me, binding, true) : finish_park(me, binding);
  std::uint64_t expected = binding.raw;
  binding_.compare_exchange_strong(expected, 0, std::memory_order_acq_rel);
  return ended.code() == Code::not_found ? Status() : ended;
}

// ------------------------------------------------------------------------------------------------------------------- limits

namespace {

// within this file: `full` by a limit, which making room in memory does not help
constexpr Code kLimitReached = Code::exists;

struct Load {
  std::uint64_t items = 0, bytes = 0;
  Code add(ThreadContext& me, Binding stream) {
    me.pond->touch(stream.index());
    std::uint32_t lanes = me.pond->segment().stream(stream.index()).lanes.load(std::memory_order_acquire) | 1;
    for (int n = 0; n < kDeadLane; n++) {
      if (!(lanes >> n & 1)) continue;
      Lane lane(me, stream, n);
      LaneCount count;
      if (Code code = count_lane(lane, true, count); code != Code::ok) return code;
      items += count.ready + count.claimed, bytes += count.payload_bytes;
    }
    return Code::ok;
  }
};

}  // namespace

// Counted from the cells. Until a sixteenth of what is left has been pushed by this handle it need not count again.
Code Stream::within_limits(ThreadContext& me, Binding binding, std::uint64_t items, std::uint64_t bytes,
                           Status& error) {
  auto weight = static_cast<std::int64_t>(std::max(items, bytes / 64));
  StreamWords& words = pond_->segment().stream(binding.index());
  std::uint64_t limits = words.max_items.load(std::memory_order_relaxed) * 0x9e3779b97f4a7c15ULL +
                         words.max_bytes.load(std::memory_order_relaxed) + binding.raw;
  if (credited_.exchange(limits, std::memory_order_relaxed) == limits &&
      credit_.fetch_sub(weight, std::memory_order_relaxed) >= weight)
    return Code::ok;
  credit_.store(0, std::memory_order_relaxed);
  std::uint64_t left = UINT64_MAX;
  auto check = [&](const Load& load, std::uint64_t max_items, std::uint64_t max_bytes, const char* whose) {
    if (max_items && load.items + items > max_items)
      return error = Status(Code::full, "the " + std::string(whose) + " has " + std::to_string(load.items) +
                                            " items and its limit is " + std::to_string(max_items)),
             false;
    if (max_bytes && load.bytes + bytes > max_bytes)
      return error = Status(Code::full, "the " + std::string(whose) + " has " + std::to_string(load.bytes) +
                                            " bytes and its limit is " + std::to_string(max_bytes)),
             false;
    if (max_items) left = std::min(left, max_items - load.items - items);
    if (max_bytes) left = std::min(left, (max_bytes - load.bytes - bytes) / 64);
    return true;
  };
  std::uint64_t max_items = words.max_items.load(std::memory_order_relaxed),
                max_bytes = words.max_bytes.load(std::memory_order_relaxed);
  if (max_items || max_bytes) {
    Load load;
    if (Code code = load.add(me, binding); code != Code::ok) return code;
    if (!check(load, max_items, max_bytes, "queue")) return kLimitReached;
  }
  Directory directory(me);
  auto scope = directory.values(key_.scope_key());
  std::uint64_t scope_items = scope ? Directory::scope_max_items(*scope) : 0;
  if (scope && (scope_items || scope->second)) {
    Load load;
    auto members = directory.list(&key_.scope);
    if (!members) return error = members.status(), error.code();
    for (auto& member : *members) {
      if (member.key.kind != Kind::queue) continue;
      if (!member.stream.is_parked()) (void)load.add(me, member.stream);
      for (const ParkedLane& lane : member.parked.lanes)
        if (lane.number != kDeadLane) load.items += lane.items, load.bytes += lane.bytes;
    }
    if (!check(load, scope_items, scope->second, "scope")) return kLimitReached;
  }
  // Shared out among those who may push at the same time; without limits left, enough not to ask at each push.
  std::uint64_t others =
      std::max<std::uint64_t>(pond_->segment().header().participants_used.load(std::memory_order_relaxed), 1);
  credit_.store(static_cast<std::int64_t>(left == UINT64_MAX ? 256 : left / 16 / others),
                std::memory_order_relaxed);
  return Code::ok;
}

// ------------------------------------------------------------------------------------------------------------------- append

namespace {

/// One pusher spills while others wait for the room that it makes: all of them would only queue for the tier's lock, each with pages in its
/// hands. Another joins where that takes long. Only a hint, so no harm comes of two, or of one that was killed.
class SpillTurn {
 public:
  explicit SpillTurn(Segment& segment) : since_(segment.header().spilling_since) {
    auto now = static_cast<std::uint32_t>(sys::precise_us() / 1000) | 1;
    std::uint32_t seen = since_.load(std::memory_order_relaxed);
    if (seen && now - seen < kAlone) return;
    if (since_.compare_exchange_strong(seen, now, std::memory_order_relaxed)) mine_ = now;
  }
  ~SpillTurn() {
    if (mine_) since_.compare_exchange_strong(mine_, 0, std::memory_order_relaxed);
  }
  SpillTurn(const SpillTurn&) = delete;
  SpillTurn& operator=(const SpillTurn&) = delete;
  bool taken() const { return mine_ != 0; }

 private:
  static constexpr std::uint32_t kAlone = 20;  // ms
  std::atomic<std::uint32_t>& since_;
  std::uint32_t mine_ = 0;
};

}  // namespace

Status Stream::with_room(std::optional<milliseconds> full_timeout,
                         const std::function<Code(ThreadContext&, Binding, Status&)>& attempt) {
  const Options& options = pond_->options();
  Deadline deadline(full_timeout                      ? *full_timeout
                    : options.on_full == OnFull::fail ? milliseconds(0)
                                                      : options.full_timeout);
  Code last = Code::full;
  bool spills = options.on_full == OnFull::spill && full_timeout != milliseconds(0);
  bool wait_for_spiller = false, held_up = false;
  // Either bell may be the one: pages come free, or the queue gets below its limit. Bounded sleeps look at both.
  auto try_once = [&](bool sleep) {
    return run(true, [&](ThreadContext& me, Binding binding, Status& error) {
      Segment& segment = pond_->segment();
      Bell& bell =
          last == kLimitReached ? segment.stream(binding.index()).space_bell : segment.header().space_bell;
      std::uint32_t armed = sleep ? arm(segment, bell) : 0;
      held_up = false;
      last = attempt(me, binding, error);
      if (last != Code::full && last != kLimitReached) return last;
      error = {};
      if (sleep) {
        sleep_on(bell, armed, std::min<std::uint64_t>(deadline.left_us(), 20'000));
        last = attempt(me, binding, error);
        if (last != Code::full && last != kLimitReached) return last;
      }
      // Who may wait leaves making room to those who take items out, and looks around itself now and then.
      bool look = deadline.over() || pond_->tick_begins();
      auto once_more = [&] { return error = {}, last = attempt(me, binding, error); };
      if (last == kLimitReached) return look ? (void)reap_dead(me), once_more() : last;
      if (look) make_room(me), once_more();
      while (last == Code::full && spills) {
        SpillTurn turn(segment);
        if (!turn.taken() && !deadline.over()) return wait_for_spiller = true, last;
        Spilled out;
        Status spilled = make_space(me, spill_step(segment), out);
        // Others keep the tier busy, or were stopped with us: tried again while the call may wait.
        held_up = spilled.code() == Code::timeout;
        if (!spilled) return error = std::move(spilled), last = error.code(), error.code();
        wait_for_spiller = out.busy;
        if (!out.bytes && look) break;
        if (!out.bytes) look = true, make_room(me);  // nothing can go: perhaps something is over
        once_more();
      }
      return last;
    });
  };
  Status done = try_once(false);
  // With `spill`, what can't go now waits for other spillers only, unless the call says how long.
  auto waits = [&] { return !spills || full_timeout || last == kLimitReached || wait_for_spiller; };
  auto no_room = [&] { return (last == Code::full || last == kLimitReached) && waits(); };
  for (bool over = deadline.over(); !over && (held_up || no_room());) {
    over = deadline.over();  // then once more: the time may have passed while we were stopped
    done = try_once(!held_up && !over);
  }
  if (last == kLimitReached) return {Code::full, done.text()};
  if (done.code() == Code::full && done.text() == Status(Code::full).text())
    return {Code::full, "pond " + pond_->name() + ": its " +
                            std::to_string(pond_->segment().limit_bytes() >> 20) +
                            " MiB are in use; take items out, trim logs, or create it with a larger limit"};
  return done;
}

Status Stream::append(std::span<const Parts> records, int number, std::uint64_t due_ms,
                      std::optional<milliseconds> full_timeout, std::optional<Durability> durability,
                      std::uint64_t& first_id) {
  Sent sent;
  auto attempt = [&](ThreadContext& me, Binding binding, Status& error) -> Code {
    Lane lane(me, binding, number);
    std::uint32_t policy = lane.stream.policy.load(std::memory_order_relaxed);
    if (policy & (kDraining | kLimited)) [[unlikely]] {
      if (!lane.current()) return Code::not_found;  // another stream's policy by now
      if (policy & kDraining) return Code::draining;
      std::uint64_t bytes = 0;
      for (const Parts& r : records) bytes += r.size();
      bool counts = policy & kLimited && number != kDeadLane;
      if (Code code = counts ? within_limits(me, binding, records.size(), bytes, error) : Code::ok;
          code != Code::ok)
        return code;
    }
    if (number != 0 && !(lane.stream.lanes.load(std::memory_order_relaxed) >> number & 1))
      lane.stream.lanes.fetch_or(1u << number, std::memory_order_seq_cst);
    sent.wanted = wanted(lane.stream, durability);
    Code code = sent.wanted != Durability::memory ? append_durably(lane, records, due_ms, first_id, sent)
                : records.size() == 1             ? append_one(lane, records[0], first_id, due_ms)
                                                  : append_all(lane, records, first_id, due_ms);
    if (code == Code::ok) {
      // cleared meanwhile
      if ((lane.stream.state.load(std::memory_order_relaxed) & 0xff) !=
          static_cast<std::uint64_t>(StreamState::live)) [[unlikely]]
        finish_tombed(me, binding);
      return code;
    }
    error = std::move(lane.error);
    return code;
  };
  Status done = run(true, attempt);
  if (done.code() == Code::full || done.code() == kLimitReached) [[unlikely]]
    done = with_room(full_timeout, attempt);
  if (!done || sent.wanted == Durability::memory) [[likely]]
    return done;
  ThreadContext* me = pond_->thread();
  return me ? finish_append(*me, sent) : Status::in_memory(Code::full);
}

Status Stream::reserve(std::uint64_t payload, int number, std::optional<milliseconds> full_timeout,
                       const std::function<void(ThreadContext&, Binding, const Place&)>& fill) {
  return with_room(full_timeout, [&](ThreadContext& me, Binding binding, Status& error) -> Code {
    Lane lane(me, binding, number);
    std::uint32_t policy = lane.stream.policy.load(std::memory_order_relaxed);
    if (policy && !lane.current()) return Code::not_found;
    if (policy & kDraining) return Code::draining;
    if (policy & kLimited)
      if (Code code = within_limits(me, binding, 1, payload, error); code != Code::ok) return code;
    if (number != 0) lane.stream.lanes.fetch_or(1u << number, std::memory_order_seq_cst);
    std::uint32_t flags = size_flags(payload);
    std::uint64_t bytes = record_bytes(payload, flags);
    RecordWord word = RecordWord::make(RecordState::writing, me.owner, 1,
                                       flags ? 0 : static_cast<std::uint32_t>(payload), flags);
    Unpin unpin{lane};
    Place place;
    Code code = bytes > largest_shared(lane.segment) ? reserve_own(lane, payload, word, place)
                                                     : internal::reserve(lane, bytes, word, place);
    if (code != Code::ok) return error = std::move(lane.error), code;
    lay(place.at(), payload, flags, sys::coarse_us());
    fill(me, binding, place);
    return Code::ok;
  });
}

// --------------------------------------------------------------------------------------------------------------------- wait

Status Stream::wait(milliseconds timeout,
                    const std::function<Code(ThreadContext&, Binding, bool look, Status&)>& attempt) {
  Deadline deadline(timeout);
  bool waits = !deadline.over();
  for (bool woken_late = false;;) {
    std::uint64_t spin_until = sys::precise_us() + static_cast<std::uint64_t>(std::max<std::int64_t>(
                                                       0, pond_->options().spin.count()));
    bool look = !waits;
    do {
      Status got = run(waits, [&](ThreadContext& me, Binding binding, Status& error) {
        return attempt(me, binding, look, error);
      });
      if (got.code() == Code::not_found) return Code::empty;  // no such stream, and nobody waits for one
      if (!waits || !(got.code() == Code::empty || got.code() == Code::timeout)) return got;
      for (int i = 0; i < 16; i++) sys::relax();
    } while (sys::precise_us() < spin_until);
    if (woken_late && deadline.over()) return Code::timeout;

    // Step 1 to 4 of protocol 6.
    Status got = run(true, [&](ThreadContext& me, Binding binding, Status& error) -> Code {
      StreamWords& words = pond_->segment().stream(binding.index());
      std::uint32_t armed = arm(pond_->segment(), words.bell);
      Code code = attempt(me, binding, true, error);
      // `timeout`: a spiller is at work, and rings when it has done; or somebody holds a section up
      if (code != Code::empty && code != Code::timeout) return code;
      std::uint64_t time = std::min(deadline.left_us(), kLongestSleepUs);
      if (std::uint64_t due = DueWord{words.due.load(std::memory_order_acquire)}.ms()) {
        std::uint64_t now = sys::wall_ms();
        time = std::min(time, due > now ? (due - now) * 1000 + 4000 : 1000);
      }
      if (words.policy.load(std::memory_order_relaxed) & kLeased && me.next_lease_us != UINT64_MAX) {
        std::uint64_t now = sys::coarse_us();
        time = std::min(time, me.next_lease_us > now ? me.next_lease_us - now + 1000 : 4000);
      }
      if (time) sleep_on(words.bell, armed, time);
      return code;
    });
    if (got.code() != Code::empty && (got.code() != Code::timeout || deadline.over())) return got;
    woken_late = deadline.over();  // one more look, then leave
  }
}

}  // namespace headpond::internal
