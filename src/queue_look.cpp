#include "headpond/queue.h"

#include <algorithm>

#include "gap.h"
#include "group_commit.h"
#include "queue_lanes.h"
#include "stats.h"
#include "stream.h"

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
