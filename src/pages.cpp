#include "pages.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "check.h"
#include "section.h"
#include "wait.h"

namespace headpond::internal {

namespace {

constexpr std::uint64_t kAll = ~0ULL;

constexpr std::uint64_t run_mask(std::uint32_t count) { return count >= 64 ? kAll : (1ULL << count) - 1; }

/// Where a run of `units` <= 64 may begin in a word: at a multiple of the next power of two. -1: nowhere.
int place_in_word(std::uint64_t word, std::uint32_t units) {
  std::uint32_t step = std::bit_ceil(units);
  for (std::uint32_t at = 0; at + units <= 64; at += step)
    if (!(word & run_mask(units) << at)) return static_cast<int>(at);
  return -1;
}

/// The first free run below `words` bitmap words; -1: none. Reads only; inside the allocator's section.
std::int64_t find_run(const Segment& segment, std::uint32_t units, std::uint64_t from,
                      std::uint64_t total_units) {
  std::uint64_t words = total_units / 64;
  if (units <= 64) {
    for (std::uint64_t w = from; w < words; w++)
      if (int at = place_in_word(segment.bitmap(w).load(std::memory_order_relaxed), units); at >= 0)
        return static_cast<std::int64_t>(w * 64 + static_cast<std::uint64_t>(at));
    return -1;
  }
  std::uint64_t full = units / 64, rest = units % 64, run = 0;
  for (std::uint64_t w = from; w < words; w++) {
    std::uint64_t bitmap = segment.bitmap(w).load(std::memory_order_relaxed);
    if (run >= full && (rest == 0 || !(bitmap & run_mask(static_cast<std::uint32_t>(rest)))))
      return static_cast<std::int64_t>((w - full) * 64);
    run = bitmap == 0 ? run + 1 : 0;
  }
  return run >= full && rest == 0 ? static_cast<std::int64_t>((words - full) * 64) : -1;
}

/// Units that have memory, a life and a bit: three tables that grow one after the other.
std::uint64_t backed_units(const Segment& segment) {
  return std::min({segment.reserved(Table::pages), segment.reserved(Table::lives),
                   segment.reserved(Table::bitmap) * 64}) /
         64 * 64;
}

/// Pages that only moves, shrinking and refills may take, so that a pond that is full of delayed items or spent ones can still turn them over,
/// and one that is full of pages behind a gap can bring back what is in it.
std::uint64_t reserve_units(const Segment& segment) {
  std::uint64_t usual =
      std::min<std::uint64_t>(segment.max_page_bytes() / kUnit, segment.limit_bytes() / kUnit / 16);
  return std::max(usual, std::min(segment.header().largest_spilled.load(std::memory_order_relaxed),
                                  segment.limit_bytes() / kUnit / kLargestSpilledPart));
}

int hint_of(std::uint32_t units) { return units > 32 ? 7 : std::countr_zero(std::bit_ceil(units)); }

/// Sets or clears the bits of a run, through the journal: at most three records.
void set_run(Section& section, const Segment& segment, std::uint64_t unit, std::uint32_t units, bool used) {
  std::uint64_t word = unit / 64, at = unit % 64;
  if (at + units <= 64) {
    std::uint64_t mask = run_mask(units) << at, now = segment.bitmap(word).load(std::memory_order_relaxed);
    section.set(segment.bitmap(word), used ? now | mask : now & ~mask);
    return;
  }
  std::uint32_t full = units / 64, rest = units % 64;  // a long run begins at a word's start
  section.fill(segment.bitmap(word), full, used ? 0 : kAll, used ? kAll : 0);
  if (!rest) return;
  std::uint64_t mask = run_mask(rest), now = segment.bitmap(word + full).load(std::memory_order_relaxed);
  section.set(segment.bitmap(word + full), used ? now | mask : now & ~mask);
}

/// May a page have these units? What damage says is neither zeroed nor freed: that would take others' pages.
bool is_run(const Segment& segment, std::uint64_t unit, std::uint64_t units) {
  std::uint64_t backed = backed_units(segment);
  if (unit >= backed || units == 0 || units > backed - unit) return false;
  if (units <= 64 ? unit % 64 + units > 64 : unit % 64 != 0) return false;
  for (std::uint64_t u = unit + 1; u < unit + units; u++)
    if (segment.life(static_cast<std::uint32_t>(u + 1)).units.load(std::memory_order_relaxed)) return false;
  return true;
}

Status free_page(ThreadContext& me, Reference page) {
  Segment& segment = me.pond->segment();
  auto section = Section::enter(me, kAllocatorSection);
  if (!section) return section.status();
  Header& header = segment.header();
  LifeEntry& entry = segment.life(page.page());
  std::uint64_t unit = page.page() - 1, units = entry.units.load(std::memory_order_relaxed);
  if (!is_run(segment, unit, units))
    return section->leave(),
           Status(Code::corruption, "pond " + me.pond->name() + ": page " + std::to_string(page.page()) +
                                        " can't have " + std::to_string(units) + " units");
  LifeWord life{entry.life.load(std::memory_order_relaxed)};
  set_run(*section, segment, unit, static_cast<std::uint32_t>(units), false);
  section->set(entry.units, 0);
  section->set(entry.life, life.with(LifeState::free, 0).raw);
  section->set(header.units_used, header.units_used.load(std::memory_order_relaxed) - units);
  for (Word& hint : header.run_hint)
    if (hint.load(std::memory_order_relaxed) > unit / 64) section->set(hint, unit / 64);
  section->leave();
  return {};
}

}  // namespace

/// Everything that somebody works on or holds, sorted. First every operation pin, then every move's, then the participants': what is
/// handed on from one to the next is seen in one of them.
std::vector<std::uint32_t> pinned_pages(const Segment& segment) {
  std::vector<std::uint32_t> out;
  auto note = [&](std::uint32_t page) {
    if (page) out.push_back(page);
  };
  const Header& header = segment.header();
  std::uint64_t threads =
      std::min<std::uint64_t>(header.pins_used.load(std::memory_order_acquire), kMaxThreads);
  for (std::uint32_t i = 0; i < threads; i++) note(segment.pins(i).pin.load(std::memory_order_acquire));
  for (std::uint32_t i = 0; i < threads; i++) note(segment.pins(i).hold.load(std::memory_order_acquire));
  std::uint64_t slots = std::min<std::uint64_t>(header.participants_used.load(std::memory_order_acquire),
                                                segment.max_participants() + 1);
  for (std::uint32_t slot = 1; slot <= slots; slot++) {
    ParticipantWords& words = segment.participant(slot);
    std::uint32_t used = std::min(words.holds_used.load(std::memory_order_acquire), kHoldPins);
    for (std::uint32_t i = 0; i < used; i++) note(words.hold[i].load(std::memory_order_acquire));
  }
  std::sort(out.begin(), out.end());
  return out;
}

Result<NewPage> allocate_page(ThreadContext& me, std::uint64_t bytes) {
  Segment& segment = me.pond->segment();
  Header& header = segment.header();
  std::uint32_t units =
      static_cast<std::uint32_t>(std::min<std::uint64_t>((bytes + kUnit - 1) / kUnit, 1u << 31));
  std::uint64_t limit = segment.limit_bytes() / kUnit;
  if (units > limit)
    return Status(Code::too_large, "pond " + me.pond->name() + ": " + std::to_string(bytes) +
                                       " bytes are more than its limit of " +
                                       std::to_string(segment.limit_bytes()));
  for (bool no_more = false;;) {
    std::uint64_t backed;
    {
      auto section = Section::enter(me, kAllocatorSection);
      if (!section) return section.status();
      backed = backed_units(segment);
      Word& hint = header.run_hint[hint_of(units)];
      bool may = me.may_use_reserve ||
                 header.units_used.load(std::memory_order_relaxed) + units + reserve_units(segment) <= backed;
      std::int64_t unit = may ? find_run(segment, units, hint.load(std::memory_order_relaxed), backed) : -1;
      // an odd length may fit where the hint's does not
      if (may && unit < 0 && (backed >= limit || no_more)) unit = find_run(segment, units, 0, backed);
      if (unit >= 0) {
        std::uint64_t first = static_cast<std::uint64_t>(unit);
        std::uint32_t number = static_cast<std::uint32_t>(first + 1);
        LifeEntry& entry = segment.life(number);
        LifeWord life = LifeWord{entry.life.load(std::memory_order_relaxed)}.born_to(me.owner);
        set_run(*section, segment, first, units, true);
        section->set(entry.units, units);
        section->set(entry.life, life.raw);
        section->set(header.units_used, header.units_used.load(std::memory_order_relaxed) + units);
        // nothing of this size begins below
        if (std::has_single_bit(units) && units <= 64) section->set(hint, first / 64);
        section->leave();
        char* base = segment.page(number);
        // Memory that nobody has touched costs each process that comes by a fault for each 4 KiB; what is there is mapped 64 KiB at a time.
        if (life.generation() == 1) sys::make_present(base, units * kUnit);
        return NewPage{Reference::make(number, life.generation()), reinterpret_cast<PageHeader*>(base), base,
                       units * kUnit};
      }
      section->leave();
    }
    if (backed >= limit || !me.may_use_reserve) {
      std::uint64_t used = header.units_used.load(std::memory_order_relaxed),
                    spare = me.may_use_reserve ? 0 : reserve_units(segment);
      if (backed >= limit || used + units + spare > limit) return Status(Code::full);
    }
    // Memory is reserved outside of the section: a system call takes its time. A long run needs it behind the last used unit.
    std::uint64_t want = std::min(limit, backed + std::max<std::uint64_t>(64, (units + 63ULL) / 64 * 64));
    for (Table table : {Table::lives, Table::bitmap})
      if (Status ok = segment.back(table, table == Table::lives ? want : want / 64); !ok) return ok;
    if (Status ok = segment.back(Table::pages, want); !ok) {
      if (no_more) return ok;
      no_more = true;  // once more over what there is
    }
  }
}

void give_back(ThreadContext& me, const NewPage& page, std::uint64_t written) {
  std::memset(page.base, 0, written);
  if (Status freed = free_page(me, page.reference); freed) return;
  // A stopped process holds the section up: the page is off every chain, whoever looks later recycles it.
  Word& life = me.pond->segment().life(page.reference.page()).life;
  life.store(LifeWord{life.load(std::memory_order_relaxed)}.with(LifeState::retired, 0).raw,
             std::memory_order_release);
  me.pond->remember_retired(page.reference);
}

void recycle(ThreadContext& me, std::vector<Reference> pages) {
  Segment& segment = me.pond->segment();
  for (Reference again : me.pond->take_retired()) pages.push_back(again);
  if (pages.empty()) return;
  if (segment.uses_membarrier()) sys::barrier();
  std::vector<std::uint32_t> pinned = pinned_pages(segment);
  bool freed = false, held_up = false;
  for (Reference page : pages) {
    Word& life = segment.life(page.page()).life;
    LifeWord retired{life.load(std::memory_order_acquire)};
    // somebody else did it
    if (retired.generation() != page.generation() || retired.state() != LifeState::retired) continue;
    if (std::binary_search(pinned.begin(), pinned.end(), page.page())) {
      me.pond->remember_retired(page);
      continue;
    }
    std::uint64_t units = segment.life(page.page()).units.load(std::memory_order_relaxed);
    if (!is_run(segment, page.page() - 1, units)) continue;  // stays RETIRED for good
    std::uint64_t expected = retired.raw;
    if (!life.compare_exchange_strong(expected, retired.with(LifeState::zeroing, me.owner).raw,
                                      std::memory_order_acq_rel))
      continue;
    std::memset(segment.page(page.page()), 0, units * kUnit);
    if (!held_up && free_page(me, page)) {
      freed = true;
      continue;
    }
    held_up = true;  // the allocator's section: later
    life.store(retired.raw, std::memory_order_release);
    me.pond->remember_retired(page);
  }
  if (freed) ring(segment, segment.header().space_bell, Wake::all);
}

std::uint64_t largest_free_run(const Segment& segment) {
  std::uint64_t best = 0, run = 0, total = segment.limit_bytes() / kUnit, backed = backed_units(segment);
  for (std::uint64_t unit = 0; unit < backed; unit++) {
    bool used = segment.bitmap(unit / 64).load(std::memory_order_relaxed) >> unit % 64 & 1;
    run = used ? 0 : run + 1;
    best = std::max(best, run);
  }
  return std::max(best, run + (total - backed));
}

}  // namespace headpond::internal
