#include "headpond/queue.h"

#include <algorithm>
#include <optional>

#include "durable.h"
#include "each.h"
#include "gap.h"
#include "queue_lanes.h"
#include "refill.h"
#include "stream.h"
#include "unlink.h"

namespace headpond {

using namespace internal;

namespace {

/// Looks for an item in the rows of a gap, or only where it was born. closed: it is there, ready, at `at`; busy: the rows have come back since the lane's gap version
/// was `version`.
Code find_spilled(Lane& lane, std::uint64_t version, ItemId id, std::uint64_t from, std::uint64_t to,
                  bool everywhere, std::uint64_t& at) {
  if (id.lane() == lane.number && id.seq() >= from && id.seq() < to) {  // where it was born, most likely
    auto look = [&](const PageView&, std::uint64_t, RecordWord word, std::uint64_t seq) {
      if (seq == id.seq() && word.state() == RecordState::ready && !word.has(kMoved)) at = seq;
      return false;
    };
    if (for_each_spilled(lane, id.seq(), id.seq() + 1, look) == Code::ok && at) return Code::closed;
    lane.error = {};  // met again
  }
  if (!everywhere) return Code::ok;
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
    // First where it was born, and in memory; then in all rows.
    for (int look = 0; look < 2 * kLanes && outcome == Code::not_found; look++) {
      const int n = look % kLanes;
      const bool everywhere = look >= kLanes;
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
              return find_spilled(lane, version, id, seen + 1, id_of(behind, 0), everywhere, spilled);
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
      // Not from between others in the delayed lane: see spill.h.
      if (over) unlink_done(lane, n == kDelayedLane ? Reference{} : over);
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

}  // namespace headpond
