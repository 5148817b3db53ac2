#include "headpond/log.h"

#include <algorithm>

#include "gap.h"
#include "reap.h"
#include "stream.h"

namespace headpond {

using namespace internal;

// A scan stands on a page with a hold pin, which it passes on from page to page while the operation pin is on both sides: nothing that it
// reads goes away under it. Without a free hold pin it pins for one record at a time and hands out copies. In a gap it stands on a copy of the
// row, which never changes, and its hold stays on the page before the gap.

struct Scan::State {
  std::shared_ptr<Stream> stream;
  std::uint64_t after = 0, left = 0;
  Binding binding;
  PageView page;
  std::uint64_t offset = 0, seq = 0;  // seq: of the record at `offset`
  int hold = -1;
  std::string copy;
  std::shared_ptr<const SpilledPage> row;  // `page` is this copy
  Reference before_gap;                    // then: the page behind which it belongs

  Code next(ThreadContext& me, Binding now, Record& out, Status& error) {
    if (now != binding) leave(&me), binding = now;  // cleared: the name has another stream
    for (bool again = true;; again = false) {
      Lane lane(me, binding, 0);
      Code code;
      {
        Unpin unpin{lane};
        code = step(lane, out);
      }
      // A record that a dead process began ends the reading until somebody reaps: us.
      if (code == Code::empty && writer_ && again && me.pond->is_dead(std::exchange(writer_, 0)) &&
          reap_dead(me))
        continue;
      if (!lane.error.ok()) error = std::move(lane.error);
      return code;
    }
  }

  /// The next record of the page that is held, if it is READY and nothing has changed: as step() does, without a pin.
  bool straight(Record& out) {
    if (hold < 0 || !page || stream->binding() != binding || stream->pond().usable() != Code::ok ||
        !page.holds(offset))
      return false;
    RecordWord word{page.word(offset).load(std::memory_order_acquire)};
    if (word.state() != RecordState::ready || word.flags() || seq <= after) return false;
    StreamWords& words = stream->pond().segment().stream(binding.index());
    std::uint64_t live = binding.generation() << 28 | static_cast<std::uint64_t>(StreamState::live),
                  extent = page.extent(offset, word);
    if (!extent || seq < words.trimmed.load(std::memory_order_acquire) ||
        (words.state.load(std::memory_order_acquire) & ~0xff00ULL) != live)
      return false;
    out = {seq, Bytes(page.base + offset + kRecordHeader, word.size())};
    after = seq++, offset += extent;
    return true;
  }

  void leave(ThreadContext* me) {
    page = {}, row.reset();
    if (hold < 0 || !me) return;
    stream->pond().give_hold(*me, hold);
    me->open_claims--;
    hold = -1;
  }

 private:
  std::uint32_t writer_ = 0;  // of the record at which the last step ended

  /// Onto a page that is pinned; the hold follows.
  void stand_on(Lane& lane, const PageView& on) {
    if (!page && hold < 0 && (hold = lane.me.pond->take_hold(lane.me)) >= 0) lane.me.open_claims++;
    page = on, offset = kFirstRecord, seq = id_of(on, 0);
    row.reset();
    stream->remember(on.reference.raw);
    if (hold >= 0)
      lane.me.pond->participant().hold[hold].store(on.reference.page(), std::memory_order_release);
  }

  Code from_first(Lane& lane) {
    for (int restarts = 0; restarts < kRestarts; restarts++) {
      Reference first{lane.words.first.load(std::memory_order_acquire)};
      if (first.is_tomb()) return Code::not_found;
      if (!first) return first.generation() == lane.binding.generation() ? Code::empty : Code::not_found;
      PageView on;
      // where some scan of this handle stood: as good if it is not behind `after`
      Reference near{stream->remembered()};
      if (lane.pin(near, on) && id_of(on, 0) <= after + 1 && lane.current()) {
        skip(lane, on);
        return Code::ok;
      }
      if (lane.pin(first, on)) {
        if (!lane.current()) return Code::not_found;
        skip(lane, on);
        return Code::ok;
      }
      if (!lane.current()) return Code::not_found;
    }
    return lane.damaged({}, 0, "its first page does not validate");
  }

  /// From a pinned page on to the last one that begins at `after` + 1 or below: what is before has been read.
  void skip(Lane& lane, PageView on) {
    PageView next;
    for (Hops hops(lane.segment);
         !hops.too_many() && lane.pin(Reference{on.header->next.load(std::memory_order_acquire)}, next) &&
         id_of(next, 0) <= after + 1;)
      on = next;
    if (!lane.pin(on.reference, on)) return;  // trimmed meanwhile: the next step begins anew
    stand_on(lane, on);
  }

  Code step(Lane& lane, Record& out) {
    if (page && hold < 0 && !row) {  // not held: is it still in the same life?
      PageView again;
      if (!lane.pin(page.reference, again)) page = {};
    }
    for (int tries = 0; !page; tries++) {
      if (Code code = from_first(lane); code != Code::ok) return code;
      if (tries > kRestarts) return lane.damaged({}, 0, "its pages do not validate");
    }
    for (Hops hops(lane.segment);;) {
      if (!page.holds(offset)) return lane.damaged(page, offset, "a read left the page");
      RecordWord word{page.word(offset).load(std::memory_order_acquire)};
      if (word.raw == 0 || word.state() == RecordState::writing) {
        writer_ = word.owner();
        return Code::empty;
      }
      if (word.state() == RecordState::seal) {
        if (hops.too_many()) return lane.damaged(page, offset, "its pages go in a circle");
        if (Code code = next_page(lane); code != Code::ok) return code;
        continue;
      }
      std::uint64_t extent = page.extent(offset, word);
      if (!extent) return lane.damaged(page, offset, "a record is longer than its page");
      std::uint64_t at = offset, id = seq;
      offset += extent, seq += word.ids();
      if (word.state() == RecordState::done || id <= after ||
          id < lane.stream.trimmed.load(std::memory_order_acquire))
        continue;
      if (!lane.current()) return Code::not_found;  // cleared meanwhile
      auto payload = page.payload(at, word);
      out = {id, Bytes(payload.data(), payload.size())};
      if (hold < 0 && !row) copy.assign(payload.data(), payload.size()), out.payload = copy;
      after = id;
      return Code::ok;
    }
  }

  Code next_page(Lane& lane) {
    if (row) return in_gap(lane);
    Reference next{page.header->next.load(std::memory_order_acquire)};
    if (next.raw == 0) return Code::empty;
    if (next.is_tomb()) return Code::not_found;
    if (next.gap()) return before_gap = page.reference, in_gap(lane);
    PageView on;
    if (lane.pin(next, on)) {
      stand_on(lane, on);
      return Code::ok;
    }
    return again(lane);
  }

  /// The page is gone, trimmed or spilled under us: `after` keeps our place.
  Code again(Lane& lane) {
    page = {}, row.reset();
    for (int tries = 0; !page && tries < kRestarts; tries++)
      if (Code code = from_first(lane); code != Code::ok) return code;
    return Code::ok;
  }

  /// At `seq` in the gap behind `before_gap`, or at its end: onto the row that holds it, or the page behind the gap. That page bounds what
  /// may be read as a row; and before a missing row is called so, `trimmed` and the gap are looked at again.
  Code in_gap(Lane& lane) {
    for (;;) {
      PageView before, behind;
      if (!lane.pin(before_gap, before)) return again(lane);
      Reference next{before.header->next.load(std::memory_order_acquire)};
      if (!next.gap() || !lane.pin(next, behind) || !lane.current()) return again(lane);
      std::uint64_t end = id_of(behind, 0),
                    want = std::max({seq, after + 1, lane.stream.trimmed.load(std::memory_order_acquire)});
      if (want >= end) return stand_on(lane, behind), Code::ok;
      auto found = read_row(lane, want, true);
      if (found && (*found)->first >= end) return stand_on(lane, behind), Code::ok;  // ids that are missing
      if (found) {
        row = std::move(*found), page = row->view, offset = kFirstRecord, seq = row->first;
        return Code::ok;
      }
      if (found.code() != Code::not_found) return lane.failed(found.status());
      if (lane.stream.trimmed.load(std::memory_order_acquire) > want) continue;
      if (lane.pin(before_gap, before) && before.header->next.load(std::memory_order_acquire) == next.raw &&
          lane.current())
        return missing_row(lane, want, want + 1);
      return again(lane);
    }
  }
};

Scan::Scan(std::unique_ptr<State> state) : state_(std::move(state)) {}
Scan::Scan(Scan&& other) noexcept = default;
Scan& Scan::operator=(Scan&& other) noexcept {
  if (this != &other) {
    this->~Scan();
    new (this) Scan(std::move(other));
  }
  return *this;
}
Scan::~Scan() {
  if (!state_ || state_->stream->pond().forked()) return;
  state_->leave(state_->stream->pond().thread());
}

bool Scan::next() {
  if (!state_ || state_->left == 0) return false;
  if (state_->straight(record_)) [[likely]]
    return state_->left--, true;
  status_ = state_->stream->run(false, [&](ThreadContext& me, Binding binding, Status& error) {
    return state_->next(me, binding, record_, error);
  });
  if (status_.ok()) return state_->left--, true;
  if (status_.code() == Code::empty || status_.code() == Code::not_found) status_ = Status();
  return false;
}

Scan Log::scan(ScanOptions options) const {
  auto state = std::make_unique<Scan::State>();
  state->stream = stream_;
  state->after = options.after > 0 ? static_cast<std::uint64_t>(options.after) : 0;
  state->left = options.limit;
  return Scan(std::move(state));
}

Follower Log::follow(std::int64_t after) const {
  return Follower(scan({.after = after, .limit = UINT64_MAX}));
}

Result<Record> Follower::next(milliseconds timeout) {
  if (!scan_.state_) return Code::closed;
  Stream& stream = *scan_.state_->stream;
  Record out;
  Status done = stream.run(timeout.count() > 0, [&](ThreadContext& me, Binding binding, Status& error) {
    return scan_.state_->next(me, binding, out, error);
  });
  if (done.code() == Code::empty && timeout.count() > 0)
    done = stream.wait(timeout, [&](ThreadContext& me, Binding binding, bool look, Status& error) {
      if (look) reap_dead(me);
      return scan_.state_->next(me, binding, out, error);
    });
  if (done.ok()) return out;
  if (done.code() == Code::empty || done.code() == Code::not_found) return Code::timeout;
  return done;
}

}  // namespace headpond
