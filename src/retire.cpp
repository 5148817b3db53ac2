#include "retire.h"

#include <algorithm>

#include "append.h"
#include "claim.h"
#include "each.h"
#include "unlink.h"

namespace headpond::internal {

namespace {

/// Step 1 for one lane; `next_id` rises to the id behind its last.
Code tomb_lane(Lane& lane, std::uint64_t& next_id) {
  Unpin unpin{lane};
  for (Tail tail(lane);;) {
    switch (tail.find()) {
      case Tail::At::free: tail.seal(); continue;
      case Tail::At::sealed:
      case Tail::At::none:
        next_id = std::max(next_id, tail.next_id());
        if (tail.tomb()) return Code::ok;
        continue;
      // another was faster
      case Tail::At::gone: next_id = std::max(next_id, tail.next_id()); return Code::ok;
      case Tail::At::damaged: return Code::corruption;
    }
  }
}

std::uint64_t sweep(Lane& lane) {
  std::uint64_t taken = 0, trimmed = lane.stream.trimmed.load(std::memory_order_acquire);
  Unpin unpin{lane};
  (void)for_each_record(lane, [&](const PageView& page, std::uint64_t offset, RecordWord word,
                                  std::uint64_t id) {
    if (word.state() == RecordState::writing && word.has(kIntent) && word.owner() != lane.me.owner) {
      help_move(lane, page, offset, word);
      word = RecordWord{page.word(offset).load(std::memory_order_acquire)};
    }
    while (word.state() == RecordState::ready || word.state() == RecordState::claimed) {
      lane.mark(page);
      Lane::disturb(page);
      if (page.word(offset).compare_exchange_strong(word.raw, word.acked().raw, std::memory_order_acq_rel)) {
        taken += id >= trimmed;  // what was trimmed was gone before
        break;
      }
    }
    return Visit::go_on;
  });
  return taken;
}

bool tombed(const Segment& segment, Binding stream) {
  std::uint64_t state = segment.stream(stream.index()).state.load(std::memory_order_acquire);
  return state >> 28 == stream.generation() && static_cast<StreamState>(state & 0xff) == StreamState::tombed;
}

}  // namespace

Status end_stream(ThreadContext& me, Binding stream, bool keep_name) {
  me.pond->touch(stream.index());
  StreamWords& words = me.pond->segment().stream(stream.index());
  // Announced first, and never taken back: from here on nobody begins anything in any lane, and whoever comes by goes on with it.
  std::uint64_t state = words.state.load(std::memory_order_acquire);
  auto in_state = [&](StreamState s) {
    return state >> 28 == stream.generation() && static_cast<StreamState>(state & 0xff) == s;
  };
  while (in_state(StreamState::live) &&
         !words.state.compare_exchange_weak(
             state, (state & ~0xffULL) | static_cast<std::uint64_t>(StreamState::clearing),
             std::memory_order_acq_rel)) {
  }
  if (!in_state(StreamState::live) && !in_state(StreamState::clearing)) return {};
  std::uint64_t next_id = 0;
  for (int n = 0; n < kLanes; n++) {
    Lane lane(me, stream, n);
    lane.any_state = true;
    if (Code code = tomb_lane(lane, next_id); code != Code::ok) return lane.error;
  }
  if (Status retired = Directory(me).retire(stream, next_id, keep_name); !retired) return retired;
  ring(me.pond->segment(), words.bell, Wake::all);  // who sleeps here looks the name up again
  ring(me.pond->segment(), words.space_bell, Wake::all);
  return {};
}

Result<std::uint64_t> retire_stream(ThreadContext& me, Binding stream, bool keep_name) {
  if (Status ended = end_stream(me, stream, keep_name); !ended) return ended;
  // Whoever publishes a record looks at the state afterwards: either it sees TOMBED and sweeps, or the sweep sees its record.
  if (me.pond->segment().uses_membarrier()) sys::barrier();
  return sweep_tombed(me, stream);
}

std::uint64_t sweep_tombed(ThreadContext& me, Binding stream) {
  if (!tombed(me.pond->segment(), stream)) return 0;
  me.pond->touch(stream.index());
  std::uint64_t taken = 0;
  for (int n = 0; n < kLanes; n++) {
    Lane lane(me, stream, n);
    lane.any_state = true;
    taken += sweep(lane);
    unlink_done(lane);
  }
  (void)Directory(me).free_descriptor(stream);  // not yet: whoever meets it later
  StreamWords& words = me.pond->segment().stream(stream.index());
  ring(me.pond->segment(), words.bell, Wake::all);
  ring(me.pond->segment(), words.space_bell, Wake::all);
  return taken;
}

void finish_tombed(ThreadContext& me, Binding stream) {
  if (!tombed(me.pond->segment(), stream)) return;
  for (int n = 0; n < kLanes; n++) {
    Lane lane(me, stream, n);
    lane.any_state = true;
    unlink_done(lane);
  }
  (void)Directory(me).free_descriptor(stream);
}

void sweep_all_tombed(ThreadContext& me) {
  Segment& segment = me.pond->segment();
  std::uint64_t used = std::min(segment.header().descriptors_used.load(std::memory_order_acquire),
                                segment.reserved(Table::streams));
  for (std::uint32_t i = 0; i < used; i++) {
    std::uint64_t state = segment.stream(i).state.load(std::memory_order_acquire);
    if (static_cast<StreamState>(state & 0xff) == StreamState::clearing)
      (void)end_stream(me, Binding::make(i, state >> 28), true);
    state = segment.stream(i).state.load(std::memory_order_acquire);
    if (static_cast<StreamState>(state & 0xff) == StreamState::tombed)
      sweep_tombed(me, Binding::make(i, state >> 28));
  }
}

}  // namespace headpond::internal
