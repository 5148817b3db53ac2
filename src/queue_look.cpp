#include "headpond/queue.h"

#include <algorithm>

#include "group_commit.h"
#include "queue_lanes.h"
#include "stats.h"
#include "stream.h"
#include "waiting.h"

namespace headpond {

using namespace internal;

Result<std::vector<Item>> Queue::peek(std::size_t most) const {
  std::vector<Item> out;
  Status done = stream_->run(false, [&](ThreadContext& me, Binding binding, Status& error) {
    out.clear();
    StreamWords& stream = me.pond->segment().stream(binding.index());
    return by_priority(stream, [&](int number) {
      if (out.size() >= most) return Code::ok;
      Lane lane(me, binding, number);
      Code code = internal::for_each_ready(
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

enum class Part : std::uint8_t { delayed, ready, dead };

/// One look at a queue, lane by lane; it goes on where it was when the queue is cleared under it.
class Look {
 public:
  explicit Look(const ItemVisitor& visit) : visit_(visit) {}

  Code at(Part place, ThreadContext& me, Binding binding, Status& error) {
    if (place == Part::delayed) return lane(kDelayedLane, me, binding, error);
    if (place == Part::dead) return lane(kDeadLane, me, binding, error);
    Code code = Code::ok;
    for (int n = kPriorities - 1; n >= 0 && code == Code::ok && more_; n--)
      code = lane(n, me, binding, error);
    return code;
  }
  bool more() const { return more_; }

 private:
  Code lane(int number, ThreadContext& me, Binding binding, Status& error) {
    StreamWords& stream = me.pond->segment().stream(binding.index());
    if (!((stream.lanes.load(std::memory_order_acquire) | 1) >> number & 1) || !more_) return Code::ok;
    Lane lane(me, binding, number);
    Code code =
        for_each_waiting(lane, true, looked_[number],
                         [&](const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t id) {
                           WaitingItem item;
                           if (!view_item(lane, page, offset, word, id, item)) {
                             lane.damaged(page, offset, "an item is shorter than it says");
                             return false;
                           }
                           return more_ = visit_(item);
                         });
    error = std::move(lane.error);
    return error.ok() ? code : error.code();
  }

  const ItemVisitor& visit_;
  Looked looked_[kLanes];
  bool more_ = true;
};

Status look_at(Stream& stream, const ItemVisitor& visit, std::initializer_list<Part> places) {
  Look look(visit);
  for (Part place : places) {
    Status done = stream.run(false, [&](ThreadContext& me, Binding binding, Status& error) {
      return look.at(place, me, binding, error);
    });
    if (!done && done.code() != Code::not_found) return done;
    if (!look.more()) break;
  }
  return {};
}

}  // namespace

Status Queue::for_each_ready(const ItemVisitor& visit) const {
  return look_at(*stream_, visit, {Part::ready});
}
Status Queue::for_each_delayed(const ItemVisitor& visit) const {
  return look_at(*stream_, visit, {Part::delayed});
}
Status Queue::for_each_dead(const ItemVisitor& visit) const { return look_at(*stream_, visit, {Part::dead}); }
// In the order in which items move, so that who is ahead of the walk is met; and what moved against it is at the end of its lane in the second round.
Status Queue::for_each_item(const ItemVisitor& visit) const {
  return look_at(*stream_, visit,
                 {Part::delayed, Part::ready, Part::dead, Part::delayed, Part::ready, Part::dead});
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

}  // namespace headpond
