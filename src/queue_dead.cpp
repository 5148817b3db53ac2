#include "headpond/queue.h"

#include <algorithm>

#include "move.h"
#include "queue_lanes.h"
#include "refill.h"
#include "room.h"
#include "stream.h"
#include "unlink.h"
#include "waiting.h"

namespace headpond {

using namespace internal;

namespace {

/// A copy. False: it is damaged.
bool dead_item(const Lane& lane, const PageView& page, std::uint64_t offset, RecordWord word,
               std::uint64_t id, DeadItem& out) {
  WaitingItem item;
  if (!view_item(lane, page, offset, word, id, item)) return false;
  out.id = item.id, out.priority = item.priority, out.attempts = item.attempts, out.crashes = item.crashes;
  out.cause = item.cause, out.pid = item.pid, out.signal = item.signal, out.at = item.at;
  out.reason = item.reason, out.payload = item.payload;
  return true;
}

}  // namespace

Result<std::vector<DeadItem>> Queue::dead(std::size_t most) const {
  std::vector<DeadItem> out;
  Status done = stream_->run(false, [&](ThreadContext& me, Binding binding, Status& error) {
    out.clear();
    Lane lane(me, binding, kDeadLane);
    if (most == 0) return Code::ok;
    Code code = internal::for_each_ready(
        lane, [&](const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t id) {
          DeadItem item;
          if (!dead_item(lane, page, offset, word, id, item)) {
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
  auto all = [&](ThreadContext& me, Binding binding, Status& error) {
    while (count < most) {
      Lane dead(me, binding, kDeadLane);
      Claimed claimed;
      Code code;
      DeadItem item;
      {
        Unpin unpin{dead};
        code = claim_refilling(dead, claimed);
        if (code == Code::ok && !dead_item(dead, claimed.page, claimed.offset, claimed.word, 0, item)) {
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
          move_item.birth = id_of_record(dead, claimed.page, claimed.offset, claimed.word);
          move_item.stamp_us = sys::coarse_us();
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
  };
  Status done;
  std::uint64_t before = 0;
  do {
    before = count;
    done = move_with_room(&stream_->pond(), [&] { return stream_->run(false, all); });
  } while (done.code() == Code::full && count > before);
  if (done.ok() || done.code() == Code::not_found || (done.code() == Code::full && count)) return count;
  return done;
}

}  // namespace headpond
