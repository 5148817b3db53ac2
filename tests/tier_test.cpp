// The durable tier by itself: each operation, each answer.

#include <gmock/gmock.h>

#include <set>

#include "spill/journal_row.h"
#include "src/id_ranges.h"
#include "support/test_pond.h"
#include "support/test_tier.h"

namespace {

using namespace support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr std::uint64_t kHighest = (1ULL << 63) - 1;

class TierTest : public testing::Test {
 protected:
  TierTest() {
    EXPECT_OK(tier->declare(names_of(1), soon()));
    EXPECT_OK(tier->declare(names_of(2), soon()));
  }
  void store(std::uint64_t stream, std::uint64_t first, std::uint64_t last, std::string_view bytes) {
    ASSERT_OK(store_one(*tier, page_of(stream, first, last, bytes)));
  }
  void reopen() {
    tier.reset();
    tier = tier_in(folder.path());
  }
  std::vector<std::uint64_t> firsts(std::uint64_t stream) {
    std::vector<std::uint64_t> found;
    auto visit = [&](const TierSpan& span) {
      found.push_back(span.first);
      return Status();
    };
    EXPECT_OK(tier->list(stream, visit, soon()));
    return found;
  }

  TestFolder folder;
  std::unique_ptr<Tier> tier = tier_in(folder.path());
};

// ------------------------------------------------------------------------------------------------------------------ pages

TEST_F(TierTest, APageComesBackAsItWasStored) {
  std::string bytes = patterned(7, 64 << 10);
  store(1, 10, 29, bytes);
  reopen();
  auto row = must(tier->load(1, 10, soon()));
  EXPECT_EQ(row.stream, 1u);
  EXPECT_EQ(row.first, 10u);
  EXPECT_EQ(row.last, 29u);
  EXPECT_EQ(row.records, 20u);
  EXPECT_EQ(row.created_ms, 1'700'000'000'000u);
  EXPECT_EQ(row.bytes, bytes);
}

TEST_F(TierTest, AnEmptyPageAndTheHighestNumbersComeBack) {
  ASSERT_OK(tier->declare(names_of(kHighest), soon()));
  TierPage page = page_of(kHighest, kHighest, kHighest, "");
  page.records = UINT32_MAX, page.created_ms = kHighest;
  ASSERT_OK(store_one(*tier, page));
  auto row = must(tier->load(kHighest, kHighest, soon()));
  EXPECT_EQ(row.bytes, "");
  EXPECT_EQ(row.records, UINT32_MAX);
  EXPECT_EQ(row.created_ms, kHighest);
  EXPECT_EQ(must(tier->load_holding(kHighest, kHighest, soon())).first, kHighest);
}

TEST_F(TierTest, NumbersOutOfRangeAreRefused) {
  EXPECT_ANSWER(invalid, store_one(*tier, page_of(1, 5, 4, "x")));
  EXPECT_ANSWER(invalid, store_one(*tier, page_of(1, kHighest + 1, kHighest + 1, "x")));
  EXPECT_ANSWER(invalid, tier->declare(names_of(kHighest + 1), soon()));
  EXPECT_ANSWER(not_found, tier->load(UINT64_MAX, UINT64_MAX, soon()));
  EXPECT_ANSWER(not_found, tier->load_from(1, UINT64_MAX, soon()));
  EXPECT_ANSWER(not_found, tier->clear(UINT64_MAX, 1, soon()));
  EXPECT_ANSWER(not_found, tier->forget(UINT64_MAX, soon()));
  std::string_view too_many("", (1ULL << 30) - 1);  // its size alone is looked at
  Status refused = store_one(*tier, page_of(1, 1, 1, too_many));
  EXPECT_ANSWER(too_large, refused);
  EXPECT_THAT(refused.text(), HasSubstr(std::to_string(too_many.size())));
}

TEST_F(TierTest, APageOfAnUndeclaredStreamIsRefused) {
  Status refused = store_one(*tier, page_of(3, 1, 1, "x"));
  EXPECT_ANSWER(invalid, refused);
  EXPECT_THAT(refused.text(), HasSubstr("stream 3 was never declared"));
  auto other = tier_in(folder.path());
  ASSERT_OK(other->declare(names_of(3), soon()));
  EXPECT_OK(store_one(*tier, page_of(3, 1, 1, "x")));
}

TEST_F(TierTest, AStoreIsWhollyThereOrNotAtAll) {
  std::vector<TierPage> pages{page_of(1, 1, 1, "a"), page_of(3, 1, 1, "undeclared")};
  EXPECT_ANSWER(invalid, tier->store(pages, soon()));
  EXPECT_THAT(firsts(1), IsEmpty());
  pages[1] = page_of(2, 9, 8, "first after last");
  EXPECT_ANSWER(invalid, tier->store(pages, soon()));
  EXPECT_THAT(firsts(1), IsEmpty());
  pages[1] = page_of(2, 8, 9, "b");
  EXPECT_OK(tier->store(pages, soon()));
  EXPECT_EQ(must(tier->load(1, 1, soon())).bytes, "a");
  EXPECT_EQ(must(tier->load(2, 8, soon())).bytes, "b");
  EXPECT_OK(tier->store({}, soon()));
}

TEST_F(TierTest, StoringAgainReplaces) {
  store(1, 5, 9, std::string(100'000, 'a'));
  store(1, 5, 7, "shorter");
  auto row = must(tier->load(1, 5, soon()));
  EXPECT_EQ(row.bytes, "shorter");
  EXPECT_EQ(row.last, 7u);
  EXPECT_THAT(firsts(1), ElementsAre(5));
}

TEST_F(TierTest, RowsAreFoundByFirstByNextAndByTheIdTheyHold) {
  store(1, 10, 19, "ten");
  store(1, 30, 39, "thirty");
  store(2, 20, 29, "another stream's");
  EXPECT_ANSWER(not_found, tier->load(1, 11, soon()));
  EXPECT_EQ(must(tier->load_from(1, 0, soon())).bytes, "ten");
  EXPECT_EQ(must(tier->load_from(1, 10, soon())).bytes, "ten");
  EXPECT_EQ(must(tier->load_from(1, 11, soon())).bytes, "thirty");
  EXPECT_ANSWER(not_found, tier->load_from(1, 31, soon()));
  EXPECT_EQ(must(tier->load_holding(1, 10, soon())).bytes, "ten");
  EXPECT_EQ(must(tier->load_holding(1, 19, soon())).bytes, "ten");
  EXPECT_ANSWER(not_found, tier->load_holding(1, 9, soon()));
  EXPECT_ANSWER(not_found, tier->load_holding(1, 20, soon()));
  EXPECT_EQ(must(tier->load_holding(1, 39, soon())).bytes, "thirty");
  EXPECT_ANSWER(not_found, tier->load_holding(1, 40, soon()));
  EXPECT_ANSWER(not_found, tier->load(3, 1, soon()));
}

TEST_F(TierTest, ErasedRowsAreGoneAndOthersStay) {
  for (std::uint64_t first = 1; first <= 50; first += 10) store(1, first, first + 9, "page");
  store(2, 1, 10, "page");
  const std::uint64_t some[] = {11, 12, 31};
  ASSERT_OK(tier->erase(1, some, soon()));
  EXPECT_THAT(firsts(1), ElementsAre(1, 21, 41));
  EXPECT_OK(tier->erase(1, some, soon()));
  EXPECT_OK(tier->erase(9, some, soon()));
  EXPECT_THAT(firsts(2), ElementsAre(1));
}

TEST_F(TierTest, EraseUptoTakesOnlyRowsThatEndThere) {
  for (std::uint64_t first = 1; first <= 50; first += 10) store(1, first, first + 9, "page");
  ASSERT_OK(tier->erase_upto(1, 19, soon()));
  EXPECT_THAT(firsts(1), ElementsAre(11, 21, 31, 41));
  ASSERT_OK(tier->erase_upto(1, 20, soon()));
  EXPECT_THAT(firsts(1), ElementsAre(21, 31, 41));
  ASSERT_OK(tier->erase_upto(1, UINT64_MAX, soon()));
  EXPECT_THAT(firsts(1), IsEmpty());
  EXPECT_OK(tier->erase_upto(1, 0, soon()));
}

TEST_F(TierTest, ManyRowsAreListedAndErasedInPortions) {
  constexpr std::uint64_t many = 10'000;
  std::vector<TierPage> pages;
  for (std::uint64_t first = 1; first <= many; first++) pages.push_back(page_of(1, first, first, "x"));
  ASSERT_OK(tier->store(pages, soon()));
  auto found = firsts(1);
  ASSERT_EQ(found.size(), many);
  EXPECT_TRUE(std::is_sorted(found.begin(), found.end()));
  EXPECT_EQ(must(tier->totals(1, 0, UINT64_MAX, soon())).rows, many);
  ASSERT_OK(tier->erase_upto(1, many - 1, soon()));
  EXPECT_THAT(firsts(1), ElementsAre(many));
}

TEST_F(TierTest, AVisitorEndsAListAndMayCallTheTier) {
  for (std::uint64_t first = 1; first <= 5; first++) store(1, first, first, "x");
  int visits = 0;
  auto visit = [&](const TierSpan& span) -> Status {
    visits++;
    EXPECT_EQ(must(tier->load(1, span.first, soon())).bytes, "x");
    return span.first == 3 ? Code::paused : Code::ok;
  };
  EXPECT_ANSWER(paused, tier->list(1, visit, soon()));
  EXPECT_EQ(visits, 3);
}

TEST_F(TierTest, TotalsCountRowsWhollyWithin) {
  for (std::uint64_t first = 1; first <= 50; first += 10) store(1, first, first + 9, std::string(first, 'x'));
  auto all = must(tier->totals(1, 0, UINT64_MAX, soon()));
  EXPECT_EQ(all.rows, 5u);
  EXPECT_EQ(all.records, 50u);
  EXPECT_EQ(all.bytes, 1u + 11 + 21 + 31 + 41);
  auto some = must(tier->totals(1, 11, 39, soon()));
  EXPECT_EQ(some.rows, 2u);
  EXPECT_EQ(some.records, 20u);
  EXPECT_EQ(must(tier->totals(5, 0, 9, soon())).rows, 0u);
}

TEST_F(TierTest, CompressedPagesComeBackPlain) {
  std::string json;
  while (json.size() < 64 << 10) json += R"({"id":)" + std::to_string(json.size()) + R"(,"state":"ready"},)";
  TierPage page = page_of(1, 1, 9, json);
  page.compress = true;
  ASSERT_OK(store_one(*tier, page));
  EXPECT_LT(must(tier->totals(1, 1, 9, soon())).bytes, json.size() / 3);
  EXPECT_EQ(must(tier->load(1, 1, soon())).bytes, json);
  EXPECT_EQ(tier->figures().bytes_stored, json.size());
  EXPECT_LT(tier->figures().bytes_kept, json.size() / 3);
}

TEST_F(TierTest, WhatDoesNotShrinkStaysPlain) {
  WITH_SEED(seed);
  Random random(seed);
  std::string noise;
  while (noise.size() < 64 << 10) noise.push_back(static_cast<char>(random.below(256)));
  TierPage page = page_of(1, 1, 9, noise);
  page.compress = true;
  ASSERT_OK(store_one(*tier, page));
  EXPECT_EQ(must(tier->totals(1, 1, 9, soon())).bytes, noise.size());
  EXPECT_EQ(must(tier->load(1, 1, soon())).bytes, noise);
}

TEST_F(TierTest, APageOf64MiBComesBack) {
  std::string bytes = patterned(9, 64 << 20);
  store(1, 1, 1, bytes);
  EXPECT_TRUE(must(tier->load(1, 1, soon())).bytes == bytes);
}

TEST_F(TierTest, StreamsWithRowsAreFound) {
  EXPECT_THAT(must(tier->streams_with_rows(soon())), IsEmpty());
  store(2, 1, 1, "x");
  store(2, 2, 2, "x");
  ASSERT_OK(tier->declare(names_of(kHighest), soon()));
  store(kHighest, 1, 1, "x");
  EXPECT_THAT(must(tier->streams_with_rows(soon())), ElementsAre(2, kHighest));
}

// ------------------------------------------------------------------------------------------------------------------ names

TEST_F(TierTest, NamesComeBackWithAnyBytes) {
  TierNames names{77, std::string("\0\xff\n", 3), "", std::string(2000, 'n'), 200, 5};
  ASSERT_OK(tier->declare(names, soon()));
  reopen();
  auto all = must(tier->streams(soon()));
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[2].stream, 77u);
  EXPECT_EQ(all[2].scope, names.scope);
  EXPECT_EQ(all[2].ns, "");
  EXPECT_EQ(all[2].name, names.name);
  EXPECT_EQ(all[2].kind, 200);
  EXPECT_EQ(all[2].cleared_upto, 5u);
}

TEST_F(TierTest, AStreamIdStandsForOneNameOnly) {
  EXPECT_OK(tier->declare(names_of(1), soon()));
  TierNames other = names_of(1);
  other.scope = "another";
  Status refused = tier->declare(other, soon());
  EXPECT_ANSWER(exists, refused);
  EXPECT_THAT(refused.text(), HasSubstr("stream 1"));
}

TEST_F(TierTest, ClearedIdsOnlyRise) {
  ASSERT_OK(tier->clear(1, 10, soon()));
  ASSERT_OK(tier->clear(1, 5, soon()));
  ASSERT_OK(tier->declare(names_of(1), soon()));
  EXPECT_EQ(must(tier->streams(soon()))[0].cleared_upto, 10u);
  EXPECT_ANSWER(not_found, tier->clear(9, 1, soon()));
}

TEST_F(TierTest, AStreamIsForgottenWhenItsRowsAreGone) {
  store(1, 1, 1, "x");
  EXPECT_ANSWER(busy, tier->forget(1, soon()));
  ASSERT_OK(tier->erase_upto(1, 1, soon()));
  ASSERT_OK(tier->forget(1, soon()));
  EXPECT_ANSWER(not_found, tier->forget(1, soon()));
  EXPECT_EQ(must(tier->streams(soon())).size(), 1u);
  EXPECT_ANSWER(invalid, store_one(*tier, page_of(1, 1, 1, "x")));
}

// ---------------------------------------------------------------------------------------------------------------- journal

TEST_F(TierTest, CommitsAreNumberedAndComeBack) {
  EXPECT_EQ(must(tier->last_lsn(soon())), 0u);
  EXPECT_EQ(must(commit_all(*tier, {push_of(1, 7, std::string("a\0b", 3)), push_of(1, 8, "")})), 1u);
  EXPECT_EQ(must(commit_all(*tier, {ack_of(1, 7, 7)}, 1)), 2u);
  reopen();
  EXPECT_EQ(must(tier->last_lsn(soon())), 2u);
  EXPECT_THAT(journal_of(*tier), ElementsAre("push 1:7 at 1:7 x0 '" + std::string("a\0b", 3) + "'",
                                             "push 1:8 at 1:8 x0 ''", "ack 1:7-7"));
}

TEST_F(TierTest, AnEmptyCommitAndImpossibleIdsAreRefused) {
  EXPECT_ANSWER(invalid, commit_all(*tier, {}));
  EXPECT_ANSWER(invalid, commit_all(*tier, {ack_of(1, 7, 6)}));
  EXPECT_ANSWER(invalid, commit_all(*tier, {push_of(kHighest + 1, 1, "")}));
  EXPECT_EQ(must(tier->last_lsn(soon())), 0u);
}

TEST_F(TierTest, AJournalThatWentBackIsCorruption) {
  ASSERT_OK(commit_all(*tier, {push_of(1, 1, "x")}));
  auto refused = commit_all(*tier, {push_of(1, 2, "x")}, 5);
  EXPECT_ANSWER(corruption, refused);
  EXPECT_THAT(refused.status().text(), HasSubstr("went back to an older state"));
}

TEST_F(TierTest, SurvivorsArePushedAndNotAcked) {
  ASSERT_OK(commit_all(*tier, {ack_of(1, 2, 3)}));  // acks may come first
  ASSERT_OK(commit_all(*tier, {push_of(1, 1, "one"), push_of(1, 2, "two"), push_of(1, 3, "three")}));
  ASSERT_OK(commit_all(*tier, {push_of(1, 1, "one"), push_of(2, 2, "of another stream")}));  // repetition
  EXPECT_THAT(survivors_of(*tier),
              ElementsAre("push 1:1 at 1:1 x0 'one'", "push 2:2 at 2:2 x0 'of another stream'"));
}

TEST_F(TierTest, AnItemThatMovedSurvivesOnceAtItsLastPlace) {
  JournalEntry moved = push_of(1, 1, "moved", 1), again = push_of(1, 1, "again", 2);
  moved.stream = 2, moved.seq = 50;
  again.stream = 2, again.seq = 60;
  ASSERT_OK(commit_all(*tier, {again}));
  ASSERT_OK(commit_all(*tier, {push_of(1, 1, "born"), moved}));
  EXPECT_THAT(survivors_of(*tier), ElementsAre("push 1:1 at 2:60 x2 'again'"));
  ASSERT_OK(commit_all(*tier, {ack_of(1, 1, 1)}));
  EXPECT_THAT(survivors_of(*tier), IsEmpty());
}

TEST_F(TierTest, ClearedItemsDoNotSurvive) {
  JournalEntry moved = push_of(1, 2, "moved out in time", 1);
  moved.stream = 2, moved.seq = 9;
  ASSERT_OK(commit_all(*tier, {push_of(1, 1, "x"), push_of(1, 2, "x"), moved, push_of(1, 3, "later")}));
  ASSERT_OK(tier->clear(1, 2, soon()));
  EXPECT_THAT(survivors_of(*tier),
              ElementsAre("push 1:2 at 2:9 x1 'moved out in time'", "push 1:3 at 1:3 x0 'later'"));
}

TEST_F(TierTest, TheCallerLearnsWhatIsAckedBeforeTheSurvivors) {
  ASSERT_OK(commit_all(*tier, {ack_of(1, 5, 9), push_of(1, 4, "x")}));
  std::string heard;
  auto acks = [&](const Tier::Acked& acked) {
    for (std::uint64_t seq = 4; seq <= 10; seq++) heard += acked(1, seq) ? 'a' : '-';
    EXPECT_FALSE(acked(2, 5));
    return Status();
  };
  auto visit = [&](const JournalEntry&) {
    heard += '!';
    return Status();
  };
  ASSERT_OK(tier->survivors(acks, visit, soon()));
  EXPECT_EQ(heard, "-aaaaa-!");
  auto refuse = [](const Tier::Acked&) { return Status(Code::paused); };
  EXPECT_ANSWER(paused, tier->survivors(refuse, visit, soon()));
}

// ---------------------------------------------------------------------------------------------------------------- settings

TierSetting setting(std::string name, std::optional<std::string> value, std::string cursor = {}) {
  return {2, "scope", std::move(name), {}, std::move(cursor), std::move(value)};
}
std::vector<std::string> settings_of(Tier& tier) {
  std::vector<std::string> seen;
  for (const TierSetting& of : must(tier.settings(soon())))
    seen.push_back(std::to_string(of.kind) + " " + of.scope + "/" + of.ns + "/" + of.name + "/" + of.cursor +
                   "=" + of.value.value_or("none"));
  return seen;
}

TEST_F(TierTest, ASettingIsWhatWasCommittedLastAndGoesWithoutAValue) {
  EXPECT_THAT(settings_of(*tier), ElementsAre());
  std::vector some{setting("a", "1"), setting("b", "2"), setting("a", "of a cursor", "c"), setting("b", "3")};
  EXPECT_EQ(must(tier->commit({}, some, 0, soon())), 0u);  // no row of the journal
  EXPECT_THAT(settings_of(*tier), ElementsAre("2 scope/a//=1", "2 scope/a//c=of a cursor", "2 scope/b//=3"));
  std::vector changes{setting("a", std::nullopt), setting("never there", std::nullopt), setting("b", "")};
  EXPECT_EQ(must(tier->commit(std::vector{push_of(1, 1, "x")}, changes, 0, soon())), 1u);
  EXPECT_THAT(settings_of(*tier), ElementsAre("2 scope/a//c=of a cursor", "2 scope/b//="));
  EXPECT_EQ(must(tier->commit({}, some, 1, soon())), 1u);
}

TEST_F(TierTest, SettingsAndEntriesAreCommittedTogetherOrNotAtAll) {
  std::vector some{setting("a", "1")};
  EXPECT_ANSWER(corruption, tier->commit({}, some, 7, soon()));  // the journal went back
  EXPECT_ANSWER(corruption, tier->commit(std::vector{push_of(1, 1, "x")}, some, 7, soon()));
  JournalEntry bad = push_of(1ULL << 63, 1, "x");
  EXPECT_ANSWER(invalid, tier->commit(std::vector{bad}, some, 0, soon()));
  EXPECT_ANSWER(invalid, tier->commit({}, {}, 0, soon()));
  EXPECT_THAT(settings_of(*tier), ElementsAre());
  EXPECT_EQ(must(tier->journal_rows(soon())), 0u);
}

TEST_F(TierTest, NamesAndValuesOfSettingsAreAnyBytes) {
  const std::string odd("\0'\xff\n", 4), most(65'535, 'm');
  std::vector<TierSetting> some;
  for (const std::string& name : {odd, most, std::string()})
    for (std::uint8_t kind : {0, 255}) some.push_back({kind, name, name, name, name, name});
  must(tier->commit({}, some, 0, soon()));
  auto found = must(tier->settings(soon()));
  ASSERT_EQ(found.size(), some.size());
  for (const TierSetting& of : found)
    EXPECT_TRUE(of.scope == of.ns && of.ns == of.name && of.name == of.cursor && of.cursor == of.value);
}

// ------------------------------------------------------------------------------------------------------------------ trims

TEST_F(TierTest, ATrimKeepsWhatIsWantedAndLsnGoesOn) {
  JournalEntry note;
  note.kind = JournalEntry::Kind::note, note.stream = 2, note.seq = 3, note.flags = 7, note.payload = "note";
  for (std::uint64_t seq = 1; seq <= 10; seq++)
    ASSERT_OK(
        commit_all(*tier, {push_of(1, seq, "x" + std::to_string(seq)), ack_of(2, 100 - seq, 100 - seq)}));
  ASSERT_OK(commit_all(*tier, {note}));
  auto keep = [](const JournalEntry& entry) {
    return entry.kind != JournalEntry::Kind::push || entry.birth_seq == 4;
  };
  ASSERT_OK(tier->trim(1000, keep, soon()));
  EXPECT_EQ(must(tier->journal_rows(soon())), 1u);
  EXPECT_EQ(must(tier->last_lsn(soon())), 12u);
  EXPECT_THAT(journal_of(*tier),
              UnorderedElementsAre("push 1:4 at 1:4 x0 'x4'", "ack 2:90-99", "note 0:0 at 2:3 x0 'note'"));
  EXPECT_EQ(must(commit_all(*tier, {push_of(1, 11, "x")}, 12)), 13u);
}

TEST_F(TierTest, ATrimOfEverythingLeavesARowSoThatLsnNeverFalls) {
  auto nothing = [](const JournalEntry&) { return false; };
  EXPECT_OK(tier->trim(10, nothing, soon()));
  EXPECT_EQ(must(tier->journal_rows(soon())), 0u);
  ASSERT_OK(commit_all(*tier, {push_of(1, 1, "x")}));
  ASSERT_OK(tier->trim(10, nothing, soon()));
  EXPECT_THAT(journal_of(*tier), IsEmpty());
  EXPECT_EQ(must(tier->journal_rows(soon())), 1u);
  std::uint64_t lsn = must(tier->last_lsn(soon()));
  ASSERT_OK(tier->trim(10, nothing, soon()));  // nothing to do: no commit
  EXPECT_EQ(must(tier->last_lsn(soon())), lsn);
  reopen();
  EXPECT_EQ(must(commit_all(*tier, {push_of(1, 2, "x")}, lsn)), lsn + 1);
}

TEST_F(TierTest, ATrimOfTheOldestRowsLeavesTheOthers) {
  for (std::uint64_t seq = 1; seq <= 5; seq++) ASSERT_OK(commit_all(*tier, {push_of(1, seq, "x")}));
  std::set<std::uint64_t> asked;
  auto keep = [&](const JournalEntry& entry) { return asked.insert(entry.birth_seq), false; };
  ASSERT_OK(tier->trim(3, keep, soon()));
  EXPECT_THAT(asked, ElementsAre(1, 2, 3));
  EXPECT_THAT(journal_of(*tier), ElementsAre("push 1:4 at 1:4 x0 'x'", "push 1:5 at 1:5 x0 'x'"));
}

TEST_F(TierTest, BigSurvivorsAreSpreadOverRows) {
  std::string big(700'000, 'b');
  for (std::uint64_t seq = 1; seq <= 5; seq++) ASSERT_OK(commit_all(*tier, {push_of(1, seq, big)}));
  ASSERT_OK(tier->trim(
      5, [](const JournalEntry&) { return true; }, soon()));
  EXPECT_EQ(must(tier->journal_rows(soon())), 5u);
  EXPECT_EQ(survivors_of(*tier).size(), 5u);
}

// While one trim asks what to keep, another takes the same rows away.
TEST_F(TierTest, ATrimThatLosesARaceDoesNothing) {
  for (std::uint64_t seq = 1; seq <= 4; seq++) ASSERT_OK(commit_all(*tier, {push_of(1, seq, "x")}));
  auto other = tier_in(folder.path());
  bool first = true;
  auto keep = [&](const JournalEntry& entry) {
    if (std::exchange(first, false)) {
      EXPECT_OK(other->trim(
          10, [](const JournalEntry& e) { return e.birth_seq > 2; }, soon()));
    }
    return entry.birth_seq != 3;
  };
  ASSERT_OK(tier->trim(10, keep, soon()));
  EXPECT_THAT(journal_of(*tier), ElementsAre("push 1:3 at 1:3 x0 'x'", "push 1:4 at 1:4 x0 'x'"));
}

TEST(JournalRow, AnyBytesDecodeOrAreRefused) {
  WITH_SEED(seed);
  Random random(seed);
  std::vector<JournalEntry> entries{push_of(1, 1ULL << 50, "payload"), ack_of(3, 4, kHighest),
                                    push_of(7, 0, "")};
  std::string good = encode_entries(entries);
  for (int round = 0; round < 20'000; round++) {
    std::string bytes = good;
    for (std::uint64_t n = random.below(4); n > 0; n--)
      bytes[random.below(bytes.size())] = static_cast<char>(random.below(256));
    bytes.resize(random.below(bytes.size() + 1));
    std::size_t payload = 0;
    Status visited;
    auto visit = [&](const JournalEntry& entry) {
      payload += entry.payload.size();
      EXPECT_OK(check_entry(entry));
      return Status();
    };
    (void)decode_entries(bytes, visit, visited);
    EXPECT_LE(payload, bytes.size());
  }
}

TEST(IdRanges, UniteWhatTouches) {
  IdRanges ranges;
  using Ranges = std::map<std::uint64_t, std::uint64_t>;
  ranges.add(5, 6);
  ranges.add(9, 9);
  EXPECT_EQ(ranges.all(), (Ranges{{5, 6}, {9, 9}}));
  ranges.add(7, 8);
  EXPECT_EQ(ranges.all(), (Ranges{{5, 9}}));
  ranges.add(0, 3);
  ranges.add(2, 20);
  EXPECT_EQ(ranges.all(), (Ranges{{0, 20}}));
  EXPECT_TRUE(ranges.contains(20));
  EXPECT_FALSE(ranges.contains(21));
}

// -------------------------------------------------------------------------------------------------------- the whole store

TEST_F(TierTest, ASecondOpenerFindsTheSameStore) {
  auto other = must(try_tier(folder.path(), false, tier->identity()));
  EXPECT_TRUE(other->identity() == tier->identity());
  store(1, 1, 1, "x");
  EXPECT_EQ(must(other->load(1, 1, soon())).bytes, "x");
}

TEST(Tier, IsNotMadeUnlessAskedFor) {
  TestFolder folder;
  EXPECT_ANSWER(not_found, try_tier(folder.path(), false));
  EXPECT_FALSE(std::filesystem::exists(folder.file("journal.db")));
  EXPECT_ANSWER(not_found, try_tier(folder.path() + "/absent"));
  ASSERT_OK(try_tier(folder.path(), true));
  EXPECT_OK(try_tier(folder.path(), false));
}

TEST(Tier, FilesAreForTheirOwnerOnly) {
  TestFolder folder;
  mode_t before = ::umask(0);
  auto tier = tier_in(folder.path());
  ASSERT_OK(tier->declare(names_of(1), soon()));
  ASSERT_OK(store_one(*tier, page_of(1, 1, 1, "x")));
  ::umask(before);
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    EXPECT_EQ(static_cast<unsigned>(entry.status().permissions()), 0600u) << entry.path();
  EXPECT_OK(remove_tier(folder.path(), [] { return Status(); }));
  EXPECT_FALSE(std::filesystem::exists(folder.file("spill.db")));
  EXPECT_FALSE(std::filesystem::exists(folder.file("journal.db-wal")));
}

TEST_F(TierTest, AnotherEpochEndsTheOldOne) {
  auto old = tier_in(folder.path());
  TierIdentity before = tier->identity();
  ASSERT_OK(tier->begin_epoch(before.epoch + 1, soon()));
  ASSERT_OK(tier->begin_epoch(before.epoch + 1, soon()));  // who was killed after it does it again
  EXPECT_ANSWER(invalid, tier->begin_epoch(before.epoch, soon()));
  EXPECT_EQ(tier->identity().epoch, before.epoch + 1);
  EXPECT_OK(store_one(*tier, page_of(1, 1, 1, "x")));
  Status stale = store_one(*old, page_of(1, 2, 2, "x"));
  EXPECT_ANSWER(removed, stale);
  EXPECT_THAT(stale.text(), HasSubstr("epoch 2"));
  EXPECT_ANSWER(removed, commit_all(*old, {push_of(1, 1, "x")}));
  EXPECT_ANSWER(removed, old->declare(names_of(9), soon()));
  EXPECT_ANSWER(removed, try_tier(folder.path(), false, before));
  reopen();
  EXPECT_EQ(tier->identity().epoch, before.epoch + 1);
}

TEST_F(TierTest, TheWalIsCheckpointedOnTheWay) {
  for (std::uint64_t round = 0; round < 20; round++) {
    std::string bytes = patterned(round, 64 << 10);  // SQLite does not write what is there already
    std::vector<TierPage> pages;
    for (std::uint64_t first = 1; first <= 16; first++) pages.push_back(page_of(1, first, first, bytes));
    ASSERT_OK(tier->store(pages, soon()));
  }
  TierFigures figures = tier->figures();
  EXPECT_OK(figures.upkeep);
  EXPECT_GE(figures.checkpoints, 3u);
  EXPECT_LT(figures.wal_bytes, 8u << 20);
  EXPECT_EQ(figures.pages_stored, 320u);
  EXPECT_EQ(figures.failed_syncs, 0u);
}

TEST_F(TierTest, AMostlyEmptyFileGivesItsSpaceBack) {
  std::string bytes = patterned(1, 64 << 10);
  for (std::uint64_t first = 1; first <= 400; first++) store(1, first, first, bytes);
  ASSERT_OK(tier->erase_upto(1, 399, soon()));
  std::uint64_t before = tier->figures().file_bytes;
  ASSERT_OK(tier->maintain(soon()));
  TierFigures figures = tier->figures();
  EXPECT_EQ(figures.vacuums, 1u);
  EXPECT_LT(figures.file_bytes - figures.wal_bytes, 1u << 20) << before;
  EXPECT_EQ(must(tier->load(1, 400, soon())).bytes, bytes);
  ASSERT_OK(tier->maintain(soon()));
  EXPECT_EQ(tier->figures().vacuums, 1u);
}

TEST_F(TierTest, ABarrierIsOneSyncedCommit) {
  std::uint64_t before = tier->figures().full_commits;
  store(1, 1, 1, "x");
  EXPECT_EQ(tier->figures().full_commits, before);
  ASSERT_OK(tier->barrier(soon()));
  EXPECT_EQ(tier->figures().full_commits, before + 1);
  store(1, 2, 2, "x");
  EXPECT_EQ(tier->figures().full_commits, before + 1);
}

TEST(Tier, LeavesNoDescriptorsBehind) {
  TestFolder folder;
  std::size_t before = open_descriptors();
  for (int i = 0; i < 5; i++) tier_in(folder.path());
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(TierTest, APathThatIsRelativeSurvivesAChangeOfFolder) {
  std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  auto other = tier_in(".");
  std::filesystem::current_path("/");
  EXPECT_OK(store_one(*other, page_of(1, 1, 1, "x")));
  std::filesystem::current_path(before);
}

}  // namespace
