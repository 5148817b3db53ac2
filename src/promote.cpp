#include "promote.h"

#include <algorithm>

#include "each.h"
#include "gap.h"
#include "move.h"
#include "reap.h"
#include "refill.h"
#include "room.h"
#include "unlink.h"

namespace headpond::internal {

namespace {

DelayedPrefix prefix_of(const PageView& page, std::uint64_t offset, RecordWord word) {
  DelayedPrefix prefix{};
  auto payload = page.payload(offset, word);
  if (payload.size() >= sizeof prefix) std::memcpy(&prefix, payload.data(), sizeof prefix);
  return prefix;
}

struct Due {
  Reference page;
  std::uint64_t offset, id;
  RecordWord word;
};

/// One walk over the delayed lane. Raises the due words where it met nothing that is due or may still become READY; returns what is due.
class DueScan {
 public:
  /// Behind a gap with something due it looks no further: that is to come first. But not if it is one of those that were `tried` in vain.
  DueScan(Lane& lane, std::uint64_t now_ms, const std::vector<Reference>& tried)
      : lane_(lane), now_(now_ms), tried_(tried) {}

  std::vector<Due> run() {
    DueWord before{lane_.stream.due.load(std::memory_order_acquire)};  // before the walk
    Code code = for_each_record(
        lane_,
        [&](const PageView& page) {
          before_ = DueWord{page.header->due.load(std::memory_order_acquire)};
          if (due_gap_) return keep(earliest_, before_.ms()), false;
          if (before_.ms() == 0 || before_.ms() > now_) return keep(earliest_, before_.ms()), false;
          page_ = page, page_settled_ = true, page_earliest_ = 0;
          return true;
        },
        [&](const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t id) {
          if (word.state() == RecordState::writing && word.has(kIntent) && word.owner() != lane_.me.owner)
            help_move(lane_, page, offset, word);
          if (word.state() == RecordState::ready && due_of(page, offset, word) > now_) {
            keep(page_earliest_, due_of(page, offset, word));
          } else if (word.state() != RecordState::done) {
            page_settled_ = false;
            if (word.state() == RecordState::ready) due_.push_back({page.reference, offset, id, word});
          }
          if (due_.size() >= 256) settled_ = false;
          return due_.size() < 256 ? Visit::go_on : Visit::stop;
        },
        [&] { close(); },
        [&](const GapAhead& gap, const PageView&) {
          keep(earliest_, gap.due);
          if (gap.due && gap.due <= now_ && !due_gap_ && !std::ranges::count(tried_, gap.before))
            due_gap_ = gap.before;
          return Code::ok;
        });
    std::uint64_t expected = before.raw;
    if (code == Code::ok && settled_)
      lane_.stream.due.compare_exchange_strong(expected, before.next(earliest_).raw,
                                               std::memory_order_acq_rel);
    return std::move(due_);
  }
  /// The page before the first gap in which something is due, perhaps; none.
  Reference due_gap() const { return due_gap_; }

 private:
  static void keep(std::uint64_t& minimum, std::uint64_t ms) { minimum = sooner(minimum, ms); }
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
  const std::vector<Reference>& tried_;
  bool settled_ = true, page_settled_ = true;
  PageView page_;
  Reference due_gap_;
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

/// For items that are due, at the cost of others. Where all stays in memory they wait for what is settled there.
bool make_room_for_due(ThreadContext& me, bool may_spill, Status& failed) {
  make_room(me);
  if (!may_spill) return false;
  Spilled out;
  Status made = make_space(me, spill_step(me.pond->segment()), out);
  if (!made) failed = std::move(made);
  return made.ok() && (out.bytes || out.busy);
}

}  // namespace

Promoted promote_due(ThreadContext& me, Binding stream) {
  Lane delayed(me, stream, kDelayedLane);
  Promoted out;
  int rows = 0, rooms = 0;
  std::vector<Reference> tried;  // gaps that do not come back: what is behind them comes all the same
  for (bool more = true; more;) {
    more = false;
    const std::uint64_t now = sys::wall_ms();
    DueScan scan(delayed, now, tried);
    std::vector<Due> due = scan.run();
    delayed.unpin();
    Code code = Code::ok;
    for (const Due& d : due) {
      code = promote(delayed, d);
      if (code != Code::ok && code != Code::fenced) break;
      if (code == Code::ok) out.items++, more = true;
    }
    delayed.unpin();
    const bool spills = rows > 0 || me.pond->options().on_full == OnFull::spill;
    if (code == Code::full && rooms++ < kDueRowsAtOnce && make_room_for_due(me, spills, out.failed)) {
      more = true;
    } else if (code != Code::ok && code != Code::fenced) {
      if (out.failed.ok() && spills) out.failed = Status(code);
      break;
    } else if (!more && scan.due_gap() && tried.size() < static_cast<std::size_t>(kDueRowsAtOnce)) {
      if (out.more = rows == kDueRowsAtOnce; out.more) break;
      rows++, more = true;
      if (code = refill_due(delayed, scan.due_gap(), now); code != Code::ok) {
        if (out.failed.ok()) out.failed = delayed.error.ok() ? Status(code) : delayed.error;
        delayed.error = {};
        tried.push_back(scan.due_gap());
      }
    }
  }
  if (out.items) unlink_done(delayed);
  return out;
}

}  // namespace headpond::internal
