#include "waiting.h"

#include <algorithm>
#include <cstring>

#include "claim.h"
#include "each.h"
#include "gap.h"
#include "queue_lanes.h"

namespace headpond::internal {

namespace {

/// A moment that the segment names; one beyond what the clock's type can say is the last that it can.
std::chrono::system_clock::time_point wall_clock(std::uint64_t ms) {
  using std::chrono::system_clock;
  constexpr milliseconds last = std::chrono::floor<milliseconds>(system_clock::duration::max());
  return system_clock::time_point(
      ms < static_cast<std::uint64_t>(last.count()) ? milliseconds(static_cast<std::int64_t>(ms)) : last);
}

class Walk {
 public:
  Walk(Lane& lane, bool claimed, Looked& looked, const WaitingVisitor& visit)
      : lane_(lane), claimed_(claimed), looked_(looked), visit_(visit) {}

  /// False: the visitor has had enough.
  bool look(const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t id) {
    bool late = !looked_.unsettled.empty() && looked_.unsettled.contains(id);
    if (id <= looked_.seen && !late) return true;
    // Who parks makes DONE what is in rows from then on: it is met again when the name has come back.
    if (word.state() == RecordState::done && !lane_.current()) return gone_ = true, false;
    looked_.seen = std::max(looked_.seen, id + word.ids() - 1);
    if (word.state() == RecordState::writing && word.has(kMoved)) {
      if (word.has(kIntent)) help_move(lane_, page, offset, word);
      word = RecordWord{page.word(offset).load(std::memory_order_acquire)};
      if (word.state() == RecordState::writing) return looked_.unsettled.insert(id), true;
    }
    if (late) looked_.unsettled.erase(id);
    if (waits(word.state())) more_ = visit_(page, offset, word, id);
    return more_;
  }
  bool more() const { return more_; }
  /// The stream is over, or parked, and the look goes on under its name.
  bool gone() const { return gone_; }

 private:
  bool waits(RecordState state) const {
    if (state == RecordState::claimed || state == RecordState::returning) return claimed_;
    return state == RecordState::ready || state == RecordState::spilling;
  }

  Lane& lane_;
  const bool claimed_;
  Looked& looked_;
  const WaitingVisitor& visit_;
  bool more_ = true, gone_ = false;
};

}  // namespace

Code for_each_waiting(Lane& lane, bool claimed, Looked& looked, const WaitingVisitor& visit) {
  Unpin unpin{lane};
  Walk walk(lane, claimed, looked, visit);
  auto look = [&](const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t id) {
    return walk.look(page, offset, word, id);
  };
  for (int tries = 0; tries < kRestarts; tries++) {
    std::uint64_t version = lane.words.gap_version.load(std::memory_order_acquire);
    std::uint64_t before = 0;  // the last id of this walk so far
    Code code = for_each_record(
        lane, [](const PageView&) { return true; },
        [&](const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t id) {
          before = std::max(before, id + word.ids() - 1);
          return look(page, offset, word, id) ? Visit::go_on : Visit::stop;
        },
        [] {},
        [&](const GapAhead&, const PageView& behind) {
          std::uint64_t begin = looked.seen + 1, end = id_of(behind, 0);
          if (!looked.unsettled.empty())
            begin = std::max(before + 1, std::min(begin, *looked.unsettled.begin()));
          Code read = begin < end ? for_each_spilled(lane, begin, end, look) : Code::ok;
          if (read == Code::not_found) return row_not_found(lane, version, begin, end);
          return read != Code::ok || walk.more() ? read : Code::closed;
        });
    if (walk.gone()) return Code::not_found;
    if (code == Code::closed) return Code::ok;
    if (code != Code::busy) return code;
  }
  return lane.failed(
      Status(Code::busy, "pond " + lane.me.pond->name() +
                             ": items go out and come back all the time under this look; try again"));
}

Code for_each_ready(Lane& lane, const WaitingVisitor& visit) {
  Looked looked;
  return for_each_waiting(lane, false, looked, visit);
}

bool view_item(const Lane& lane, const PageView& page, std::uint64_t offset, RecordWord word,
               std::uint64_t id, WaitingItem& out) {
  auto bytes = page.payload(offset, word);
  Bytes payload(bytes.data(), bytes.size());
  out = {};
  out.id = word.has(kMoved) ? ItemId{page.moved(offset).birth} : item_id(lane.number, id);
  if (lane.number == kDelayedLane) {
    DelayedPrefix prefix;
    if (payload.size() < sizeof prefix) return false;
    std::memcpy(&prefix, payload.data(), sizeof prefix);
    out.where = WaitingItem::Where::delayed, out.priority = static_cast<int>(prefix.priority % kPriorities);
    out.attempts = prefix.attempts, out.crashes = prefix.crashes, out.at = wall_clock(prefix.due_ms);
    out.payload = payload.substr(sizeof prefix);
  } else if (lane.number == kDeadLane) {
    DeadPrefix prefix;
    if (payload.size() < sizeof prefix) return false;
    std::memcpy(&prefix, payload.data(), sizeof prefix);
    payload.remove_prefix(sizeof prefix);
    if (prefix.reason_bytes > payload.size()) return false;
    bool spent = prefix.cause == static_cast<std::uint8_t>(Cause::max_attempts);
    out.where = WaitingItem::Where::dead, out.priority = prefix.priority % kPriorities;
    out.attempts = prefix.attempts, out.crashes = prefix.crashes, out.at = wall_clock(prefix.at_ms);
    out.cause = spent ? Cause::max_attempts : Cause::buried, out.pid = prefix.pid, out.signal = prefix.signal;
    out.reason = payload.substr(0, prefix.reason_bytes), out.payload = payload.substr(prefix.reason_bytes);
  } else {
    bool held = word.state() == RecordState::claimed || word.state() == RecordState::returning;
    out.where = held ? WaitingItem::Where::claimed : WaitingItem::Where::ready, out.priority = lane.number;
    out.attempts = word.claims(), out.crashes = word.crashes(), out.payload = payload;
  }
  return true;
}

}  // namespace headpond::internal
