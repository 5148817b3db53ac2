#include "headpond/queue.h"

#include <algorithm>
#include <cstring>

#include "claim_access.h"
#include "delay.h"
#include "each.h"
#include "gap.h"
#include "lease.h"
#include "leftovers.h"
#include "move.h"
#include "reap.h"
#include "refill.h"
#include "retire.h"
#include "stats.h"
#include "straight.h"
#include "stream.h"
#include "tier_side.h"
#include "unlink.h"

namespace headpond {

using namespace internal;

namespace {

constexpr std::uint64_t kLargestItem = 1ULL << 30;
constexpr milliseconds kLongestLease = std::chrono::hours(24 * 30);

Status check_push(std::uint64_t size, const PushOptions& options) {
  if (size > kLargestItem)
    return {Code::too_large, "an item has " + std::to_string(size) + " bytes; the limit is 1 GiB"};
  if (options.priority < 0 || options.priority >= kPriorities)
    return {Code::invalid, "priority is " + std::to_string(options.priority) + "; it must be from 0 to 7"};
  if (options.delay.count() < 0 || options.delay > std::chrono::hours(24 * 365))
    return {Code::invalid, "delay must be from 0 to 365 days"};
  return {};
}

DelayedPrefix delayed_prefix(const PushOptions& options) {
  return {sys::wall_ms() + static_cast<std::uint64_t>(options.delay.count()), 0, 0,
          static_cast<std::uint32_t>(options.priority)};
}

ItemId item_id(int lane, std::uint64_t seq) { return {static_cast<std::uint64_t>(lane) << 60 | seq}; }

Bytes as_bytes(const DelayedPrefix& prefix) {
  return {reinterpret_cast<const char*>(&prefix), sizeof prefix};
}

/// Answers after which a claim that may wait does: `timeout`, since something is on its way out.
bool waits_for(const Status& answer) {
  Code code = answer.code();
  return code == Code::empty || code == Code::timeout || code == Code::not_found || code == Code::paused;
}

/// Priorities that may have items, highest first: work(lane number) until it answers something else than empty.
template <class Work>
Code by_priority(const StreamWords& stream, Work work) {
  std::uint32_t lanes = (stream.lanes.load(std::memory_order_acquire) | 1) & ((1u << kPriorities) - 1);
  for (Code held_up = Code::empty;;) {
    int lane = 31 - std::countl_zero(lanes);
    Code code = work(lane);
    if (code != Code::empty && code != Code::timeout) return code;
    if (code == Code::timeout) held_up = code;
    lanes &= ~(1u << lane);
    if (lanes == 0) return held_up;
  }
}

/// The item has used up its attempts: to the dead letters instead of to a worker.
Code bury_spent(Lane& lane, const Claimed& claimed) {
  LeaseWord last = claimed.before;
  return bury_claimed(lane, claimed, Cause::max_attempts, {},
                      last.is_death() ? static_cast<std::int32_t>(last.death_pid()) : 0,
                      last.is_death() ? static_cast<int>(last.death_signal()) : 0);
}

/// Claims whose time is over go back. True: some did.
bool look_at_leases(ThreadContext& me, Binding binding) {
  StreamWords& stream = me.pond->segment().stream(binding.index());
  if (!(stream.policy.load(std::memory_order_relaxed) & kLeased)) return false;
  std::uint32_t lanes = stream.lanes.load(std::memory_order_acquire) | 1;
  bool returned = false;
  for (int n = 0; n < kPriorities; n++) {
    if (!(lanes >> n & 1)) continue;
    Lane lane(me, binding, n);
    returned |= expire_leases(lane) > 0;
  }
  return returned;
}

/// What an empty look does before it says so: dead workers' claims, expired leases, and a large empty tail. True: look again.
bool look_around(ThreadContext& me, Binding binding) {
  bool again = look_for_dead(me) > 0;
  if (me.pond->has_retired()) recycle(me, {});
  again |= look_at_leases(me, binding);
  if (me.pond->tier_side().take_death()) (void)erase_leftovers(me);
  std::uint32_t lanes = me.pond->segment().stream(binding.index()).lanes.load(std::memory_order_acquire) | 1;
  bool calm = ++me.empty_looks % 8 == 0;  // not between two items of a stream that flows
  for (int n = 0; calm && n < kPriorities; n++) {
    if (!(lanes >> n & 1)) continue;
    Lane lane(me, binding, n);
    unlink_first(lane);
    shrink_tail(lane);
  }
  return again;
}

/// One claim in any priority. `use` gets the lane and the claim, its page pinned, and returns the page if that is over.
template <class Use>
Code claim_next(ThreadContext& me, Binding binding, bool look, Status& error, Use use) {
  StreamWords& stream = me.pond->segment().stream(binding.index());
  for (bool again = true; again;) {
    again = false;
    std::uint32_t policy = stream.policy.load(std::memory_order_relaxed);
    if (policy & kPaused) [[unlikely]]
      return Lane(me, binding, 0).current() ? Code::paused : Code::not_found;
    if (stream.lanes.load(std::memory_order_acquire) >> kDelayedLane & 1 &&
        something_due(stream, sys::wall_ms())) [[unlikely]]
      promote_due(me, binding);
    if (policy & kLeased && ++me.claims_made % 64 == 0) [[unlikely]]
      look_at_leases(me, binding);
    Code code = by_priority(stream, [&](int number) {
      Lane lane(me, binding, number);
      std::vector<Claimed> unburied;
      struct GiveBack {
        Lane& lane;
        std::vector<Claimed>& claims;
        ~GiveBack() {
          for (Claimed& c : claims)
            if (lane.pin(c.page.reference, c.page)) give_back(lane, c);
          lane.unpin();
        }
      } later{lane, unburied};
      for (;;) {
        Claimed claimed;
        Code found = claim_refilling(lane, claimed);
        if (found != Code::ok) {
          if (!lane.error.ok()) error = std::move(lane.error);
          return found;
        }
        if (policy & kAttemptsLimited) [[unlikely]] {
          std::uint32_t most = stream.max_attempts.load(std::memory_order_relaxed);
          if (most && claimed.word.claims() > most) {
            Code buried = bury_spent(lane, claimed);
            if (buried == Code::ok || buried == Code::fenced) continue;
            // no room for it there: it waits on, undelivered, and does not stop what is behind it
            if (unburied.size() < 64) {
              unburied.push_back(claimed);
              continue;
            }
            PageView page;
            if (lane.pin(claimed.page.reference, page))
              give_back(lane, {page, claimed.offset, claimed.word, false, {}});
            return buried;
          }
        }
        if (policy & kLeased) [[unlikely]] {
          if (std::uint64_t lease = stream.lease_us.load(std::memory_order_relaxed))
            begin_lease(lane, claimed, sys::coarse_us() + lease);
        }
        Reference over = use(lane, claimed);
        if (over) [[unlikely]] {
          lane.unpin();
          unlink_done(lane, over);
        }
        if (lane.gap_ahead) [[unlikely]]
          prefetch(lane, lane.gap_ahead);
        return Code::ok;
      }
    });
    if (code != Code::empty || !look) return code;
    again = look_around(me, binding);
    if (!again) return Code::empty;
  }
  return Code::empty;
}

}  // namespace

// --------------------------------------------------------------------------------------------------------------------- push

Result<ItemId> Queue::push(Bytes item) {
  std::uint64_t seq = 0;
  if (push_straight(stream_->pond(), stream_->binding(), item, Wake::one, seq)) [[likely]]
    return item_id(0, seq);
  return push(item, PushOptions());
}

Result<ItemId> Queue::push(Bytes item, const PushOptions& options) {
  if (Status good = check_push(item.size(), options); !good) return good;
  std::uint64_t seq = 0;
  if (options.delay.count() > 0) {
    DelayedPrefix prefix = delayed_prefix(options);
    Parts parts{as_bytes(prefix), item};
    Status done = stream_->append({&parts, 1}, kDelayedLane, prefix.due_ms, options.full_timeout,
                                  options.durability, seq);
    if (!done) return done;
    return {item_id(kDelayedLane, seq), std::move(done)};
  }
  Parts parts{item, {}};
  Status done =
      stream_->append({&parts, 1}, options.priority, 0, options.full_timeout, options.durability, seq);
  if (!done) return done;
  return {item_id(options.priority, seq), std::move(done)};
}

Result<ItemId> Queue::push_many(std::span<const Bytes> items, const PushOptions& options) {
  if (items.empty()) return Status(Code::invalid, "push_many of no item");
  for (Bytes item : items)
    if (Status good = check_push(item.size(), options); !good) return good;
  bool delayed = options.delay.count() > 0;
  DelayedPrefix prefix = delayed_prefix(options);
  Parts few[64];
  std::vector<Parts> many(items.size() > 64 ? items.size() : 0);
  Parts* parts = many.empty() ? few : many.data();
  for (std::size_t i = 0; i < items.size(); i++)
    parts[i] = delayed ? Parts{as_bytes(prefix), items[i]} : Parts{items[i], {}};
  int lane = delayed ? kDelayedLane : options.priority;
  std::uint64_t seq = 0;
  Status done = stream_->append({parts, items.size()}, lane, delayed ? prefix.due_ms : 0,
                                options.full_timeout, options.durability, seq);
  if (!done) return done;
  return {item_id(lane, seq), std::move(done)};
}

Result<Reservation> Queue::reserve(std::size_t size, int priority) {
  if (Status good =
          check_push(size, {.delay = {}, .priority = priority, .full_timeout = {}, .durability = {}});
      !good)
    return good;
  std::optional<Reservation> out;
  int hold = -1;
  Status done = stream_->run(
      true, [&](ThreadContext& me, Binding, Status&) { return hold = me.pond->take_hold(me), Code::ok; });
  if (!done) return done;
  if (hold < 0)
    return Status(Code::full,
                  "all 64 hold pins of this process are in use; settle some claims or reservations");
  done = stream_->reserve(size, priority, {}, [&](ThreadContext& me, Binding binding, const Place& place) {
    Lane lane(me, binding, priority);
    out = ClaimAccess::make(lane, place, hold);
  });
  if (out) return std::move(*out);
  if (ThreadContext* me = stream_->pond().thread()) stream_->pond().give_hold(*me, hold);
  return done;
}

// -------------------------------------------------------------------------------------------------------------------- claim

Result<Claim> Queue::claim(milliseconds timeout) {
  const Binding binding = stream_->binding();
  StraightClaim found;
  if (claim_straight(stream_->pond(), binding, found)) [[likely]]
    return ClaimAccess::make(*found.me, binding, found.page, found.offset, found.word, found.hold,
                             found.payload);
  return claim_generally(timeout);
}

Result<Claim> Queue::claim_generally(milliseconds timeout) {
  Result<Claim> out = Claim();
  bool claimed = false;
  auto use = [&](Lane& lane, const Claimed& found) {
    return ClaimAccess::fill(*out, lane, found), claimed = true, Reference{};
  };
  Status done = stream_->run(false, [&](ThreadContext& me, Binding binding, Status& error) {
    return claim_next(me, binding, false, error, use);
  });
  if (!claimed && waits_for(done))
    done = stream_->wait(timeout, [&](ThreadContext& me, Binding binding, bool look, Status& error) {
      Code code = claim_next(me, binding, look, error, use);
      return code == Code::paused && timeout.count() > 0 ? Code::empty : code;
    });
  if (!claimed) out = done.ok() ? Status(Code::empty) : std::move(done);
  return out;
}

Result<std::vector<Claim>> Queue::claim_many(std::size_t most, milliseconds timeout) {
  if (most == 0) return Status(Code::invalid, "claim_many of no item");
  std::vector<Claim> out;
  out.reserve(std::min<std::size_t>(most, 64));
  auto use = [&](Lane& lane, const Claimed& claimed) {
    // Without leases and attempts to look at, what follows in the page needs no walk of its own.
    bool plain = (lane.stream.policy.load(std::memory_order_relaxed) & (kLeased | kAttemptsLimited)) == 0;
    ClaimAccess::make_run(lane, claimed, plain ? most : out.size() + 1, out);
    return Reference{};
  };
  auto claim_all = [&](ThreadContext& me, Binding binding, bool look, Status& error) {
    Code code = Code::ok;
    while (out.size() < most && code == Code::ok)
      code = claim_next(me, binding, look && out.empty(), error, use);
    return out.empty() ? code : Code::ok;
  };
  Status done = stream_->run(false, [&](ThreadContext& me, Binding binding, Status& error) {
    return claim_all(me, binding, false, error);
  });
  if (out.empty() && (done.ok() || waits_for(done)))
    done = stream_->wait(timeout, [&](ThreadContext& me, Binding binding, bool look, Status& error) {
      Code code = claim_all(me, binding, look, error);
      return code == Code::paused && timeout.count() > 0 ? Code::empty : code;
    });
  if (!out.empty()) return out;
  return done;
}

Result<std::string> Queue::pop(milliseconds timeout) {
  Result<std::string> out = std::string();
  Reference over;
  if (pop_straight(stream_->pond(), stream_->binding(), *out, over)) [[likely]] {
    if (over) [[unlikely]]
      if (ThreadContext* me = stream_->pond().thread()) {
        Lane lane(*me, stream_->binding(), 0);
        unlink_done(lane, over);
      }
    return out;
  }
  auto got = pop_many(1, timeout);
  if (!got) return got.status();
  return {std::move(got->front()), got.status()};
}

Result<std::vector<std::string>> Queue::pop_many(std::size_t most, milliseconds timeout) {
  if (most == 0) return Status(Code::invalid, "pop_many of no item");
  std::vector<std::string> out;
  std::vector<Post> posts;
  Durability most_wanted = Durability::memory;
  Status note, refused;
  // While the page is pinned no hold is needed: claim, copy, ack. A death before the ack gives the item back.
  auto use = [&](Lane& lane, const Claimed& claimed) {
    Durability wanted = internal::wanted(lane.stream, {});
    Post post;
    std::optional<ThreadHold> hold;  // where the ack is posted: for that the operation pin is needed
    if (needs_post(claimed.word, wanted)) [[unlikely]] {
      hold.emplace(lane.me, claimed.page.reference);
      if (refused = prepare_ack(lane, claimed.word, wanted, post, note); !refused)
        return give_back(lane, claimed), Reference{};
      most_wanted = std::max(most_wanted, wanted);
    }
    auto payload = claimed.page.payload(claimed.offset, claimed.word);
    try {  // everything that may fail comes before the ack
      out.emplace_back(payload.data(), payload.size());
    } catch (const std::bad_alloc&) {
      give_back(lane, claimed);
      throw;
    }
    ItemId birth = post ? id_of_record(lane, claimed.page, claimed.offset, claimed.word) : ItemId{};
    // cleared, or its lease ended while we copied
    if (!ack(lane, claimed)) return out.pop_back(), Reference{};
    if (post) post_ack(lane, post, birth), posts.push_back(std::move(post));
    ring(lane.segment, lane.stream.space_bell, Wake::all);
    return page_is_over(claimed.page) ? claimed.page.reference : Reference{};
  };
  auto pop_all = [&](ThreadContext& me, Binding binding, bool look, Status& error) {
    Code code = Code::ok;
    while (out.size() < most && code == Code::ok) {
      code = claim_next(me, binding, look && out.empty(), error, use);
      if (!refused) {
        if (out.empty()) error = refused;
        code = refused.code();
      }
    }
    return out.empty() ? code : Code::ok;
  };
  Status done = stream_->run(false, [&](ThreadContext& me, Binding binding, Status& error) {
    return pop_all(me, binding, false, error);
  });
  if (out.empty() && (done.ok() || waits_for(done)))
    done = stream_->wait(timeout, [&](ThreadContext& me, Binding binding, bool look, Status& error) {
      Code code = pop_all(me, binding, look, error);
      return code == Code::paused && timeout.count() > 0 ? Code::empty : code;
    });
  if (out.empty()) return done;
  if (!posts.empty()) note = finish_acks(posts.front().owner(), posts, most_wanted, note);
  return {std::move(out), std::move(note)};
}

std::size_t Queue::ack_many(std::span<Claim> claims) { return *ClaimAccess::ack_many(claims, {}); }
Result<std::size_t> Queue::ack_many(std::span<Claim> claims, const AckOptions& options) {
  return ClaimAccess::ack_many(claims, options.durability);
}

// --------------------------------------------------------------------------------------------------------------------- look

Result<std::vector<Item>> Queue::peek(std::size_t most) const {
  std::vector<Item> out;
  Status done = stream_->run(false, [&](ThreadContext& me, Binding binding, Status& error) {
    out.clear();
    StreamWords& stream = me.pond->segment().stream(binding.index());
    return by_priority(stream, [&](int number) {
      if (out.size() >= most) return Code::ok;
      Lane lane(me, binding, number);
      Code code = for_each_ready(
          lane, [&](const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t id) {
            auto payload = page.payload(offset, word);
            Item item{word.has(kMoved) ? ItemId{page.moved(offset).birth} : item_id(number, id), number,
                      word.claims(), word.crashes(), std::string(payload.data(), payload.size())};
            out.push_back(std::move(item));
            return out.size() < most;
          });
      error = std::move(lane.error);
      return code == Code::ok ? Code::empty : code;  // empty: the next priority
    });
  });
  if (!out.empty()) return out;
  if (done.code() == Code::empty || done.code() == Code::not_found || done.ok()) return Code::empty;
  return done;
}

namespace {

/// A moment that the segment names; one beyond what the clock's type can say is the last that it can.
std::chrono::system_clock::time_point wall_clock(std::uint64_t ms) {
  using std::chrono::system_clock;
  constexpr milliseconds last = std::chrono::floor<milliseconds>(system_clock::duration::max());
  return system_clock::time_point(
      ms < static_cast<std::uint64_t>(last.count()) ? milliseconds(static_cast<std::int64_t>(ms)) : last);
}

/// False: it is damaged.
bool dead_item(const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t id, DeadItem& out) {
  auto payload = page.payload(offset, word);
  DeadPrefix prefix;
  if (payload.size() < sizeof prefix) return false;
  std::memcpy(&prefix, payload.data(), sizeof prefix);
  if (prefix.reason_bytes > payload.size() - sizeof prefix) return false;
  out.id = word.has(kMoved) ? ItemId{page.moved(offset).birth} : item_id(kDeadLane, id);
  out.priority = prefix.priority, out.attempts = prefix.attempts, out.crashes = prefix.crashes;
  bool spent = prefix.cause == static_cast<std::uint8_t>(Cause::max_attempts);
  out.cause = spent ? Cause::max_attempts : Cause::buried, out.pid = prefix.pid, out.signal = prefix.signal;
  out.at = wall_clock(prefix.at_ms);
  out.reason.assign(payload.data() + sizeof prefix, prefix.reason_bytes);
  out.payload.assign(payload.data() + sizeof prefix + prefix.reason_bytes,
                     payload.size() - sizeof prefix - prefix.reason_bytes);
  return true;
}

}  // namespace

Result<std::vector<DeadItem>> Queue::dead(std::size_t most) const {
  std::vector<DeadItem> out;
  Status done = stream_->run(false, [&](ThreadContext& me, Binding binding, Status& error) {
    out.clear();
    Lane lane(me, binding, kDeadLane);
    if (most == 0) return Code::ok;
    Code code = for_each_ready(
        lane, [&](const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t id) {
          DeadItem item;
          if (!dead_item(page, offset, word, id, item)) {
            lane.damaged(page, offset, "a dead letter is shorter than it says");
            return false;
          }
          out.push_back(std::move(item));
          return out.size() < most;
        });
    error = std::move(lane.error);
    return code;
  });
  if (done.ok() || done.code() == Code::not_found) return out;
  return done;
}

Result<std::uint64_t> Queue::redrive(std::size_t most) {
  std::uint64_t count = 0;
  Status done = stream_->run(false, [&](ThreadContext& me, Binding binding, Status& error) {
    while (count < most) {
      Lane dead(me, binding, kDeadLane);
      Claimed claimed;
      Code code;
      DeadItem item;
      {
        Unpin unpin{dead};
        code = claim_refilling(dead, claimed);
        if (code == Code::ok && !dead_item(claimed.page, claimed.offset, claimed.word, 0, item)) {
          error = Status(Code::corruption, "a dead letter is damaged");
          give_back(dead, claimed);
          return Code::corruption;
        }
        if (code == Code::ok) {
          dead.stream.lanes.fetch_or(1u << (item.priority % kPriorities), std::memory_order_seq_cst);
          Lane to(me, binding, item.priority % kPriorities);
          Move move_item;
          auto payload = claimed.page.payload(claimed.offset, claimed.word);
          move_item.payload = {
              Bytes(payload.data() + payload.size() - item.payload.size(), item.payload.size()), {}};
          move_item.birth = item.id, move_item.stamp_us = sys::coarse_us();
          code = move(to, claimed, move_item);
          if (code == Code::ok)
            count++;
          else if (code != Code::fenced) {
            error = std::move(to.error);
            PageView page;
            if (dead.pin(claimed.page.reference, page))
              give_back(dead, {page, claimed.offset, claimed.word, false, {}});
            unlink_done(dead);
            return code;
          }
          continue;
        }
      }
      if (code == Code::empty) {
        unlink_done(dead);
        shrink_tail(dead);
        return Code::ok;
      }
      error = std::move(dead.error);
      return code;
    }
    Lane dead(me, binding, kDeadLane);
    unlink_done(dead);
    return Code::ok;
  });
  if (done.ok() || done.code() == Code::not_found || (done.code() == Code::full && count)) return count;
  return done;
}

namespace {

/// Looks for an item in the rows of a gap. closed: it is there, ready, at `at`; busy: the rows have come back since the lane's gap version
/// was `version`.
Code find_spilled(Lane& lane, std::uint64_t version, ItemId id, std::uint64_t from, std::uint64_t to,
                  std::uint64_t& at) {
  Code code = for_each_spilled(
      lane, from, to, [&](const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t seq) {
        ItemId here = word.has(kMoved) ? ItemId{page.moved(offset).birth} : item_id(lane.number, seq);
        if (here == id && word.state() == RecordState::ready) at = seq;
        from = std::max(from, seq + word.ids());
        return at == 0;
      });
  if (code == Code::not_found) return row_not_found(lane, version, from, to);
  return code == Code::ok && at ? Code::closed : code;
}

}  // namespace

Status Queue::cancel(ItemId id) {
  Code outcome = Code::not_found;
  Status answer;
  std::uint64_t moved = 0, changes = 1ULL << 40;
  auto search = [&](ThreadContext& me, Binding binding, Status& error) {
    outcome = Code::not_found, moved = 0;
    StreamWords& stream = me.pond->segment().stream(binding.index());
    std::uint32_t lanes = stream.lanes.load(std::memory_order_acquire) | 1;
    for (int n = 0; n < kLanes && outcome == Code::not_found; n++) {
      if (!(lanes >> n & 1)) continue;
      Lane lane(me, binding, n);
      Reference over{};
      std::uint64_t seen = 0, spilled = 0;  // spilled: it is in the durable tier, with this seq
      std::uint64_t version = lane.words.gap_version.load(std::memory_order_acquire);
      {
        Unpin unpin{lane};
        Code code = for_each_record(
            lane, [](const PageView&) { return true; },
            [&](const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t seq) {
              seen = std::max(seen, seq + word.ids() - 1);
              ItemId here = word.has(kMoved) && word.state() != RecordState::writing
                                ? ItemId{page.moved(offset).birth}
                                : item_id(n, seq);
              if (word.state() == RecordState::writing && word.has(kIntent))
                help_move(lane, page, offset, word);
              moved += word.has(kMoved);  // also what has gone on from there
              if (here != id || word.state() == RecordState::done || word.state() == RecordState::writing)
                return Visit::go_on;
              // Of a durable item: for the post the operation pin is needed.
              std::optional<ThreadHold> hold;
              Post post;
              if (word.has(kDurable)) {
                Status note;
                hold.emplace(lane.me, page.reference);
                (void)prepare_ack(lane, word, Durability::memory, post, note);
                if (note.cause() != Code::ok) answer = std::move(note);
              }
              while (word.state() == RecordState::ready) {
                lane.mark(page);
                Lane::disturb(page);
                if (!page.word(offset).compare_exchange_strong(word.raw, word.acked().raw,
                                                               std::memory_order_acq_rel))
                  continue;
                outcome = Code::ok;
                if (post) post_ack(lane, post, id);
                if (page_is_over(page)) over = page.reference;
                ring(lane.segment, stream.space_bell, Wake::all);
                return Visit::stop;
              }
              if (word.state() != RecordState::done) outcome = Code::busy;
              return Visit::stop;
            },
            [] {},
            [&](const GapAhead&, const PageView& behind) {
              return find_spilled(lane, version, id, seen + 1, id_of(behind, 0), spilled);
            });
        if (!lane.error.ok()) return error = std::move(lane.error), error.code();
        if (code == Code::not_found && !lane.current()) return code;
        if (code == Code::busy) moved = ++changes;  // rows came back under the search: once more
      }
      if (spilled) {
        if (Code back = bring_back(lane, spilled); back != Code::ok)
          return error = std::move(lane.error), back;
        moved = ++changes;
        return Code::ok;
      }
      if (over) unlink_done(lane, over);
    }
    return Code::ok;
  };
  Status done = stream_->run(false, search);
  for (std::uint64_t before = ~0ULL; done.ok() && outcome == Code::not_found && before != moved;) {
    before = moved;  // it may have moved to a lane behind us: until two searches saw the same moves
    done = stream_->run(false, search);
  }
  if (!done && done.code() != Code::not_found) return done;
  if (outcome == Code::busy)
    return {Code::busy, "item " + std::to_string(id.value) + " is with a worker just now"};
  if (outcome == Code::not_found)
    return {Code::not_found, "item " + std::to_string(id.value) + " is not in the queue"};
  return answer;
}

Status Queue::wait_durable(ItemId id) const {
  Status answer;
  Status done = stream_->run(false, [&](ThreadContext& me, Binding binding, Status& error) {
    std::uint64_t birth_seq = id.seq();
    answer = flush_posts(me, durable_deadline(*me.pond), [&](const PostEntry& post) {
      bool in_lane = static_cast<int>(post.entry.birth_stream & 15) == id.lane();
      return post.stream == binding && in_lane && post.entry.birth_seq <= birth_seq;
    });
    if (!answer) error = answer;
    return answer.code();
  });
  return done.ok() ? answer : done;
}

Result<std::uint64_t> Queue::size() const {
  std::uint64_t ready = 0;
  Status done = stream_->run(false, [&](ThreadContext& me, Binding binding, Status& error) {
    ready = 0;
    std::uint32_t lanes =
        me.pond->segment().stream(binding.index()).lanes.load(std::memory_order_acquire) | 1;
    for (int n = 0; n < kPriorities; n++) {
      if (!(lanes >> n & 1)) continue;
      Lane lane(me, binding, n);
      LaneCount count;
      if (Code code = count_lane(lane, false, count); code != Code::ok)
        return error = std::move(lane.error), code;
      ready += count.ready;
    }
    return Code::ok;
  });
  if (done.ok() || done.code() == Code::not_found) return ready;
  return done;
}

Result<QueueStats> Queue::stats() const {
  QueueStats out;
  Status done = stream_->run(false, [&](ThreadContext& me, Binding binding, Status& error) {
    return queue_stats(me, binding, out, error);
  });
  if (done.ok() || done.code() == Code::not_found) return out;
  return done;
}

// ------------------------------------------------------------------------------------------------------------------- govern

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

Status set_policy(Stream& stream, std::uint32_t set, std::uint32_t clear) {
  return stream.govern([&](ThreadContext& me, StreamWords& words) {
    if (set) words.policy.fetch_or(set, std::memory_order_seq_cst);
    if (clear) words.policy.fetch_and(~clear, std::memory_order_seq_cst);
    ring(me.pond->segment(), words.bell, Wake::all);
  });
}

}  // namespace

namespace {

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
  if (Status set = set_policy(*stream_, kDraining, 0); !set) return set;
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
    if (!done || empty) return done;
    if (deadline.over()) return Code::timeout;
  }
}

Status Queue::configure(const QueueOptions& options) {
  if (options.lease.count() < 0 || options.lease > kLongestLease)
    return {Code::invalid, "lease must be 0, or from 1 ms to 30 days"};
  if (options.max_attempts > 65534)
    return {Code::invalid,
            "max_attempts is " + std::to_string(options.max_attempts) + "; it must be from 0 to 65,534"};
  return stream_->govern([&](ThreadContext& me, StreamWords& words) {
    words.lease_us.store(static_cast<std::uint64_t>(options.lease.count()) * 1000, std::memory_order_relaxed);
    words.max_attempts.store(options.max_attempts, std::memory_order_relaxed);
    words.max_items.store(options.max_items, std::memory_order_relaxed);
    words.max_bytes.store(options.max_bytes, std::memory_order_relaxed);
    // Bits are only added: a lease that was begun must still be looked at, and the words themselves say what is off.
    words.policy.fetch_or((options.lease.count() ? kLeased : 0u) |
                              (options.max_attempts ? kAttemptsLimited : 0u) |
                              (options.max_items || options.max_bytes ? kLimited : 0u),
                          std::memory_order_seq_cst);
    ring(me.pond->segment(), words.space_bell, Wake::all);
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
