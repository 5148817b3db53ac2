#include "unlink.h"

#include "each.h"
#include "pages.h"
#include "section.h"
#include "tier_side.h"

namespace headpond::internal {

namespace {

/// All ids of the page are below the log's `trimmed`, and the page is sealed.
bool trimmed_away(const Lane& lane, const PageView& page) {
  std::uint64_t below = lane.stream.trimmed.load(std::memory_order_acquire);
  if (below <= page.header->first_seq.load(std::memory_order_relaxed)) return false;
  PageView next = in_section(lane, Reference{page.header->next.load(std::memory_order_acquire)});
  return next && next.header->first_seq.load(std::memory_order_relaxed) <= below;
}

StreamState state_of(const Lane& lane) {
  return static_cast<StreamState>(lane.stream.state.load(std::memory_order_acquire) & 0xff);
}

bool is_linked(const Lane& lane, const PageView& page) {
  return LifeWord{lane.segment.life(page.reference.page()).life.load(std::memory_order_acquire)}.state() ==
         LifeState::linked;
}

bool empty_gap(const Lane& lane, const PageView& page, Reference next) {
  PageView behind = lane.kind().delayed() ? in_section(lane, next) : PageView{};
  return behind && GapWords::of(page, behind).load().items == 0;
}

/// `next` is what was read before: what is not 0 stands still in this section, while a builder may end a 0 at any time. The ends of a gap
/// stay: they say which ids are in it. But a log's first page goes when all of the gap behind it is trimmed, that of the delayed lane when nothing is
/// in it: then it has no rows.
bool may_go(const Lane& lane, const PageView& before, const PageView& page, Reference next) {
  if (next.raw == 0) return false;  // a builder may be on its way: the last page stays
  if (state_of(lane) == StreamState::parked)
    return !before && is_linked(lane, page) && (lane.is_log() || advance_done(page));
  if (before && Reference{before.header->next.load(std::memory_order_relaxed)}.gap()) return false;
  if (next.gap() && (before || (!lane.is_log() && !empty_gap(lane, page, next)))) return false;
  bool tombed = state_of(lane) == StreamState::tombed;
  if (next.is_tomb() && !tombed) return false;
  return is_linked(lane, page) && (lane.is_log() && !tombed ? trimmed_away(lane, page) : advance_done(page));
}

}  // namespace

PageView in_section(const Lane& lane, Reference r) {
  if (!r || !lane.segment.backed(r.page())) return {};
  LifeEntry& entry = lane.segment.life(r.page());
  LifeWord life{entry.life.load(std::memory_order_acquire)};
  if (life.generation() != r.generation() || !life.reachable()) return {};
  char* base = lane.segment.page(r.page());
  return {r.without_gap(), reinterpret_cast<PageHeader*>(base), base, lane.segment.page_bytes(r.page())};
}

bool ends_in_tomb(const Lane& lane) {
  Hops hops(lane.segment);
  Reference next{lane.words.first.load(std::memory_order_acquire)};
  for (PageView page = in_section(lane, next); page && !hops.too_many(); page = in_section(lane, next))
    next = Reference{page.header->next.load(std::memory_order_acquire)};
  return next.is_tomb();
}

bool advance_done(const PageView& page, std::uint64_t end) {
  std::uint64_t offset = page.header->done.load(std::memory_order_relaxed), from = offset;
  if (offset == 0) offset = kFirstRecord;
  for (; page.holds(offset);) {
    RecordWord word{page.word(offset).load(std::memory_order_acquire)};
    if (word.state() != RecordState::done) break;
    std::uint64_t extent = page.extent(offset, word);
    if (!extent) return false;
    offset += extent;
  }
  if (offset != from) page.header->done.store(static_cast<std::uint32_t>(offset), std::memory_order_relaxed);
  if (!page.holds(offset)) return false;
  return RecordWord{page.word(offset).load(std::memory_order_acquire)}.state() == RecordState::seal ||
         (end && offset == end);
}

void unlink_done(Lane& lane, Reference target) {
  std::vector<Reference> limbo;
  std::vector<std::uint64_t> rows;  // of the pages that are gone for good
  std::size_t committed_rows = 0;
  std::uint64_t stream = 0;
  {
    auto gone = [&] {
      LifeWord life{target ? lane.segment.life(target.page()).life.load(std::memory_order_acquire) : 0};
      return life.generation() != target.generation() || !life.reachable();  // another was faster
    };
    bool target_met = gone();
    // One section a page: the commit of its unlinking is what lets it be recycled.
    for (bool more = true; more;) {
      more = false;
      auto section = Section::try_enter(lane.me, stream_section(lane.binding.index()));
      if (!section) break;
      if (lane.stream.state.load(std::memory_order_acquire) >> 28 != lane.binding.generation()) break;
      stream = TierSide::id_of(lane);
      PageView before;
      Hops hops(lane.segment);
      for (PageView page = in_section(lane, Reference{lane.words.first.load(std::memory_order_acquire)});
           page;) {
        Reference next{page.header->next.load(std::memory_order_acquire)};
        bool is_target = page.reference == target;
        if (is_target) target_met = true;
        if ((before ? is_target : true) && may_go(lane, before, page, next)) {
          // The chain first, then the life: whoever finds LIMBO knows that the chain change is committed or in the journal.
          section->set(before ? before.header->next : lane.words.first, next.without_gap().raw);
          // Read behind the look that found all DONE, and behind the id: where that is so because the stream was parked or cleared, or the
          // descriptor has got its next life, its rows are others' matter.
          if (page.header->row.load(std::memory_order_acquire) && is_live(lane.stream, lane.binding))
            rows.push_back(page.header->first_seq.load(std::memory_order_relaxed));
          LifeWord life{lane.segment.life(page.reference.page()).life.load(std::memory_order_acquire)};
          // a spiller was faster
          if (life.state() != LifeState::linked ||
              !section->exchange(lane.segment.life(page.reference.page()).life, life.raw,
                                 life.with(LifeState::limbo, 0).raw))
            break;
          section->leave();
          committed_rows = rows.size();
          limbo.push_back(page.reference);
          more = true;
          break;
        }
        if (target_met || hops.too_many()) break;  // behind the front only the target is looked for
        before = page;
        page = in_section(lane, next);
      }
    }
  }
  // Committed: RETIRED, whoever does it.
  for (Reference r : limbo) {
    Word& life = lane.segment.life(r.page()).life;
    LifeWord now{life.load(std::memory_order_acquire)};
    std::uint64_t before = now.raw;
    if (now.generation() == r.generation() && now.state() == LifeState::limbo)
      life.compare_exchange_strong(before, now.with(LifeState::retired, 0).raw, std::memory_order_acq_rel);
  }
  for (std::size_t i = 0; i < committed_rows; i++) lane.me.pond->tier_side().forget(stream, rows[i]);
  // A membarrier interrupts every core that runs one of us: several pages share one. Who
  // finds nothing, or no room, recycles what waits.
  Segment& segment = lane.segment;
  std::uint64_t limit = segment.limit_bytes() / kUnit,
                batch = std::min<std::uint64_t>(16 * segment.max_page_bytes() / kUnit, limit / 16);
  std::uint64_t waiting = 0;
  for (Reference r : limbo) waiting = lane.me.pond->remember_retired(r, segment.page_bytes(r.page()) / kUnit);
  if (waiting >= batch) recycle(lane.me, {});
  if (committed_rows) lane.me.pond->tier_side().erase_forgotten(lane.me, false);
}

void unlink_first(Lane& lane) {
  PageView first;
  bool over = lane.pin(Reference{lane.words.first.load(std::memory_order_acquire)}, first) &&
              first.header->next.load(std::memory_order_acquire) != 0 && advance_done(first);
  lane.unpin();
  if (over) unlink_done(lane);
}

}  // namespace headpond::internal
