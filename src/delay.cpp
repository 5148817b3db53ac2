#include "delay.h"

#include "append.h"
#include "each.h"
#include "move.h"
#include "unlink.h"

namespace headpond::internal {

namespace {

void lower(Word& word, std::uint64_t due_ms) {
  DueWord due{word.load(std::memory_order_acquire)};
  do {
    // the version rises all the same: a scan that is under way may not raise it
    if (due.ms() != 0 && due.ms() < due_ms) due_ms = due.ms();
  } while (!word.compare_exchange_weak(due.raw, due.next(due_ms).raw, std::memory_order_acq_rel));
}

DelayedPrefix prefix_of(const PageView& page, std::uint64_t offset, RecordWord word) {
  DelayedPrefix prefix{};
  auto payload = page.payload(offset, word);
  if (payload.size() >= sizeof prefix) std::memcpy(&prefix, payload.data(), sizeof prefix);
  return prefix;
}

}  // namespace

void lower_due(Lane& lane, const PageView& page, std::uint64_t due_ms) {
  lower(page.header->due, due_ms);
  lower(lane.stream.due, due_ms);
}
void lower_stream_due(Lane& lane, std::uint64_t due_ms) { lower(lane.stream.due, due_ms); }
namespace {

struct Due {
  Reference page;
  std::uint64_t offset, id;
  RecordWord word;
};

/// One walk over the delayed lane. Raises the due words where it met nothing that is due or may still become READY; returns what is due.
class DueScan {
 public:
  DueScan(Lane& lane, std::uint64_t now_ms) : lane_(lane), now_(now_ms) {}

  std::vector<Due> run() {
    DueWord before{lane_.stream.due.load(std::memory_order_acquire)};  // before the walk
    Code code = for_each_record(
        lane_,
        [&](const PageView& page) {
          before_ = DueWord{page.header->due.load(std::memory_order_acquire)};
          if (before_.ms() == 0 || before_.ms() > now_) return keep(earliest_, before_.ms()), false;
          page_ = page, page_settled_ = true, page_earliest_ = 0;
          return true;
        },
        [&](const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t id) {
          if (word.state() == RecordState::writing && word.has(kIntent) && word.owner() != lane_.me.owner)
            help_move(lane_, page, offset, word);
          if (word.state() == RecordState::ready && prefix_of(page, offset, word).due_ms > now_) {
            keep(page_earliest_, prefix_of(page, offset, word).due_ms);
          } else if (word.state() != RecordState::done) {
            page_settled_ = false;
            if (word.state() == RecordState::ready) due_.push_back({page.reference, offset, id, word});
          }
          if (due_.size() >= 256) settled_ = false;
          return due_.size() < 256 ? Visit::go_on : Visit::stop;
        },
        [&] { close(); });
    std::uint64_t expected = before.raw;
    if (code == Code::ok && settled_)
      lane_.stream.due.compare_exchange_strong(expected, before.next(earliest_).raw,
                                               std::memory_order_acq_rel);
    return std::move(due_);
  }

 private:
  static void keep(std::uint64_t& minimum, std::uint64_t ms) {
    if (ms && (!minimum || ms < minimum)) minimum = ms;
  }
  void close() {
    if (!page_) return;
    std::uint64_t expected = before_.raw;
    if (page_settled_)
      page_.header->due.compare_exchange_strong(expected, before_.next(page_earliest_).raw,
                                                std::memory_order_acq_rel);
    keep(earliest_, page_settled_ ? page_earliest_ : before_.ms());
    settled_ = settled_ && page_settled_;
    page_ = {};
  }

  Lane& lane_;
  std::uint64_t now_, earliest_ = 0, page_earliest_ = 0;
  bool settled_ = true, page_settled_ = true;
  PageView page_;
  DueWord before_;
  std::vector<Due> due_;
};

/// Claims one due item and moves it to its priority's lane.
Code promote(Lane& delayed, const Due& due) {
  Unpin unpin{delayed};
  Claimed claimed;
  if (!delayed.pin(due.page, claimed.page) || !claim_at(delayed, claimed.page, due.offset, due.word, claimed))
    return Code::fenced;
  DelayedPrefix prefix = prefix_of(claimed.page, due.offset, claimed.word);
  auto bytes = claimed.page.payload(due.offset, claimed.word);
  Move item;
  item.payload = {Bytes(bytes.data(), bytes.size()).substr(std::min(bytes.size(), sizeof prefix)), {}};
  item.birth = due.word.has(kMoved) ? ItemId{claimed.page.moved(due.offset).birth}
                                    : ItemId{static_cast<std::uint64_t>(kDelayedLane) << 60 | due.id};
  item.claims = prefix.attempts, item.crashes = prefix.crashes, item.stamp_us = sys::coarse_us();
  int priority = static_cast<int>(prefix.priority % kPriorities);
  delayed.stream.lanes.fetch_or(1u << priority, std::memory_order_seq_cst);
  Lane to(delayed.me, delayed.binding, priority);
  Code code = move(to, claimed, item);
  // no room: stays due
  if (code != Code::ok && code != Code::fenced && delayed.pin(due.page, claimed.page))
    give_back(delayed, claimed);
  return code;
}

}  // namespace

std::uint64_t promote_due(ThreadContext& me, Binding stream) {
  Lane delayed(me, stream, kDelayedLane);
  std::uint64_t moved = 0;
  for (bool more = true; more;) {
    more = false;
    std::vector<Due> due = DueScan(delayed, sys::wall_ms()).run();
    delayed.unpin();
    for (const Due& d : due) {
      Code code = promote(delayed, d);
      if (code != Code::ok && code != Code::fenced) return unlink_done(delayed), moved;
      if (code == Code::ok) moved++, more = true;
    }
  }
  if (moved) unlink_done(delayed);
  return moved;
}

}  // namespace headpond::internal
