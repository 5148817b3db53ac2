// Items as they were elsewhere: appended to the lane of their place, with what is said of them there.
#include <algorithm>

#include "headpond/queue.h"
#include "queue_lanes.h"
#include "stream.h"

namespace headpond {

using namespace internal;

namespace {

constexpr std::uint64_t kLargest = 1ULL << 30, kMostAttempts = 65535, kMostCrashes = 255;
constexpr std::uint64_t kLongestDelayMs = 365ULL * 24 * 3600 * 1000;

using Where = WaitingItem::Where;

Where becomes(Where where) { return where == Where::claimed ? Where::ready : where; }

/// The moment as the segment names it: 0 for what was before 1970.
std::uint64_t wall_ms(const WaitingItem& item) {
  auto ms = std::chrono::floor<milliseconds>(item.at.time_since_epoch()).count();
  return static_cast<std::uint64_t>(std::max<std::int64_t>(ms, 0));
}

Status check(const WaitingItem& item, const WaitingItem& first, std::uint64_t now_ms) {
  auto out_of_range = [](const char* what, std::uint64_t value, std::uint64_t most) {
    return Status(Code::invalid, "an item to be restored has " + std::to_string(value) + " " + what +
                                     "; the limit is " + std::to_string(most));
  };
  const bool ready = becomes(item.where) == Where::ready;
  if (becomes(item.where) != becomes(first.where) || (ready && item.priority != first.priority))
    return {Code::invalid, "restore_many of items of several places, or ready ones of several priorities"};
  if (item.where > Where::dead) return {Code::invalid, "an item to be restored is in no place"};
  if (item.priority < 0 || item.priority >= kPriorities)
    return {Code::invalid, "priority is " + std::to_string(item.priority) + "; it must be from 0 to 7"};
  if (item.payload.size() > kLargest || item.reason.size() > kLargest - item.payload.size())
    return {Code::too_large, "an item has " + std::to_string(item.payload.size() + item.reason.size()) +
                                 " bytes; the limit is 1 GiB"};
  if (item.attempts > kMostAttempts) return out_of_range("attempts", item.attempts, kMostAttempts);
  if (item.crashes > kMostCrashes) return out_of_range("crashes", item.crashes, kMostCrashes);
  if (item.where == Where::dead && (item.signal < 0 || item.signal > UINT16_MAX))
    return {Code::invalid, "signal is " + std::to_string(item.signal) + "; it must be from 0 to 65,535"};
  if (item.where == Where::delayed && wall_ms(item) > now_ms + kLongestDelayMs)
    return {Code::invalid, "an item to be restored is due in more than 365 days"};
  return {};
}

template <class Prefix>
std::string as_bytes(const Prefix& prefix) {
  return {reinterpret_cast<const char*>(&prefix), sizeof prefix};
}

/// What stands before the payload in the lane of its place.
std::string head_of(const WaitingItem& item) {
  auto attempts = static_cast<std::uint16_t>(item.attempts),
       crashes = static_cast<std::uint16_t>(item.crashes);
  if (item.where == Where::delayed)
    return as_bytes(DelayedPrefix{std::max<std::uint64_t>(wall_ms(item), 1), attempts, crashes,
                                  static_cast<std::uint32_t>(item.priority)});
  if (item.where != Where::dead) return {};
  return as_bytes(DeadPrefix{wall_ms(item), item.pid, static_cast<std::uint16_t>(item.signal),
                             static_cast<std::uint8_t>(item.cause), static_cast<std::uint8_t>(item.priority),
                             static_cast<std::uint32_t>(item.reason.size()), attempts, crashes})
      .append(item.reason);
}

}  // namespace

Result<ItemId> Queue::restore_many(std::span<const WaitingItem> items, const AppendOptions& options) {
  if (items.empty()) return Status(Code::invalid, "restore_many of no item");
  const Where where = becomes(items.front().where);
  const bool delayed = where == Where::delayed, ready = where == Where::ready;
  const int lane = ready ? items.front().priority : delayed ? kDelayedLane : kDeadLane;
  std::uint64_t now_ms = sys::wall_ms(), due_ms = UINT64_MAX;
  std::vector<std::string> heads(ready ? 0 : items.size());
  std::vector<Parts> parts(items.size());
  for (std::size_t i = 0; i < items.size(); i++) {
    const WaitingItem& item = items[i];
    if (Status good = check(item, items.front(), now_ms); !good) return good;
    if (delayed) due_ms = std::min(due_ms, std::max<std::uint64_t>(wall_ms(item), 1));
    if (ready) {
      parts[i] = {item.payload,
                  {},
                  static_cast<std::uint16_t>(item.attempts),
                  static_cast<std::uint8_t>(item.crashes)};
    } else {
      heads[i] = head_of(item);
      parts[i] = {heads[i], item.payload};
    }
  }
  std::uint64_t seq = 0;
  Status done =
      stream_->append(parts, lane, delayed ? due_ms : 0, options.full_timeout, options.durability, seq);
  if (!done) return done;
  return {item_id(lane, seq), std::move(done)};
}

}  // namespace headpond
