#include "refill.h"

#include <algorithm>
#include <cstring>

#include "due_rows.h"
#include "each.h"
#include "gap.h"
#include "pages.h"
#include "room.h"
#include "section.h"
#include "tier_side.h"
#include "unlink.h"

namespace headpond::internal {

namespace {

class Refiller {
 public:
  Refiller(Lane& lane, Reference before, WantedRow wanted = {})
      : lane_(lane), before_(before.without_gap()), wanted_(wanted) {}

  Code run() {
    Unpin unpin{lane_};
    if (Code code = find_gap(); code != Code::ok) return code == Code::fenced ? Code::ok : code;
    auto row = wanted_ ? find_wanted() : load();
    if (!row) return row.code() == Code::fenced ? Code::ok : lane_.failed(row.status());
    if (*row)
      if (Code code = build(**row); code != Code::ok) return code;
    Code code = link();
    if (code != Code::ok) {
      if (page_.header) give_back(lane_.me, page_, kFirstRecord + written_);
      return code == Code::fenced ? Code::ok : code;
    }
    if (page_.header) ring(lane_.segment, lane_.stream.bell, Wake::all);
    return Code::ok;
  }

  /// There is no row such as was wanted.
  bool missing() const { return missing_; }

 private:
  /// 1. fenced: there is no gap there any more.
  Code find_gap() {
    version_ = lane_.words.gap_version.load(std::memory_order_acquire);
    PageView page;
    if (!lane_.pin(before_, page) || !lane_.current()) return Code::fenced;
    next_ = Reference{page.header->next.load(std::memory_order_acquire)};
    if (!next_.gap()) return Code::fenced;
    if (on_its_way_out(page)) return Code::timeout;
    first_ = end_of(page);
    PageHeader& b = *page.header;  // read while it is pinned
    all_ = GapWords{b.gap_items, b.gap_bytes, b.gap_due}.load();
    PageView behind;
    if (!lane_.pin(next_, behind)) return Code::fenced;
    end_ = id_of(behind, 0);
    PageHeader& h = *behind.header;
    if (h.front_of.load(std::memory_order_acquire) == page.reference.raw)
      all_ = GapWords{h.front_items, h.front_bytes, h.front_due}.load();
    return first_ ? Code::ok : lane_.damaged(page, 0, "a gap follows a page that is not sealed");
  }
  /// Nothing changes behind a page that is SPILLING: who takes the whole stream out has counted on the gap as it was. He rings when he has done.
  bool on_its_way_out(const PageView& page) const {
    LifeWord life{lane_.segment.life(page.reference.page()).life.load(std::memory_order_acquire)};
    return life.state() == LifeState::spilling;
  }
  bool same_gap() {
    PageView page;
    return lane_.pin(before_, page) && page.header->next.load(std::memory_order_acquire) == next_.raw &&
           lane_.words.gap_version.load(std::memory_order_acquire) == version_ && lane_.current();
  }

  /// 2. fenced: the gap has changed meanwhile. Null: below `dense_from`, and no row is left in the gap: it ends.
  Result<std::shared_ptr<const SpilledPage>> load() {
    auto tier = lane_.me.pond->tier_side().tier(lane_.me);
    if (!tier) return tier.status();
    std::uint64_t id = TierSide::id_if_current(lane_), until = sys::precise_us() + kReadPatienceUs;
    if (!id && lane_.current()) return missing_row(lane_, first_, end_), lane_.error;
    if (!id) return Code::fenced;
    std::uint64_t dense = lane_.words.dense_from.load(std::memory_order_acquire);
    bool holes = first_ < dense;
    auto row = holes ? (*tier)->load_from(id, first_, until) : (*tier)->load(id, first_, until);
    if (holes && end_ <= dense && (row ? row->first >= end_ : row.code() == Code::not_found))
      return std::shared_ptr<const SpilledPage>();
    // that of dense_from itself must be there
    if (row && row->first <= std::max(first_, dense))
      return lay_out_row(lane_.me.pond->name(), lane_.kind(), *row);
    if (!row && row.code() != Code::not_found) return row.status();
    if (!same_gap()) return Code::fenced;
    missing_row(lane_, first_, end_);
    return lane_.error;
  }

  /// 2, for delayed items. Null: there is none.
  Result<std::shared_ptr<const SpilledPage>> find_wanted() {
    auto found = find_due_row(lane_, first_, end_, all_, wanted_);
    if (found) {
      missing_ = !found->row;
      left_ = found->left, due_behind_ = found->due;
      return std::move(found->row);
    }
    const Code code = found.code();
    bool perhaps_changed = code == Code::not_found || code == Code::corruption || code == Code::unsupported;
    if (perhaps_changed && !same_gap()) return Code::fenced;
    if (code != Code::not_found) return found.status();
    missing_row(lane_, first_, end_);
    return lane_.error;
  }

  Code build(const SpilledPage& row) {
    std::uint64_t bytes = row.view.bytes;
    lane_.unpin();
    auto page = allocate_with_room(lane_.me, bytes);
    if (!page) return lane_.failed(page.status());
    page_ = *page, written_ = bytes - kFirstRecord, last_ = row.last, weight_ = row.weight;
    apart_ = lane_.kind().delayed() && row.first > first_;
    std::memcpy(page_.base + kFirstRecord, row.view.base + kFirstRecord, written_);
    PageHeader& header = *page_.header;
    header.stream.store(lane_.page_stream(), std::memory_order_relaxed);
    header.first_seq.store(row.first, std::memory_order_relaxed);
    header.row.store(1, std::memory_order_relaxed);
    if (lane_.kind().delayed()) header.due.store(DueWord{}.next(weight_.due).raw, std::memory_order_relaxed);
    header.disturbed.store(weight_.items != weight_.ids, std::memory_order_relaxed);
    header.tail.store(
        Hint::make(static_cast<std::uint32_t>(bytes - 8), static_cast<std::uint32_t>(weight_.ids)).raw,
        std::memory_order_relaxed);
    return Code::ok;
  }
  /// 3 and 4. fenced: another was faster, or the stream was cleared.
  Code link() {
    PageView before;
    if (!lane_.pin(before_, before)) return Code::fenced;
    // From here on the evidence of what we do stands in a page that our pin keeps.
    if (page_.header) page_.header->prev.store(before_.raw, std::memory_order_relaxed);
    {
      auto section = Section::enter(lane_.me, stream_section(lane_.binding.index()));
      if (!section) return lane_.failed(section.status());
      PageView behind = in_section(lane_, next_);
      if (!lane_.current() || !in_section(lane_, before_) || !behind ||
          before.header->next.load(std::memory_order_acquire) != next_.raw ||
          lane_.words.gap_version.load(std::memory_order_relaxed) != version_)
        return Code::fenced;
      if (on_its_way_out(before)) return Code::timeout;
      GapWords words = GapWords::of(before, behind);
      if (!page_.header && wanted_ && (due_behind_ || words.items.load(std::memory_order_relaxed) == 0)) {
        words.due.store(due_behind_, std::memory_order_release);
        return section->leave(), Code::ok;
      }
      // Nothing is left in it. Of a stream that was parked that is known to the item: I17.
      if (!page_.header && !lane_.is_log() && words.items.load(std::memory_order_relaxed) != 0) {
        section->leave();
        missing_row(lane_, first_, end_);
        return Code::corruption;
      }
      if (!page_.header) {
        lane_.words.gap_version.store(version_ + 1, std::memory_order_release);
        before.header->next.store(next_.without_gap().raw, std::memory_order_release);
        return section->leave(), Code::ok;
      }
      if (behind.header->front_of.load(std::memory_order_relaxed) == before_.raw) settle(behind);
      share_out(words.load(), last_ + 1 < id_of(behind, 0));
      lane_.words.gap_version.store(version_ + 1, std::memory_order_release);
      before.header->next.store(apart_ ? page_.reference.with_gap().raw : page_.reference.raw,
                                std::memory_order_release);
      section->leave();
    }
    Word& life = lane_.segment.life(page_.reference.page()).life;
    LifeWord building{life.load(std::memory_order_relaxed)};
    // another settled it, and it has had its time
    if (building.generation() != page_.reference.generation()) return Code::ok;
    std::uint64_t expected = building.with(LifeState::building, lane_.me.owner).raw;
    life.compare_exchange_strong(expected, building.with(LifeState::linked, 0).raw,
                                 std::memory_order_acq_rel);
    return Code::ok;
  }

  /// What the gap has is before the page, in it, or behind it.
  void share_out(const GapAhead& all, bool more) {
    auto rest = [](std::uint64_t whole, std::uint64_t before, std::uint64_t mine) {
      return whole - std::min(whole, before + mine);
    };
    PageHeader& header = *page_.header;
    std::uint64_t items = rest(all.items, left_.items, weight_.items);
    header.gap_items.store(items, std::memory_order_relaxed);
    header.gap_bytes.store(rest(all.bytes, left_.bytes, weight_.bytes), std::memory_order_relaxed);
    header.gap_due.store(!items ? 0 : wanted_ ? due_behind_ : all.due, std::memory_order_relaxed);
    header.next.store(more ? next_.raw : next_.without_gap().raw, std::memory_order_relaxed);
    if (!apart_) return;
    header.front_items.store(left_.items, std::memory_order_relaxed);
    header.front_bytes.store(left_.bytes, std::memory_order_relaxed);
    header.front_due.store(left_.due, std::memory_order_relaxed);
    header.front_of.store(before_.raw, std::memory_order_relaxed);
  }
  /// It is on the chain.
  void settle(const PageView& page) {
    Word& life = lane_.segment.life(page.reference.page()).life;
    LifeWord now{life.load(std::memory_order_acquire)};
    if (now.state() == LifeState::building)
      life.compare_exchange_strong(now.raw, now.with(LifeState::linked, 0).raw, std::memory_order_acq_rel);
  }

  Lane& lane_;
  Reference before_, next_;
  const WantedRow wanted_;  // none: the first row
  GapAhead all_, left_;     // what the gap has; what is before the row
  std::uint64_t due_behind_ = 0;
  bool apart_ = false;  // a gap stays in front of the page
  bool missing_ = false;
  std::uint64_t version_ = 0, first_ = 0, end_ = 0, last_ = 0, written_ = 0;  // the gap is [first_, end_)
  Weight weight_;
  NewPage page_;
};

}  // namespace

Code refill(Lane& lane, Reference before) { return Refiller(lane, before).run(); }
Code refill_due(Lane& lane, Reference before, std::uint64_t now_ms) {
  return Refiller(lane, before, {.due_by_ms = now_ms}).run();
}

namespace {

/// The page before the gap that holds `seq`; none: there is no such gap.
Reference gap_with(Lane& lane, std::uint64_t seq) {
  Unpin unpin{lane};
  Reference found, before;
  std::uint64_t end = 0;
  auto on_page = [&](const PageView& at) {
    before = at.reference, end = end_of(at);
    return false;
  };
  (void)for_each_record(
      lane, on_page, [](const PageView&, std::uint64_t, RecordWord, std::uint64_t) { return Visit::go_on; },
      [] {},
      [&](const GapAhead&, const PageView& behind) {
        if (end > seq || id_of(behind, 0) <= seq) return Code::ok;
        return found = before, Code::closed;
      });
  return found;
}

}  // namespace

Code bring_back(Lane& lane, std::uint64_t seq) {
  for (int tries = 0; tries < 1'000'000; tries++) {
    Reference before = gap_with(lane, seq);
    if (!before) return Code::ok;
    // of delayed items the row alone
    Refiller refiller(lane, before, {.seq = lane.kind().delayed() ? seq : 0});
    if (Code code = refiller.run(); code != Code::ok || refiller.missing()) return code;
  }
  return Code::timeout;
}

Code claim_refilling(Lane& lane, Claimed& out) {
  for (int tries = 0; tries < kRestarts; tries++) {
    lane.gap = {};
    Code code = claim(lane, out);
    if (code != Code::timeout || !lane.gap) return code;
    if (code = refill(lane, lane.gap); code != Code::ok) return code;
  }
  return Code::timeout;  // spilled again each time
}

void prefetch(Lane& lane, Reference before) {
  const Header& header = lane.segment.header();
  if (header.units_used.load(std::memory_order_relaxed) * kUnit >= header.spill_low_bytes) return;
  (void)refill(lane, before);
  lane.error = {};
}

}  // namespace headpond::internal
