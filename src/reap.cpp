#include "reap.h"

#include <algorithm>

#include "append.h"
#include "claim.h"
#include "delay.h"
#include "directory.h"
#include "each.h"
#include "pages.h"
#include "park.h"
#include "posting.h"
#include "retire.h"
#include "section.h"
#include "tier_side.h"
#include "unlink.h"

namespace headpond::internal {

namespace {

class Reaper {
 public:
  Reaper(ThreadContext& me, std::uint32_t dead)
      : me_(me), segment_(me.pond->segment()), words_(segment_.participant(dead)), dead_(dead) {
    pid_ = words_.pid.load(std::memory_order_relaxed);
    signal_ = sys::death_signal(pid_, words_.start_time.load(std::memory_order_relaxed));
  }

  /// False: a stopped process holds up a section; the slot stays for the next reaper.
  bool run() {
    if (!enter_its_sections()) return false;
    bool whole = true;
    // Before it lets go what the dead one had taken: behind a tomb there is no way back.
    for_each_touched([&](Binding stream) { whole = finish_if_parking(stream) && whole; });
    if (!whole) return false;
    for_each_touched([&](Binding stream) {
      std::uint32_t lanes = segment_.stream(stream.index()).lanes.load(std::memory_order_acquire) | 1;
      for (int n = 0; n < kLanes; n++)
        if (lanes >> n & 1) whole = walk(stream, n) && whole;
    });
    if (!whole) return false;  // damaged pages may still name it: the slot stays
    settle_pages();
    post_abandoned();
    for_each_touched([&](Binding stream) {
      ring_sleeping(segment_.stream(stream.index()).bell);
      ring_sleeping(segment_.stream(stream.index()).space_bell);
    });
    ring_sleeping(segment_.header().space_bell);
    free_slot();
    return true;
  }
  std::string told() const {
    return "pond " + me_.pond->name() + ": reaped process " + std::to_string(pid_) +
           (signal_ ? ", killed by signal " + std::to_string(signal_) : "");
  }

 private:
  bool enter_its_sections() {
    std::uint64_t threads =
        std::min<std::uint64_t>(segment_.header().pins_used.load(std::memory_order_acquire), kMaxThreads);
    for (std::uint32_t i = 0; i < threads; i++) {
      PinWords& pins = segment_.pins(i);
      std::uint32_t section = pins.owner.load(std::memory_order_acquire) == dead_
                                  ? pins.section.load(std::memory_order_acquire)
                                  : 0;
      if (section == 0 || section > kSections) continue;
      // a live holder: briefly; held up for longer, the slot waits for the next look
      auto entered = Section::enter(me_, section - 1, 5);
      if (!entered) return false;
      entered->leave();
    }
    return true;
  }

  template <class Work>
  void for_each_touched(Work work) {
    std::uint64_t used = std::min(segment_.header().descriptors_used.load(std::memory_order_acquire),
                                  segment_.reserved(Table::streams));
    for (std::uint32_t i = 0; i < used; i++) {
      if (!(words_.touched[i / 64 % 32].load(std::memory_order_acquire) >> i % 64 & 1)) continue;
      std::uint64_t state = segment_.stream(i).state.load(std::memory_order_acquire);
      if (static_cast<StreamState>(state & 0xff) != StreamState::free) work(Binding::make(i, state >> 28));
    }
  }

  /// False: somebody holds a section up.
  bool finish_if_parking(Binding stream) {
    // PARKED by another who is dead, too? Then it may be LIVE again: what was taken is settled by what is true for good.
    if (state_of(stream) == StreamState::parked) {
      auto parked = Directory(me_).is_settled(stream, StreamState::parked);
      if (!parked) return false;
      if (*parked) return true;
    }
    if (state_of(stream) != StreamState::live) return true;
    Lane lane(me_, stream, 0);  // all lanes have tombs, or none
    Unpin unpin{lane};
    me_.pond->touch(stream.index());
    Code code = for_each_record(
        lane, [](const PageView&) { return false; },
        [](const PageView&, std::uint64_t, RecordWord, std::uint64_t) { return Visit::go_on; });
    if (code != Code::not_found) return true;
    if (!finish_park(me_, stream)) return false;
    auto parked = Directory(me_).is_settled(stream, StreamState::parked);
    return parked && (*parked || state_of(stream) != StreamState::live);  // else a later look goes on
  }
  StreamState state_of(Binding stream) const {
    return static_cast<StreamState>(segment_.stream(stream.index()).state.load(std::memory_order_acquire) &
                                    0xff);
  }

  bool walk(Binding stream, int number) {
    me_.pond->touch(stream.index());
    Lane lane(me_, stream, number);
    lane.any_state = true;
    Unpin unpin{lane};
    Code code = for_each_record(
        lane,
        [&](const PageView& page) {
          return (page.header->owners.load(std::memory_order_acquire) >> dead_ % 64 & 1) != 0;
        },
        [&](const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t id) {
          if (word.owner() != dead_) return Visit::go_on;
          if (word.state() == RecordState::writing && word.has(kDurable) && !word.has(kMoved))
            abandoned_.push_back({stream, number, TierSide::id_of(lane), id, word.ids()});
          settle(lane, page, offset, word);
          return Visit::go_on;
        });
    return code != Code::corruption;
  }

  /// Always compare-exchange: others may be at the record, too.
  void settle(Lane& lane, const PageView& page, std::uint64_t offset, RecordWord word) {
    Word& at = page.word(offset);
    auto change = [&](RecordWord to) {
      lane.mark(page);
      Lane::disturb(page);
      return at.compare_exchange_strong(word.raw, to.raw, std::memory_order_acq_rel);
    };
    if (word.state() == RecordState::writing) {
      bool committed = word.has(kIntent) && word.has(kMoved) && evidence(page, offset);
      change(committed           ? word.ready()
             : word.has(kIntent) ? word.acked()
                                 : word.with_state(RecordState::done).with_owner(0));
    } else if (word.state() == RecordState::claimed) {
      // in the other lanes a mover holds it: no fault of the item
      bool delivered = lane.number < kPriorities;
      if (word.sole() && LeaseWord{page.lease(offset).load(std::memory_order_acquire)}.is_lease_of(word)) {
        change(word.acked());  // a clear has counted it
        return;
      }
      if (delivered) write_cause(page, offset, word);
      RecordWord returning = word.returning_by(dead_);
      if (delivered && word.crashes() < 255) returning = returning.with_crashes(word.crashes() + 1);
      if (!change(returning)) return;
      word = returning;
    } else if (word.state() == RecordState::spilling) {
      change(state_of(lane.binding) == StreamState::parked ? word.acked() : word.ready());
    }
    if (word.state() != RecordState::returning || word.owner() != dead_) return;
    raise_epochs(lane, page);
    change(word.ready());
  }

  /// Was the move committed? The dead one's hold keeps the source in its life until free_slot().
  bool evidence(const PageView& page, std::uint64_t offset) {
    const MovedRecord& moved = page.moved(offset);
    Reference source{moved.source};
    std::uint64_t at = moved.place & 0xffffffff;
    if (!source || !segment_.backed(source.page())) return false;
    LifeEntry& entry = segment_.life(source.page());
    if (LifeWord{entry.life.load(std::memory_order_acquire)}.generation() != source.generation())
      return false;
    if (at % 8 || at + 8 > segment_.page_bytes(source.page())) return false;
    RecordWord from{
        reinterpret_cast<Word*>(segment_.page(source.page()) + at)->load(std::memory_order_acquire)};
    return from.state() == RecordState::done && from.owner() == dead_ &&
           from.claims() == (moved.place >> 32 & 0xffff);
  }

  /// Into the lease word, with claims 0: no lease. By compare-exchange, after another look at the record: it must still be that claim.
  void write_cause(const PageView& page, std::uint64_t offset, RecordWord word) {
    std::uint64_t lease = page.lease(offset).load(std::memory_order_acquire);
    if (page.word(offset).load(std::memory_order_acquire) != word.raw) return;
    page.lease(offset).compare_exchange_strong(
        lease,
        LeaseWord::death(static_cast<std::uint32_t>(pid_), static_cast<std::uint32_t>(signal_), word.claims())
            .raw,
        std::memory_order_acq_rel);
  }

  /// Pushes that may be posted, but were never READY: the journal lets them go. No room for it: it gives them back after a reboot.
  void post_abandoned() {
    for (const Abandoned& push : abandoned_) {
      Post post;
      if (!room_for_posts(me_) || !post.reserve(me_, Post::bytes_for(0))) return;
      ItemId birth{static_cast<std::uint64_t>(push.lane) << 60 | push.seq};
      post.add({journal_ack(push.in_tier, birth, push.ids), push.stream});
      post.publish();
    }
  }

  void settle_pages() {
    for_each_page(segment_, [&](std::uint32_t page, LifeWord life) {
      if (life.owner() != dead_) return;
      LifeWord to = life.with(LifeState::retired, 0);
      if (life.state() == LifeState::building && was_linked(Reference::make(page, life.generation())))
        to = life.with(LifeState::linked, 0), lower_due_of(page);
      else if (life.state() == LifeState::spilling)
        to = life.with(LifeState::linked, 0);
      else if (life.state() != LifeState::building && life.state() != LifeState::zeroing)
        return;
      segment_.life(page).life.compare_exchange_strong(life.raw, to.raw, std::memory_order_acq_rel);
    });
  }

  /// Delayed items that came in a page of their own: their builder died before it told the stream when.
  void lower_due_of(std::uint32_t page) {
    auto& header = *reinterpret_cast<PageHeader*>(segment_.page(page));
    DueWord due{header.due.load(std::memory_order_relaxed)};
    std::uint32_t index = header.stream.load(std::memory_order_relaxed) & 0xfffffff;
    if (!due.ms() || index >= segment_.reserved(Table::streams)) return;
    Lane lane(me_, Binding::make(index, segment_.stream(index).state.load(std::memory_order_acquire) >> 28),
              kDelayedLane);
    lower_stream_due(lane, due.ms());
  }

  bool was_linked(Reference page) {
    auto& header = *reinterpret_cast<PageHeader*>(segment_.page(page.page()));
    Reference prev{header.prev.load(std::memory_order_acquire)};
    if (prev)
      return segment_.backed(prev.page()) &&
             Reference{reinterpret_cast<PageHeader*>(segment_.page(prev.page()))
                           ->next.load(std::memory_order_acquire)}
                     .without_gap() == page;
    std::uint64_t stream = header.stream.load(std::memory_order_relaxed);
    std::uint32_t index = stream & 0xfffffff, lane = static_cast<std::uint32_t>(stream >> 28);
    return index < segment_.reserved(Table::streams) && lane < kLanes &&
           segment_.stream(index).lane[lane].first.load(std::memory_order_acquire) == page.raw;
  }

  /// All of them: the dead one may have taken a wake with it.
  void ring_sleeping(Bell& bell) { ring_sleepers(bell, bell.load(std::memory_order_acquire), Wake::all); }

  void free_slot() {
    std::uint64_t threads =
        std::min<std::uint64_t>(segment_.header().pins_used.load(std::memory_order_acquire), kMaxThreads);
    for (std::uint32_t i = 0; i < threads; i++) {
      PinWords& pins = segment_.pins(i);
      if (pins.owner.load(std::memory_order_acquire) != dead_) continue;
      pins.pin.store(0, std::memory_order_release);
      pins.hold.store(0, std::memory_order_release);
      pins.section.store(0, std::memory_order_release);
      pins.owner.store(0, std::memory_order_release);
    }
    for (auto& hold : words_.hold) hold.store(0, std::memory_order_release);
    words_.holds_used.store(0, std::memory_order_release);
    for (Word& touched : words_.touched) touched.store(0, std::memory_order_release);
    words_.state.store(static_cast<std::uint32_t>(SlotState::free), std::memory_order_release);
  }

  ThreadContext& me_;
  Segment& segment_;
  ParticipantWords& words_;
  std::uint32_t dead_;
  std::int32_t pid_ = 0;
  int signal_ = 0;
  struct Abandoned {
    Binding stream;
    int lane;
    std::uint64_t in_tier, seq, ids;
  };
  std::vector<Abandoned> abandoned_;
};

}  // namespace

std::uint32_t reap_dead(ThreadContext& me) {
  std::vector<std::uint32_t> dead = me.pond->dead();
  if (dead.empty()) return 0;
  std::vector<std::string> told;
  {
    std::lock_guard lock(me.pond->reap_mutex());
    for (std::uint32_t slot : dead) {
      // another is at it, or was killed at it: the next look finds it again
      if (!me.pond->begin_recovery(slot)) continue;
      if (me.pond->is_dead(slot)) {
        // It may have changed a setting, and not lived to say so.
        me.pond->segment().header().settings_changed.fetch_add(1, std::memory_order_seq_cst);
        Reaper reaper(me, slot);
        if (reaper.run()) told.push_back(reaper.told());
      }
      me.pond->end_recovery(slot);
    }
  }
  if (!told.empty()) {
    me.pond->tier_side().note_death();
    recover_pages(me);
    sweep_all_tombed(me);
  }
  // the caller's sink may come back to us
  for (const std::string& text : told) me.pond->say(Severity::info, text);
  return static_cast<std::uint32_t>(told.size());
}

std::uint32_t look_for_dead(ThreadContext& me) {
  if (me.pond->segment().header().participants_used.load(std::memory_order_relaxed) > 8 &&
      !me.pond->tick_begins())
    return 0;
  return reap_dead(me);
}

void recover_pages(ThreadContext& me) {
  Segment& segment = me.pond->segment();
  std::vector<Reference> limbo, retired;
  for_each_page(segment, [&](std::uint32_t page, LifeWord life) {
    if (life.state() == LifeState::limbo) limbo.push_back(Reference::make(page, life.generation()));
    if (life.state() == LifeState::retired) retired.push_back(Reference::make(page, life.generation()));
  });
  for (Reference r : limbo) {
    // In the section, with an empty journal: its unlinking is committed, or it is LINKED again.
    std::uint64_t stream = glance(reinterpret_cast<PageHeader*>(segment.page(r.page()))->stream);
    auto section = Section::try_enter(me, stream_section(stream & 0xfffffff));
    if (!section) continue;
    Word& life = segment.life(r.page()).life;
    LifeWord now{life.load(std::memory_order_acquire)};
    if (now.generation() == r.generation() && now.state() == LifeState::limbo &&
        life.compare_exchange_strong(now.raw, now.with(LifeState::retired, 0).raw, std::memory_order_acq_rel))
      retired.push_back(r);
    section->leave();
  }
  recycle(me, std::move(retired));
}

void make_room(ThreadContext& me) {
  Segment& segment = me.pond->segment();
  reap_dead(me);
  std::uint64_t used = std::min(segment.header().descriptors_used.load(std::memory_order_acquire),
                                segment.reserved(Table::streams));
  for (std::uint32_t i = 0; i < used; i++) {
    StreamWords& stream = segment.stream(i);
    std::uint64_t state = stream.state.load(std::memory_order_acquire);
    if (static_cast<StreamState>(state & 0xff) == StreamState::free) continue;
    me.pond->touch(i);
    for (int n = 0; n < kLanes; n++) {
      Reference first{stream.lane[n].first.load(std::memory_order_acquire)};
      if (!first) continue;
      Lane lane(me, Binding::make(i, state >> 28), n);
      lane.any_state = true;
      unlink_done(lane);
      shrink_tail(lane);
    }
  }
  sweep_all_tombed(me);
  recover_pages(me);
}

}  // namespace headpond::internal
