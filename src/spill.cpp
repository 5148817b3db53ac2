#include "spill.h"

#include <algorithm>

#include "each.h"
#include "gap.h"
#include "page_copy.h"
#include "pages.h"
#include "retire.h"
#include "section.h"
#include "tier_side.h"
#include "unlink.h"

namespace headpond::internal {

namespace {

/// A page on its way out: SPILLING(me), held.
struct Leaving {
  PageView page;
  int hold = -1;                     // -1: the operation pin holds it
  std::uint64_t first = 0, end = 0;  // ids: its first, the one behind its last
  PageCopy copy;
  // Nothing is left in it, and it leaves no row: delayed lane. (spill.h)
  bool spent(const Lane& lane) const { return copy.weight.items == 0 && lane.kind().delayed(); }
};

class Spiller {
 public:
  Spiller(Lane& lane, Spilled& out) : lane_(lane), out_(out) {}

  Code run(SpillFrom from, std::uint64_t bytes) {
    Code code = choose(from, bytes);
    if (code == Code::ok && !leaving_.empty()) code = commit();
    if (code == Code::not_found) code = Code::ok;  // cleared under us: everything stays
    std::vector<Reference> limbo;
    bool changed = !leaving_.empty();
    for (Leaving& leaving : leaving_)
      if (code == Code::ok && id_ && take(leaving) && unlink(leaving))
        limbo.push_back(leaving.page.reference);
      else
        stay(leaving);
    if (code == Code::ok && !failed_.ok()) code = lane_.failed(failed_);
    if (changed) ring(lane_.segment, lane_.stream.bell, Wake::all);
    release();
    retire(limbo);
    return code;
  }

 private:
  // ---------------------------------------------------------------------------------------------------------- 1 choose
  /// Walks the chain, pinned page by pinned page, and marks and copies what may go.
  Code choose(SpillFrom from, std::uint64_t bytes) {
    PageView page;
    Reference next{lane_.words.first.load(std::memory_order_acquire)};
    std::uint64_t before_end = 0, passed = 0, chosen = 0, run = 0;
    cold_now_ = from == SpillFrom::cold && lane_.kind().delayed() ? sys::wall_ms() : 0;
    bool first = true, behind_gap = false, any_gap = from == SpillFrom::any;
    for (Hops hops(lane_.segment); next && !hops.too_many();) {
      bool after_gap = next.gap();
      behind_gap |= after_gap;
      if (!lane_.pin(next, page) || !lane_.current())
        return out_.busy = true, Code::ok;                // it moves: another time
      run = after_gap ? std::max(run, gap_bytes_) : run;  // what this page's row would lie in one gap with
      next = Reference{page.header->next.load(std::memory_order_acquire)};
      gap_bytes_ = next.gap() ? page.header->gap_bytes.load(std::memory_order_relaxed) : 0;
      if (!next || next.is_tomb()) return Code::ok;
      std::uint64_t end = end_of(page);
      bool in_order = after_gap || before_end == id_of(page, 0);
      bool cold = any_gap || behind_gap || passed >= head_run();
      run += page.bytes + gap_bytes_;
      bool went = !first && cold && in_order && end && goes_on(next, end) && may_go(page) &&
                  run_goes_on(run) && mark(page, end, after_gap || next.gap());
      if (!went) run = 0;
      if (went) {
        chosen += page.bytes;
        if (leaving_.size() == kSpilledAtOnce || chosen >= bytes || leaving_.back().hold < 0) return Code::ok;
      }
      passed += page.bytes, before_end = end, first = false;
    }
    return Code::ok;
  }
  /// What stays in memory in front, for those who claim.
  std::uint64_t head_run() const { return 4 * static_cast<std::uint64_t>(lane_.segment.max_page_bytes()); }
  /// Only a look: the section decides. Behind a hole of spent pages that are gone nothing can leave.
  bool goes_on(Reference next, std::uint64_t end) const {
    return next.gap() ||
           (lane_.segment.backed(next.page()) &&
            glance(reinterpret_cast<PageHeader*>(lane_.segment.page(next.page()))->first_seq) == end);
  }
  bool may_go(const PageView& page) {
    if (page.bytes > lane_.segment.limit_bytes() / kLargestSpilledPart) return false;
    DueWord due{page.header->due.load(std::memory_order_relaxed)};
    if (cold_now_ && due.ms() && due.ms() <= cold_now_) return false;  // wanted
    LifeWord life{lane_.segment.life(page.reference.page()).life.load(std::memory_order_acquire)};
    out_.busy |= life.state() == LifeState::spilling;
    return life.state() == LifeState::linked;
  }

  /// Where something is due in a gap of delayed items, all its rows may have to be looked at: pages between short ones stay while others can go.
  bool run_goes_on(std::uint64_t run) const { return !cold_now_ || run <= kMostDelayedTogether; }

  /// LINKED -> SPILLING(me), then the copy. False: not it, and it is LINKED again.
  bool mark(const PageView& page, std::uint64_t end, bool beside_gap) {
    if (!mark_page(lane_, page)) return false;
    Leaving leaving{.page = page, .first = id_of(page, 0), .end = end, .copy = {}};
    // Where nothing is left the page goes by itself. Beside a gap it can't: then a row of its ids alone lets its memory go.
    if (!copy_page(lane_, page, end, leaving.copy) ||
        (leaving.copy.weight.items == 0 && !beside_gap && !lane_.kind().delayed()))
      return unmark_page(lane_, page), false;
    bool spent = leaving.spent(lane_);
    if (leaving.copy.weight.items == 0 && !spent) copy_ids(leaving.copy);
    if (leaving.copy.weight.ids && !spent) page.header->row.store(1, std::memory_order_seq_cst);
    if ((leaving.hold = lane_.me.pond->take_hold(lane_.me)) >= 0)
      lane_.me.pond->participant().hold[leaving.hold].store(page.reference.page(), std::memory_order_seq_cst);
    leaving_.push_back(std::move(leaving));
    return true;
  }

  // ---------------------------------------------------------------------------------------------------------- 3 commit
  Code commit() {
    auto id = lane_.me.pond->tier_side().declared_id(lane_);
    if (!id) return id.code() == Code::not_found ? Code::not_found : lane_.failed(id.status());
    id_ = *id;
    std::vector<TierPage> rows;
    std::vector<std::uint64_t> old_rows;
    std::uint64_t now = sys::wall_ms();
    for (const Leaving& leaving : leaving_) {
      if (leaving.spent(lane_)) {
        if (leaving.page.header->row.load(std::memory_order_acquire)) old_rows.push_back(leaving.first);
        continue;
      }
      if (leaving.copy.weight.ids == 0) continue;  // sealed empty: nothing to bring back
      rows.push_back({.stream = id_,
                      .first = leaving.first,
                      .last = leaving.end - 1,
                      .records = static_cast<std::uint32_t>(leaving.copy.weight.items),
                      .created_ms = now,
                      .bytes = leaving.copy.image});
      note_spilled(lane_.segment, leaving.page.bytes);
    }
    auto tier = lane_.me.pond->tier_side().tier(lane_.me);
    if (!tier) return lane_.failed(tier.status());
    Status stored;
    if (!rows.empty()) stored = (*tier)->store(rows, sys::precise_us() + kStorePatienceUs);
    if (stored.ok() && !old_rows.empty()) {
      stored = (*tier)->erase(id_, old_rows, sys::precise_us() + kStorePatienceUs);
      lane_.me.pond->tier_side().note_erased();
    }
    if (stored.ok() && lane_.kind().delayed())
      for (const Leaving& leaving : leaving_)
        if (leaving.end > leaving.first)
          lane_.me.pond->tier_side().due_rows().put(
              id_, {leaving.first, leaving.end - 1, leaving.copy.weight.items, leaving.copy.weight.bytes,
                    leaving.copy.weight.due});
    if (!stored && !lane_.current()) return Code::not_found;  // cleared meanwhile, and its name forgotten
    return stored ? Code::ok : lane_.failed(stored);
  }

  // ------------------------------------------------------------------------------------------------------------ 4 take
  /// A log's words never change; in a queue every copied record becomes ours.
  bool take(Leaving& leaving) { return lane_.is_log() || take_records(lane_, leaving.page, leaving.copy); }

  /// Steps 1 to 4 undone.
  void stay(Leaving& leaving) {
    give_back_page(lane_, leaving.page);
    stayed_ = out_.busy = true;
  }

  // ---------------------------------------------------------------------------------------------------------- 5 unlink
  bool unlink(Leaving& leaving) {
    auto section = Section::enter(lane_.me, stream_section(lane_.binding.index()));
    if (!section) return failed_ = section.status(), false;
    if (!lane_.current()) return false;
    PageView page = in_section(lane_, leaving.page.reference), before = page_before(page);
    if (!page || !before) return false;
    Reference next{page.header->next.load(std::memory_order_acquire)},
        link{before.header->next.load(std::memory_order_acquire)};
    // No hole, not below `dense_from` either: the rows of pages that went before would be in this gap.
    if (!link.gap() && end_of(before) != leaving.first) return false;
    PageView behind = in_section(lane_, next.without_gap());
    if (!behind || (!next.gap() && id_of(behind, 0) != leaving.end)) return false;
    GapAhead gap{leaving.copy.weight.items, leaving.copy.weight.bytes, leaving.copy.weight.due, {}};
    auto add = [&](const GapAhead& other) {
      gap.items += other.items, gap.bytes += other.bytes, gap.due = sooner(gap.due, other.due);
    };
    if (link.gap()) add(GapWords::of(before, page).load());
    if (next.gap()) add(GapWords::of(page, behind).load());
    if (leaving.spent(lane_)) {  // a hole from here on; never undone, and it stays true
      Word& dense = lane_.words.dense_from;
      dense.store(std::max(dense.load(std::memory_order_relaxed), id_of(behind, 0)),
                  std::memory_order_release);
    }
    // Never undone: who parks sees that the chain was touched, even where a dying spiller's journal takes the change back.
    lane_.words.gap_version.fetch_add(1, std::memory_order_acq_rel);
    // The counts before the gap bit: who sees the one finds the others.
    section->set(before.header->gap_items, gap.items), section->set(before.header->gap_bytes, gap.bytes);
    section->set(before.header->gap_due, gap.due);
    if (behind.header->front_of.load(std::memory_order_relaxed) == before.reference.raw)
      section->set(behind.header->front_of, 0);  // of a gap that was there before
    section->set(before.header->next, next.with_gap().raw);
    Word& life = lane_.segment.life(page.reference.page()).life;
    LifeWord now{life.load(std::memory_order_acquire)};
    if (!section->exchange(life, now.with(LifeState::spilling, lane_.me.owner).raw,
                           now.with(LifeState::limbo, 0).raw))
      return false;
    section->leave();
    out_.pages++, out_.bytes += leaving.page.bytes;
    return true;
  }
  PageView page_before(const PageView& page) const {
    PageView before;
    if (!page) return before;
    Hops hops(lane_.segment);
    for (PageView at = in_section(lane_, Reference{lane_.words.first.load(std::memory_order_acquire)});
         at && at.reference.page() != page.reference.page();
         at = in_section(lane_, Reference{at.header->next.load(std::memory_order_acquire)}.without_gap())) {
      if (hops.too_many()) return {};
      before = at;
      if (Reference next{at.header->next.load(std::memory_order_acquire)};
          next.without_gap() == page.reference.without_gap())
        return before;
    }
    return {};
  }

  // ----------------------------------------------------------------------------------------------------------- 6 end
  void release() {
    for (Leaving& leaving : leaving_)
      if (leaving.hold >= 0) lane_.me.pond->give_hold(lane_.me, leaving.hold);
    lane_.unpin();
    if (!stayed_ || lane_.current()) return;
    // Cleared under us: what we gave back may have been its last pages, and our rows go with its end. Parked: our rows are its own.
    finish_tombed(lane_.me, lane_.binding);
  }
  void retire(const std::vector<Reference>& limbo) {
    for (Reference r : limbo) {
      Word& life = lane_.segment.life(r.page()).life;
      LifeWord now{life.load(std::memory_order_acquire)};
      std::uint64_t before = now.raw;
      if (now.generation() == r.generation() && now.state() == LifeState::limbo)
        life.compare_exchange_strong(before, now.with(LifeState::retired, 0).raw, std::memory_order_acq_rel);
    }
    if (!limbo.empty()) recycle(lane_.me, limbo);
  }

  Lane& lane_;
  Spilled& out_;
  std::uint64_t id_ = 0, cold_now_ = 0, gap_bytes_ = 0;
  bool stayed_ = false;
  Status failed_;
  std::vector<Leaving> leaving_;
};

}  // namespace

Code spill_lane(Lane& lane, SpillFrom from, std::uint64_t bytes, Spilled& out) {
  return Spiller(lane, out).run(from, bytes);
}

Status spill_some(ThreadContext& me, std::uint64_t bytes, Spilled& out,
                  std::initializer_list<SpillFrom> passes) {
  Segment& segment = me.pond->segment();
  struct Victim {
    std::uint64_t last_use;
    Binding stream;
  };
  std::vector<Victim> victims;
  std::uint64_t used = std::min(segment.header().descriptors_used.load(std::memory_order_acquire),
                                segment.reserved(Table::streams));
  for (std::uint32_t i = 0; i < used; i++) {
    std::uint64_t state = segment.stream(i).state.load(std::memory_order_acquire);
    bool posts = (state >> 8 & 0xff) == static_cast<std::uint64_t>(Kind::postings);  // never spill
    if (static_cast<StreamState>(state & 0xff) == StreamState::live && !posts)
      victims.push_back(
          {segment.stream(i).last_use.load(std::memory_order_relaxed), Binding::make(i, state >> 28)});
  }
  std::stable_sort(victims.begin(), victims.end(),
                   [](const Victim& a, const Victim& b) { return a.last_use < b.last_use; });
  constexpr int kOrder[] = {kDeadLane, kDelayedLane, 0, 1, 2, 3, 4, 5, 6, 7};
  for (SpillFrom from : passes) {
    for (const Victim& victim : victims) {
      me.pond->touch(victim.stream.index());
      for (int number : kOrder)
        for (std::uint64_t before = ~0ULL; before != out.bytes && out.bytes < bytes;) {
          Lane lane(me, victim.stream, number);
          Reference first{lane.words.first.load(std::memory_order_acquire)};
          before = out.bytes;
          if (!first) break;
          if (Code code = spill_lane(lane, from, bytes - out.bytes, out); code != Code::ok)
            return lane.error.ok() ? Status(code) : lane.error;
        }
      if (out.bytes >= bytes) return {};
    }
    if (out.bytes) return {};  // enough to go on
  }
  return {};
}

}  // namespace headpond::internal
