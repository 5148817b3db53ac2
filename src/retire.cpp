#include "retire.h"

#include <algorithm>

#include "append.h"
#include "claim.h"
#include "each.h"
#include "gap.h"
#include "park.h"
#include "section.h"
#include "settings.h"
#include "tier_side.h"
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
    if (word.sole()) {  // its owner makes it DONE, or who reaps that
      taken += end_sole(page, offset, word, false) && id >= trimmed;
      return Visit::go_on;
    }
    while (word.state() == RecordState::ready || (word.state() == RecordState::claimed && !word.sole())) {
      lane.mark(page);
      Lane::disturb(page);
      if (page.word(offset).compare_exchange_strong(word.raw, word.acked().raw, std::memory_order_acq_rel)) {
        // what was trimmed was gone before, and a sole claim that has come back since may be counted
        LeaseWord lease{page.lease(offset).load(std::memory_order_acquire)};
        taken += id >= trimmed && lease.raw != LeaseWord::ended(word, false).raw;
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

/// In the section of a TOMBED lane: the page behind each gap follows the one before it. What was between them is gone with the rest, and
/// counted in `taken`. Not ok: held up, and left to who sweeps later.
Status cut_gaps(Lane& lane, std::uint64_t& taken) {
  std::uint64_t trimmed = lane.is_log() ? lane.stream.trimmed.load(std::memory_order_acquire) : 0;
  for (bool more = true; more;) {
    more = false;
    auto section = Section::enter(lane.me, stream_section(lane.binding.index()));
    if (!section) return section.status();
    PageView page = in_section(lane, Reference{lane.words.first.load(std::memory_order_acquire)});
    // Looked at behind the page: a descriptor that has one is not freed while we are here. Else the gaps are another stream's.
    if (!tombed(lane.segment, lane.binding)) return section->leave(), Status();
    std::uint64_t cut = 0, items = 0;
    Hops hops(lane.segment);
    while (page && !hops.too_many() && !more) {
      Reference next{page.header->next.load(std::memory_order_acquire)};
      PageView behind = in_section(lane, next);
      if (next.gap() && behind) {
        std::uint64_t begin = std::max(end_of(page), trimmed), end = std::max(id_of(behind, 0), begin);
        items += std::min(GapWords::of(page, behind).load().items, end - begin);
        lane.words.gap_version.fetch_add(1, std::memory_order_acq_rel);
        section->set(page.header->next, next.without_gap().raw);
        more = ++cut == kUndoRecords - 2;  // the journal is full: once more
      }
      page = behind;
    }
    section->leave();
    taken += items;
  }
  return {};
}

/// The rows of a TOMBED lane. `over`: nobody has a page of it any more, so nobody stores another row, and its name goes, too.
Status clear_rows(const Lane& lane, bool over) {
  std::uint64_t id = TierSide::id_of(lane);
  std::uint32_t done = over ? 2 : 1;
  if (!tombed(lane.segment, lane.binding))
    return {};  // looked at behind the id: that is not of the descriptor's next life
  // {generation, done}: what is late must not count for the descriptor's next life.
  std::uint32_t seen = lane.words.rows_gone.load(std::memory_order_acquire),
                life = static_cast<std::uint32_t>(lane.binding.generation() << 2);
  if (!id || ((seen & ~3u) == life && (seen & 3) >= done)) return {};
  TierSide& side = lane.me.pond->tier_side();
  Status gone = over ? side.forget_streams(lane.me, {&id, 1}) : side.erase_rows(lane.me, {&id, 1});
  if (gone.code() == Code::not_found) gone = {};  // this lane never spilled
  if (gone.ok()) lane.words.rows_gone.compare_exchange_strong(seen, life | done, std::memory_order_acq_rel);
  return gone;
}

/// Is `first` of every lane the tomb for good? In the stream's section: only there is it sure that no dead one's journal takes a tomb back.
bool all_tombs(ThreadContext& me, Binding stream) {
  auto section = Section::try_enter(me, stream_section(stream.index()));
  if (!section) return false;
  bool all = tombed(me.pond->segment(), stream);
  for (LaneWords& lane : me.pond->segment().stream(stream.index()).lane)
    all = all && Reference{lane.first.load(std::memory_order_acquire)}.is_tomb();
  section->leave();
  return all;
}

/// Step 5. A spiller that was on its way has its page until here: its row is stored before, and is gone now. What the tier answers keeps
/// nothing: rows of a stream that no descriptor has are left over.
Status end_descriptor(ThreadContext& me, Binding stream) {
  if (!all_tombs(me, stream)) return {};  // whoever meets it later
  Status rows;
  for (int n = 0; n < kLanes; n++)
    if (Status gone = clear_rows(Lane(me, stream, n), true); !gone) rows = gone;
  (void)Directory(me).free_descriptor(stream);
  return rows;
}

}  // namespace

/// A tomb that was there before us may be of who parks, and he may take it back, or his journal: not from here on, where the stream is not LIVE.
static Result<bool> tombs_stay(ThreadContext& me, Binding stream) {
  auto section = Section::enter(me, stream_section(stream.index()));
  if (!section) return section.status();
  bool all = true;
  for (int n = 0; n < kLanes; n++) all = all && ends_in_tomb(Lane(me, stream, n));
  section->leave();
  return all;
}

/// CLEAR of every lane that the tier knows.
static Status mark_lanes(ThreadContext& me, Binding stream, std::uint64_t upto) {
  for (int n = 0; n < kLanes; n++) {
    Lane lane(me, stream, n);
    lane.any_state = true;
    std::uint64_t id = TierSide::id_if_current(lane);  // 0: it never spilled, or another has ended it
    Status marked = id ? me.pond->tier_side().mark_cleared(me, {&id, 1}, upto) : Status();
    if (!marked && marked.code() != Code::not_found) return marked;
    if (marked.ok() && upto == 0) return {};  // one is enough to know that it could
  }
  return {};
}

/// Step 2. A name that goes takes its settings with it; nobody changes those of a stream that is CLEARING. One that finds no room for a successor goes, too:
/// its next user makes it anew.
static Status retire_name(ThreadContext& me, Binding stream, std::uint64_t next_id, bool keep_name) {
  Directory directory(me);
  std::uint32_t policy = me.pond->segment().stream(stream.index()).policy.load(std::memory_order_acquire);
  if (keep_name)
    if (Status kept = directory.retire(stream, next_id, true); kept.code() != Code::full) return kept;
  auto retire = [&] { return directory.retire(stream, next_id, false); };
  if (!(policy & (kSettings | kSavedMarks))) return retire();
  auto key = directory.key_of(stream);
  if (key.code() == Code::not_found) return retire();  // another has done it
  return key ? drop_saved(me, *key, retire) : key.status();
}

Status end_stream(ThreadContext& me, Binding stream, bool keep_name) {
  me.pond->touch(stream.index());
  StreamWords& words = me.pond->segment().stream(stream.index());
  // Announced first, and never taken back: from here on nobody begins anything in any lane, and whoever comes by goes on with it.
  std::uint64_t state = words.state.load(std::memory_order_acquire);
  const std::uint64_t id = words.id.load(std::memory_order_acquire);
  auto in_state = [&](StreamState s) {
    return state >> 28 == stream.generation() && static_cast<StreamState>(state & 0xff) == s;
  };
  // What cannot be taken back is not begun where the durable tier could not say it.
  if (in_state(StreamState::live) && id)
    if (Status could = mark_lanes(me, stream, 0); !could) return could;
  while (in_state(StreamState::live) &&
         !words.state.compare_exchange_weak(
             state, (state & ~0xffULL) | static_cast<std::uint64_t>(StreamState::clearing),
             std::memory_order_acq_rel)) {
  }
  if (in_state(StreamState::tombed)) return {};  // another has done it
  if (!in_state(StreamState::live) && !in_state(StreamState::clearing)) return Code::not_found;
  std::uint64_t next_id = 0;
  for (int tries = 0;; tries++) {
    for (int n = 0; n < kLanes; n++) {
      Lane lane(me, stream, n);
      lane.any_state = true;
      if (Code code = tomb_lane(lane, next_id); code != Code::ok) return lane.error;
    }
    auto stay = tombs_stay(me, stream);
    if (!stay) return stay.status();
    if (*stay) break;
    state = words.state.load(std::memory_order_acquire);
    if (!in_state(StreamState::clearing)) return {};  // another has done it, and its lanes are swept by now
    if (tries == kRestarts)
      return {Code::busy,
              "pond " + me.pond->name() + ": a stream that is being cleared gets no end; try again"};
  }
  // CLEAR in the durable tier before the name goes on: who finds the name empty then may take our word for it. Where that fails, whoever comes
  // by goes on from here.
  if (Status marked = mark_lanes(me, stream, kAllIds); !marked) return marked;
  if (Status retired = retire_name(me, stream, next_id, keep_name); !retired) return retired;
  ring(me.pond->segment(), words.bell, Wake::all);  // who sleeps here looks the name up again
  ring(me.pond->segment(), words.space_bell, Wake::all);
  return {};
}

Result<std::uint64_t> retire_stream(ThreadContext& me, Binding stream, bool keep_name) {
  if (Status ended = end_stream(me, stream, keep_name); !ended) return ended;
  // Whoever publishes a record looks at the state afterwards: either it sees TOMBED and sweeps, or the sweep sees its record.
  if (me.pond->segment().uses_membarrier()) sys::barrier();
  Status rows;
  std::uint64_t taken = sweep_tombed(me, stream, rows);
  if (!rows)
    return Status(rows.code(), "cleared in memory, but not in the durable tier: " + rows.text(),
                  rows.error_number());
  return taken;
}

std::uint64_t sweep_tombed(ThreadContext& me, Binding stream, Status& rows) {
  if (!tombed(me.pond->segment(), stream)) return 0;
  me.pond->touch(stream.index());
  std::uint64_t taken = 0;
  for (int n = 0; n < kLanes; n++) {
    Lane lane(me, stream, n);
    lane.any_state = true;
    if (Status cut = cut_gaps(lane, taken); !cut) rows = cut;
    taken += sweep(lane);
    unlink_done(lane);
  }
  for (int n = 0; n < kLanes && !all_tombs(me, stream); n++)
    if (Status gone = clear_rows(Lane(me, stream, n), false); !gone) rows = gone;
  if (Status ended = end_descriptor(me, stream); !ended) rows = ended;
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
  (void)end_descriptor(me, stream);
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
    Status rows;
    if (static_cast<StreamState>(state & 0xff) == StreamState::tombed)
      sweep_tombed(me, Binding::make(i, state >> 28), rows);
    if (static_cast<StreamState>(state & 0xff) == StreamState::parked)
      sweep_parked(me, Binding::make(i, state >> 28));
    if (!rows)
      me.pond->say(Severity::warning,
                   "pond " + me.pond->name() +
                       ": a cleared stream has rows that cannot be erased yet: " + rows.text());
  }
}

}  // namespace headpond::internal
