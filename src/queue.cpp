#include "headpond/queue.h"

#include <algorithm>

#include "claim_access.h"
#include "durable.h"
#include "move.h"
#include "next_item.h"
#include "straight.h"
#include "stream.h"

namespace headpond {

using namespace internal;

namespace {

constexpr std::uint64_t kLargestItem = 1ULL << 30;

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

Bytes as_bytes(const DelayedPrefix& prefix) {
  return {reinterpret_cast<const char*>(&prefix), sizeof prefix};
}

/// Answers after which a claim that may wait does: `timeout`, since something is on its way out.
bool waits_for(const Status& answer) {
  Code code = answer.code();
  return code == Code::empty || code == Code::timeout || code == Code::not_found || code == Code::paused;
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
  std::size_t largest = 0;
  for (Bytes item : items) largest = std::max(largest, item.size());
  if (Status good = check_push(largest, options); !good) return good;
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

}  // namespace headpond
