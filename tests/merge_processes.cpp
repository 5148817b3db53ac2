// What the journal says of a pond whose segment is gone, and how it comes together with rows: each live item once, at its last place.

#include <gmock/gmock.h>

#include <cstring>

#include "src/layout.h"
#include "support/foreign.h"
#include "support/test_pond.h"
#include "support/test_tier.h"

namespace {

using namespace support;
using internal::DeadPrefix;
using internal::DelayedPrefix;
using internal::Kind;

constexpr std::uint64_t kHot = 900;  // a stream's id in the tier, without the lane
constexpr std::uint64_t lane(std::uint64_t number) { return kHot << 4 | number; }

class Merge : public ::testing::Test {
 protected:
  Merge() {
    Options options;
    options.limit_bytes = 4 << 20, options.max_page_bytes = 4096;
    pond_.emplace(std::move(options));
    { Pond opened = pond_->open(); }
    ::unlink(pond_->segment_path().c_str());
    tier = tier_in(pond_->folder());
    for (std::uint64_t number : {0, 3, 8, 9}) declare(lane(number));
  }
  void declare(std::uint64_t stream, Kind kind = Kind::queue) {
    must(tier->declare(
        {stream, "scope", kind == Kind::log ? "audit" : "work", "", static_cast<std::uint8_t>(kind), 0},
        soon()));
  }
  void commit(const std::vector<JournalEntry>& entries) { must(commit_all(*tier, entries)); }
  /// A push of the item that was born there, to another lane.
  static JournalEntry move_of(std::uint64_t birth, std::uint64_t to, std::uint64_t seq, Bytes payload,
                              std::uint32_t moves) {
    JournalEntry entry = push_of(lane(0), birth, payload, moves);
    entry.stream = to, entry.seq = seq;
    return entry;
  }
  template <class Prefix>
  static std::string with(const Prefix& prefix, Bytes rest) {
    return std::string(reinterpret_cast<const char*>(&prefix), sizeof prefix).append(rest);
  }
  /// Opens the pond anew, as after a reboot.
  Pond reboot() {
    tier.reset();
    ::unlink(pond_->segment_path().c_str());
    return pond_->open();
  }
  Pond reboot_and_check() {
    Pond opened = reboot();
    EXPECT_TRUE(clean(opened));
    return opened;
  }
  static Queue work(const Pond& opened) { return opened.scope("scope").queue("work"); }
  /// Rows as a pond's life makes them: of the items 1 to 40, 60 bytes each, in ten rows.
  void store_rows() {
    tier.reset();
    Process life([&] {
      Options options;
      options.limit_bytes = 1 << 20, options.max_page_bytes = 1024;
      Pond opened = must(Pond::open("rows-of-" + pond_->name(), options));
      for (std::uint64_t n = 1; n <= 20'000; n++) must(work(opened).push(patterned(n, 60)));
    });
    ASSERT_EQ(life.wait(), 0);
    auto source = must(try_tier(pond_->home() / ("rows-of-" + pond_->name()), false));
    tier = tier_in(pond_->folder());
    std::uint64_t stream = must(source->streams_with_rows(soon())).at(0);
    std::vector<TierSpan> spans;
    must(source->list(
        stream, [&](const TierSpan& span) { return spans.push_back(span), Status(); }, soon()));
    for (std::size_t i = 0; i < 10; i++) {
      TierRow row = must(source->load(stream, spans[i].first, soon()));
      TierPage page{lane(0), row.first, row.last, row.records, row.created_ms, row.bytes, false};
      must(tier->store(std::span(&page, 1), soon()));
      rows.push_back(spans[i]);
    }
    source.reset();
    must(Pond::remove("rows-of-" + pond_->name()));
  }
  std::vector<std::uint64_t> all_of_rows() const {
    std::vector<std::uint64_t> out;
    for (const TierSpan& row : rows)
      for (std::uint64_t id = row.first; id <= row.last; id++) out.push_back(id);
    return out;
  }

  std::optional<TestPond> pond_;
  std::unique_ptr<Tier> tier;
  std::vector<TierSpan> rows;
};

TEST_F(Merge, PushesWithoutAcksComeBackUnderTheirIds) {
  commit({push_of(lane(0), 5, "five"), push_of(lane(0), 6, "six"), push_of(lane(0), 70'000, "far away")});
  commit({ack_of(lane(0), 6, 6), push_of(lane(3), 9, "urgent")});
  Pond opened = reboot_and_check();
  EXPECT_EQ(opened.recovered().from_journal, 3u);
  EXPECT_EQ(opened.recovered().items, 3u);
  Claim urgent = must(work(opened).claim());
  EXPECT_EQ(urgent.payload(), "urgent");
  EXPECT_EQ(urgent.id(), (ItemId{3ULL << 60 | 9}));
  Claim five = must(work(opened).claim()), far = must(work(opened).claim());
  EXPECT_EQ(five.payload(), "five");
  EXPECT_EQ(five.id(), ItemId{5});
  EXPECT_EQ(far.payload(), "far away");
  EXPECT_EQ(far.id(), ItemId{70'000});
  EXPECT_ANSWER(empty, work(opened).claim());
  EXPECT_OK(urgent.ack());
  EXPECT_OK(five.ack());
  EXPECT_OK(far.ack());
  EXPECT_TRUE(clean(opened));
}

TEST_F(Merge, TheJournalIsEmptyAfterwardsAndTheRowsSayItAll) {
  commit({push_of(lane(0), 5, "five"), push_of(lane(0), 6, "six")});
  { Pond opened = reboot_and_check(); }
  ::unlink(pond_->segment_path().c_str());
  tier = must(try_tier(pond_->folder(), false));
  EXPECT_TRUE(journal_of(*tier).empty());
  Pond opened = reboot_and_check();
  EXPECT_EQ(opened.recovered().epoch, 3u);
  EXPECT_EQ(opened.recovered().from_journal, 0u);
  EXPECT_EQ(pop_all(work(opened)), (std::vector<std::string>{"five", "six"}));
}

TEST_F(Merge, LogsToo) {
  declare(lane(16), Kind::log);  // another stream
  commit({push_of(lane(16), 3, "three"), push_of(lane(16), 8, "eight")});
  Pond opened = reboot_and_check();
  EXPECT_EQ(read_all(opened.scope("scope").log("audit")),
            (std::vector<std::pair<std::uint64_t, std::string>>{{3, "three"}, {8, "eight"}}));
  EXPECT_EQ(opened.recovered().lost_records, 4u);
}

TEST_F(Merge, ManyAndLargeItems) {
  std::string large = patterned(1'000'000, 1'500'000), empty;
  std::vector<std::string> payloads;
  for (std::uint64_t n = 1; n <= 2000; n++) payloads.push_back(patterned(n, 8 + n % 700));
  std::vector<JournalEntry> entries{push_of(lane(0), 1, large), push_of(lane(0), 2, empty)};
  for (std::uint64_t n = 1; n <= 2000; n++) entries.push_back(push_of(lane(0), 10 + n * 3, payloads[n - 1]));
  commit(entries);
  Pond opened = reboot_and_check();
  EXPECT_EQ(must(work(opened).pop()), large);
  EXPECT_EQ(must(work(opened).pop()), "");
  std::vector<std::uint64_t> expected(2000);
  for (std::uint64_t n = 0; n < 2000; n++) expected[n] = n + 1;
  EXPECT_EQ(pop_numbers(work(opened)), expected);
}

TEST_F(Merge, AnItemOfARowIsNotThereTwice) {
  store_rows();
  auto expected = all_of_rows();
  std::vector<std::string> payloads;
  std::vector<JournalEntry> entries;
  for (std::uint64_t id : expected) payloads.push_back(patterned(id, 60));
  for (std::size_t i = 0; i < expected.size(); i++)
    entries.push_back(push_of(lane(0), expected[i], payloads[i]));
  commit(entries);
  Pond opened = reboot_and_check();
  EXPECT_EQ(opened.recovered().from_journal, 0u);
  EXPECT_EQ(pop_numbers(work(opened)), expected);
}

TEST_F(Merge, AcksReachIntoRows) {
  store_rows();
  auto expected = all_of_rows();
  commit(
      {ack_of(lane(0), rows[2].first, rows[3].last), ack_of(lane(0), rows[5].first + 1, rows[5].first + 1)});
  std::erase_if(expected, [&](std::uint64_t id) {
    return (id >= rows[2].first && id <= rows[3].last) || id == rows[5].first + 1;
  });
  Pond opened = reboot_and_check();
  EXPECT_EQ(opened.recovered().rows, 8u);
  EXPECT_EQ(pop_numbers(work(opened)), expected);
}

TEST_F(Merge, JournalItemsFallBetweenRowsInOrder) {
  store_rows();
  auto expected = all_of_rows();
  std::uint64_t gone = rows[4].first, last = rows[9].last;
  for (std::uint64_t id = rows[4].first; id <= rows[4].last; id++) std::erase(expected, id);
  must(tier->erase(lane(0), std::span(&gone, 1), soon()));
  std::string between = patterned(rows[4].first + 1, 60), behind = patterned(last + 5, 60);
  commit({push_of(lane(0), last + 5, behind), push_of(lane(0), rows[4].first + 1, between)});
  expected.push_back(rows[4].first + 1), expected.push_back(last + 5);
  std::sort(expected.begin(), expected.end());
  Pond opened = reboot_and_check();
  EXPECT_EQ(opened.recovered().from_journal, 2u);
  EXPECT_EQ(pop_numbers(work(opened)), expected);
}

// Its ack was in memory alone: the row knows it, the journal does not, and what was confirmed `durable` is not lost.
TEST_F(Merge, WhatARowCallsDoneAndTheJournalDoesNotComesBack) {
  store_rows();
  std::uint64_t id = rows[3].first + 2;
  commit({ack_of(lane(0), id, id)});
  {
    Pond opened = reboot_and_check();  // now the row says it is done, and the journal nothing
    EXPECT_EQ(opened.recovered().items, all_of_rows().size() - 1);
  }
  ::unlink(pond_->segment_path().c_str());
  tier = must(try_tier(pond_->folder(), false));
  std::string payload = patterned(id, 60);
  commit({push_of(lane(0), id, payload)});
  Pond opened = reboot_and_check();
  EXPECT_EQ(pop_numbers(work(opened)), all_of_rows());
}

// ------------------------------------------------------------------------------------------------------------------------- moved

TEST_F(Merge, AMovedItemIsAtItsLastPlaceOnly) {
  store_rows();
  auto expected = all_of_rows();
  DeadPrefix prefix{};
  prefix.priority = 0, prefix.reason_bytes = 3, prefix.attempts = 2;
  std::string payload = with(prefix, "whypayload"), first = "first place", second = "second place";
  commit({move_of(rows[1].first, lane(9), 4, payload, 1)});
  commit({move_of(20'000, lane(3), 8, second, 2), move_of(20'000, lane(9), 5, with(prefix, "why" + first), 1),
          push_of(lane(0), 20'000, first)});
  std::erase(expected, rows[1].first);
  Pond opened = reboot_and_check();
  Queue queue = work(opened);
  auto dead = must(queue.dead());
  ASSERT_EQ(dead.size(), 1u);
  EXPECT_EQ(dead[0].payload, "payload");
  EXPECT_EQ(dead[0].id, ItemId{rows[1].first});
  Claim moved = must(queue.claim());
  EXPECT_EQ(moved.payload(), second);
  EXPECT_EQ(moved.id(), ItemId{20'000});
  EXPECT_OK(moved.ack());
  EXPECT_EQ(pop_numbers(work(opened)), expected);
  EXPECT_EQ(must(queue.redrive()), 1u);
  EXPECT_EQ(must(queue.pop()), "payload");
}

TEST_F(Merge, DelayedItemsAreSeenWhenTheyAreDue) {
  DelayedPrefix past{}, future{};
  past.due_ms = 1, past.priority = 0;
  future.due_ms = sys::wall_ms() + 3'600'000, future.priority = 0;
  std::vector<JournalEntry> entries;
  std::string due = with(past, "due"), later = with(future, "later");
  for (std::uint64_t n = 1; n <= 300; n++) entries.push_back(push_of(lane(8), n, n % 2 ? due : later));
  commit(entries);
  Pond opened = reboot_and_check();
  EXPECT_EQ(must(work(opened).stats()).delayed, 300u);
  auto items = pop_all(work(opened));
  EXPECT_EQ(items, std::vector<std::string>(150, "due"));
  EXPECT_EQ(must(work(opened).stats()).delayed, 150u);
  EXPECT_TRUE(clean(opened));
}

// ------------------------------------------------------------------------------------------------------------------ cleared, damaged

TEST_F(Merge, ClearedAndUnknownStreamsStayAway) {
  store_rows();
  commit({push_of(lane(0), 90'000, "cleared"), push_of(lane(3), 1, "cleared, too"),
          push_of(77, 1, "forgotten")});
  must(tier->clear(lane(0), (1ULL << 63) - 1, soon()));  // and its author died before the other lanes
  Pond opened = reboot_and_check();
  EXPECT_EQ(opened.recovered().items, 0u);
  EXPECT_TRUE(pop_all(work(opened)).empty());
  EXPECT_EQ(must(work(opened).push("new")).seq(), (2ULL << 40) + 1);
}

TEST_F(Merge, AStreamThatWasFollowedByAnotherIsOver) {
  store_rows();
  must(tier->declare({(kHot + 1) << 4, "scope", "work", "", static_cast<std::uint8_t>(Kind::queue), 0},
                     soon()));
  commit({push_of((kHot + 1) << 4, 8000, "of the successor")});
  Pond opened = reboot_and_check();
  EXPECT_EQ(pop_all(work(opened)), std::vector<std::string>{"of the successor"});
}

TEST_F(Merge, LanesAndIdsThatCannotBeAreCorruption) {
  auto expect_corrupt = [&](const std::string& text) {
    tier.reset();
    auto opened = Pond::open(pond_->name());
    EXPECT_ANSWER(corruption, opened);
    EXPECT_THAT(opened.status().text(), testing::HasSubstr(text));
    EXPECT_FALSE(pond_->exists());
    tier = tier_in(pond_->folder());
  };
  commit({push_of(lane(0), 9ULL << 40, "of an epoch to come")});
  expect_corrupt("never given");
  must(tier->trim(
      UINT32_MAX, [](const JournalEntry&) { return false; }, soon()));
  std::string bytes = "no image";
  std::vector<TierPage> pages{{lane(0), 1, 10, 10, 0, bytes, false}, {lane(0), 5, 20, 10, 0, bytes, false}};
  must(tier->store(pages, soon()));
  expect_corrupt("another row");
  must(tier->erase_upto(lane(0), 1000, soon()));
  declare(lane(12));
  expect_corrupt("kind");
}

TEST_F(Merge, WhatTheJournalHasOfADamagedRowItKeeps) {
  store_rows();
  std::uint64_t id = rows[2].first + 1;
  std::string payload = patterned(id, 60);
  commit({push_of(lane(0), id, payload), ack_of(lane(0), rows[2].first, rows[2].first),
          push_of(lane(0), 90'000, "elsewhere")});
  tier.reset();
  must(must(try_tier(pond_->folder(), false))->barrier(soon()));
  Foreign(pond_->folder() / "spill.db")
      .run("UPDATE page SET checksum = checksum + 1 WHERE first = " + std::to_string(rows[2].first));
  {
    Pond opened = reboot_and_check();
    EXPECT_EQ(opened.recovered().damaged_rows, 1u);
    EXPECT_EQ(opened.recovered().from_journal, 1u);
  }
  ::unlink(pond_->segment_path().c_str());
  tier = must(try_tier(pond_->folder(), false));
  EXPECT_EQ(journal_of(*tier).size(), 2u);
}

}  // namespace
