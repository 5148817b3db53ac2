// Pages: runs of units, allocated and freed in the allocator's section, recycled when nobody has them pinned.
//
// A bitmap has a bit a unit. A page of 2^k units up to 64 lies in one bitmap word at a multiple of its size, so that most allocations change
// one word of it; a larger one begins at a word's start and ends anywhere, its unused end stays free. Free neighbours need no merging.
//
//   killed while                              found                          cure
//   allocating, in the section                journal                        undone: bits, units, life as before
//   building, not linked                      BUILDING(dead), prev's next names another or none   RETIRED
//   building, linked                          BUILDING(dead), prev's next names it                LINKED
//   zeroing                                   ZEROING(dead)                  RETIRED, zeroed again by whoever recycles it
//   freeing, in the section                   journal                        undone: ZEROING(dead), as above
#pragma once

#include <algorithm>
#include <bit>
#include <vector>

#include "attachment.h"
#include "headpond/status.h"

namespace headpond::internal {

/// The largest page that may be spilled, as a part of the limit: a refill must find room for it, so as much may be kept in reserve.
constexpr std::uint64_t kLargestSpilledPart = 4;

/// A page that belongs to this participant: BUILDING, all zero.
struct NewPage {
  Reference reference;
  PageHeader* header = nullptr;
  char* base = nullptr;
  std::uint32_t bytes = 0;
};

/// A page of at least `bytes`. `full`: no run of that length, or only the reserve is left, which moves and shrinking may use. Tries once; Maintenance::make_room() may help.
Result<NewPage> allocate_page(ThreadContext& me, std::uint64_t bytes);

/// While it lives, this thread may take the reserve.
class UseReserve {
 public:
  explicit UseReserve(ThreadContext& me) : me_(me), before_(std::exchange(me.may_use_reserve, true)) {}
  ~UseReserve() { me_.may_use_reserve = before_; }

 private:
  ThreadContext& me_;
  bool before_;
};

/// A page that was never linked goes back. REQUIRES: BUILDING(me), nothing but its header written up to `written` bytes.
void give_back(ThreadContext& me, const NewPage& page, std::uint64_t written);

/// Frees those of these RETIRED pages, and of those remembered, that nobody has pinned; the others are remembered and tried again by the next call of anybody in this
/// process. One membarrier for all.
void recycle(ThreadContext& me, std::vector<Reference> pages);

/// The pages that anybody has pinned or holds, in order.
std::vector<std::uint32_t> pinned_pages(const Segment& segment);

/// Calls visit(page number, life) for the first unit of each page in use, in order.
template <class Visit>
void for_each_page(const Segment& segment, Visit visit) {
  std::uint64_t units = std::min(
      {segment.reserved(Table::pages), segment.reserved(Table::lives), segment.reserved(Table::bitmap) * 64});
  for (std::uint64_t unit = 0; unit < units;) {
    std::uint64_t used = segment.bitmap(unit / 64).load(std::memory_order_acquire) >> unit % 64;
    if (used == 0) {
      unit = (unit / 64 + 1) * 64;
      continue;
    }
    unit += static_cast<std::uint64_t>(std::countr_zero(used));
    if (unit >= units) break;
    std::uint32_t page = static_cast<std::uint32_t>(unit + 1);
    LifeEntry& entry = segment.life(page);
    std::uint64_t size = entry.units.load(std::memory_order_acquire);
    if (size == 0 || size > units - unit) {  // just changing, or damaged: verify() says so
      unit++;
      continue;
    }
    visit(page, LifeWord{entry.life.load(std::memory_order_acquire)});
    unit += size;
  }
}

/// The longest free run of units.
std::uint64_t largest_free_run(const Segment& segment);

}  // namespace headpond::internal
