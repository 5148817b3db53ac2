#include "recovery_table.h"

#include "check.h"

namespace headpond::internal::recovery {

namespace {

using S = SegmentIs;
using J = JournalIs;
constexpr StoreLine kStore[] = {
    {"all is as the segment remembers",
     S::of_this_boot,
     {},
     StoreIs::the_same,
     J::as_remembered,
     StoreCure::none},
    {"commits that nobody marked", S::of_this_boot, {}, StoreIs::the_same, J::ahead, StoreCure::note_commits},
    {"an older copy of the journal", S::of_this_boot, {}, StoreIs::the_same, J::behind, StoreCure::went_back},
    {"another store", S::of_this_boot, {}, StoreIs::another, {}, StoreCure::went_back},
    {"no segment, and its users live", S::gone, OldOnes::live, {}, {}, StoreCure::wait_for_them},
    {"no segment", S::gone, OldOnes::none, {}, {}, StoreCure::rebuild},
};

constexpr StreamLine kStream[] = {
    {"a stream in use", NamesAre::declared, ScopeIs::in_use, StreamCure::look_at_rows},
    {"a dropped stream", NamesAre::declared, ScopeIs::dropped, StreamCure::erase_and_forget},
    {"rows that nobody can name", NamesAre::unknown, {}, StreamCure::unknown_stream},
};

using R = RowIs;
using C = Cleared;
using P = Place;
using I = ItemsAre;
constexpr Any<R> kThere{R::whole, R::damaged};
constexpr Any<P> kPage{P::hot, P::being_spilled};
constexpr Any<I> kWanted{I::live, I::partly_done};
constexpr RowLine kRow[] = {
    {"a row of cleared ids", kThere, C::yes, {}, {}, RowCure::erase},
    {"a gap over cleared ids", R::missing, C::yes, {}, {}, RowCure::nothing},
    {"a row in a gap", R::whole, C::no, P::in_a_gap, kWanted, RowCure::keep},
    {"a damaged row in a gap", R::damaged, C::no, P::in_a_gap, kWanted, RowCure::lost_ids},
    {"a gap without its row", R::missing, C::no, P::in_a_gap, {}, RowCure::lost_ids},
    {"a row all of whose items are done", kThere, C::no, {}, I::done, RowCure::erase},
    {"a refilled row", R::whole, C::no, P::hot, I::live, RowCure::keep},
    {"a refilled row, some of it consumed", R::whole, C::no, P::hot, I::partly_done, RowCure::replace},
    {"a row whose spiller died", R::whole, C::no, P::being_spilled, kWanted, RowCure::replace},
    {"a damaged row whose page is there", R::damaged, C::no, kPage, kWanted, RowCure::replace},
    {"a row that nobody claims", kThere, C::no, P::nowhere, kWanted, RowCure::erase},
    {"no row, and no gap that names it",
     R::missing,
     C::no,
     {P::hot, P::being_spilled, P::nowhere},
     {},
     RowCure::nothing},
};

template <class Line, class Facts>
const Line& only(std::span<const Line> lines, const Facts& facts) {
  for (const Line& line : lines)
    if (line.matches(facts)) return line;
  HEADPOND_CHECK(!"the table has a line for any facts");
  return lines[0];
}

}  // namespace

std::span<const StoreLine> store_lines() { return kStore; }
std::span<const StreamLine> stream_lines() { return kStream; }
std::span<const RowLine> row_lines() { return kRow; }

const StoreLine& classify(const StoreFacts& facts) { return only(store_lines(), facts); }
const StreamLine& classify(const StreamFacts& facts) { return only(stream_lines(), facts); }
const RowLine& classify(const RowFacts& facts) { return only(row_lines(), facts); }

}  // namespace headpond::internal::recovery
