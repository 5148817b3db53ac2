// The recovery tables: one line for any facts, and the lines that matter most by name; the sweep of a store by itself.

#include <gmock/gmock.h>

#include <set>

#include "src/recovery.h"
#include "src/recovery_table.h"
#include "support/test_tier.h"

namespace {

using namespace support;
using namespace headpond::internal::recovery;
using testing::HasSubstr;

template <class Fact>
std::vector<Fact> values(int count) {
  std::vector<Fact> all;
  for (int i = 0; i < count; i++) all.push_back(static_cast<Fact>(i));
  return all;
}

/// Exactly one line matches; which one is noted.
template <class Line, class Facts>
void expect_one(std::span<const Line> lines, const Facts& facts, std::set<std::string_view>& met) {
  int matching = 0;
  for (const Line& line : lines)
    if (line.matches(facts)) matching++, met.insert(line.found);
  EXPECT_EQ(matching, 1);
  EXPECT_TRUE(matching != 1 || classify(facts).matches(facts));
}

TEST(RecoveryTable, ExactlyOneLineMatchesAnyStore) {
  std::set<std::string_view> met;
  for (auto segment : values<SegmentIs>(2))
    for (auto old_ones : values<OldOnes>(2))
      for (auto store : values<StoreIs>(2))
        for (auto journal : values<JournalIs>(3))
          expect_one(store_lines(), StoreFacts{segment, old_ones, store, journal}, met);
  EXPECT_EQ(met.size(), store_lines().size());
}

TEST(RecoveryTable, ExactlyOneLineMatchesAnyStream) {
  std::set<std::string_view> met;
  for (auto names : values<NamesAre>(2))
    for (auto scope : values<ScopeIs>(2)) expect_one(stream_lines(), StreamFacts{names, scope}, met);
  EXPECT_EQ(met.size(), stream_lines().size());
}

TEST(RecoveryTable, ExactlyOneLineMatchesAnyRow) {
  std::set<std::string_view> met;
  for (auto row : values<RowIs>(3))
    for (auto cleared : values<Cleared>(2))
      for (auto place : values<Place>(4))
        for (auto items : values<ItemsAre>(3))
          expect_one(row_lines(), RowFacts{row, cleared, place, items}, met);
  EXPECT_EQ(met.size(), row_lines().size());
}

TEST(RecoveryTable, NothingThatIsWantedIsErasedOrSkipped) {
  for (auto items : {ItemsAre::live, ItemsAre::partly_done})
    for (auto place : {Place::in_a_gap, Place::hot, Place::being_spilled}) {
      RowCure cure = classify(RowFacts{RowIs::whole, Cleared::no, place, items}).cure;
      EXPECT_TRUE(cure == RowCure::keep || cure == RowCure::replace);
    }
  for (auto row : {RowIs::damaged, RowIs::missing})
    EXPECT_EQ(classify(RowFacts{row, Cleared::no, Place::in_a_gap, ItemsAre::live}).cure, RowCure::lost_ids);
  EXPECT_EQ(classify(StreamFacts{NamesAre::unknown, ScopeIs::dropped}).cure, StreamCure::unknown_stream);
  EXPECT_EQ(classify(StoreFacts{SegmentIs::gone, OldOnes::live, StoreIs::the_same, JournalIs::ahead}).cure,
            StoreCure::wait_for_them);
}

class Sweep : public testing::Test {
 protected:
  void store(std::uint64_t stream, std::uint64_t first, std::uint64_t last) {
    must(store_one(*tier, page_of(stream, first, last, "page")));
  }
  TestFolder folder;
  std::unique_ptr<Tier> tier = tier_in(folder.path());
};

TEST_F(Sweep, ErasesRowsOfClearedIdsOnly) {
  must(tier->declare(names_of(1), soon()));
  must(tier->declare(names_of(2), soon()));
  for (std::uint64_t first = 1; first <= 31; first += 10)
    store(1, first, first + 9), store(2, first, first + 9);
  must(tier->clear(1, 25, soon()));
  std::uint64_t before = tier->figures().full_commits;
  Swept swept = must(sweep(*tier, soon()));
  EXPECT_EQ(swept.streams, 2u);
  EXPECT_EQ(swept.erased, 2u);
  EXPECT_EQ(tier->figures().full_commits, before + 1);  // safe when it returns
  EXPECT_ANSWER(not_found, tier->load(1, 11, soon()));
  EXPECT_OK(tier->load(1, 21, soon()));
  EXPECT_EQ(must(tier->totals(2, 0, 100, soon())).rows, 4u);
  EXPECT_EQ(must(sweep(*tier, soon())).erased, 0u);
}

TEST_F(Sweep, RowsOfAnUnknownStreamAreCorruptionAndNothingIsChanged) {
  must(tier->declare(names_of(1), soon()));
  must(tier->declare(names_of(7), soon()));
  store(1, 1, 9);
  store(7, 1, 9);
  must(tier->clear(1, 100, soon()));
  // The row outlived its names, as in a store put together from two copies: erased, forgotten, and then it is back.
  std::string kept = folder.file("kept.db"), kept_wal = folder.file("kept.db-wal");
  std::filesystem::copy_file(folder.file("spill.db"), kept);
  std::filesystem::copy_file(folder.file("spill.db-wal"), kept_wal);
  must(tier->erase_upto(7, 9, soon()));
  must(tier->forget(7, soon()));
  tier.reset();
  std::filesystem::rename(kept, folder.file("spill.db"));
  std::filesystem::rename(kept_wal, folder.file("spill.db-wal"));
  std::filesystem::remove(folder.file("spill.db-shm"));
  tier = tier_in(folder.path());
  auto refused = sweep(*tier, soon());
  EXPECT_ANSWER(corruption, refused);
  EXPECT_THAT(refused.status().text(), HasSubstr("stream 7"));
  EXPECT_OK(tier->load(1, 1, soon()));
}

}  // namespace
