// A stream over two tiers, with a durable tier in memory: order, ids and reads are continuous whether a record is hot or spilled; what the
// tier answers reaches who needs it, and nothing is lost.
#include <gtest/gtest.h>

#include "src/attachment.h"
#include "src/spill.h"
#include "src/tier_side.h"
#include "support/fake_tier_pond.h"

namespace {

using namespace support;
using internal::Spilled;

Options small(OnFull on_full = OnFull::spill) {
  Options options;
  options.limit_bytes = 1 << 20, options.max_page_bytes = 4096, options.on_full = on_full;
  options.full_timeout = milliseconds(0);
  return options;
}

class SpillTest : public FakeTierPond {
 protected:
  explicit SpillTest(Options options = small()) : FakeTierPond(std::move(options)) {}

  void push(std::uint64_t from, std::uint64_t to, std::size_t size = 100, Bytes name = "work") {
    Queue to_queue = queue(name);
    for (std::uint64_t n = from; n <= to; n++) EXPECT_OK(to_queue.push(patterned(n, size)));
  }
  void append(std::uint64_t from, std::uint64_t to, std::size_t size = 100) {
    Log to_log = log();
    for (std::uint64_t n = from; n <= to; n++) EXPECT_OK(to_log.append(patterned(n, size)));
  }
  /// Everything that may go, or about so many bytes.
  std::uint64_t spill(std::uint64_t bytes = ~0ULL) {
    Spilled out;
    std::uint64_t pages = ~0ULL;
    while (pages != out.pages && out.bytes < bytes) {
      pages = out.pages;
      EXPECT_OK(internal::spill_some(*attachment->thread(), bytes, out));
    }
    return out.pages;
  }
  void erase_forgotten() { attachment->tier_side().erase_forgotten(*attachment->thread(), true); }
};

TEST_F(SpillTest, ItemsComeInOrderOverBothTiersEachOnce) {
  push(1, 3000);
  ASSERT_GT(spill(), 10u);
  EXPECT_TRUE(clean(*pond));
  EXPECT_GT(tier->rows(), 10u);
  push(3001, 3100);
  EXPECT_EQ(*queue().size(), 3100u);
  EXPECT_EQ(popped(), numbers(1, 3100));
  EXPECT_TRUE(clean(*pond));
  erase_forgotten();
  EXPECT_EQ(tier->rows(), 0u) << "rows whose items are done are erased";
}

TEST_F(SpillTest, IdsGoOnOverAGap) {
  push(1, 2000);
  spill();
  auto id = queue().push("next");
  ASSERT_TRUE(id);
  EXPECT_EQ(id->seq(), 2001u);
  auto items = must(queue().peek(SIZE_MAX));
  ASSERT_EQ(items.size(), 2001u);
  for (std::uint64_t n = 1; n <= 2000; n++) ASSERT_EQ(items[n - 1].id.seq(), n);
  EXPECT_TRUE(clean(*pond));
}

TEST_F(SpillTest, AClaimKeepsItsPageInMemoryAndSplitsTheGap) {
  push(1, 1000);
  auto claims = must(queue().claim_many(500));
  ASSERT_EQ(claims.size(), 500u);
  for (std::size_t i = 0; i < claims.size(); i++)
    if (i != 250) {
      EXPECT_OK(claims[i].nack());
    }
  ASSERT_GT(spill(), 0u);
  EXPECT_TRUE(clean(*pond));
  EXPECT_OK(claims[250].nack());
  EXPECT_EQ(popped(), numbers(1, 1000));
  EXPECT_TRUE(clean(*pond));
}

TEST_F(SpillTest, AFullPondMakesRoomForWhatIsBuriedOrDelayed) {
  EXPECT_OK(queue().configure({.max_attempts = 1}));
  push(1, 30'000);
  for (std::uint64_t n = 1; n <= 30'000; n++) {
    auto claim = must(queue().claim());
    ASSERT_OK(n % 2 ? claim.bury("no") : claim.nack({.delay = std::chrono::hours(1)})) << n;
  }
  QueueStats stats = must(queue().stats());
  EXPECT_EQ(stats.dead, 15'000u);
  EXPECT_EQ(stats.delayed, 15'000u);
  EXPECT_EQ(stats.ready + stats.claimed, 0u);
  EXPECT_TRUE(clean(*pond));
  EXPECT_EQ(must(queue().redrive()), 15'000u);
  stats = must(queue().stats());
  EXPECT_EQ(stats.dead, 0u);
  EXPECT_EQ(stats.ready, 15'000u);
  EXPECT_EQ(stats.delayed, 15'000u);
  EXPECT_TRUE(clean(*pond));
}

TEST_F(SpillTest, WhatIsDoneInASpilledPageStaysDone) {
  push(1, 1000);
  std::vector<std::uint64_t> expected;
  auto claims = must(queue().claim_many(1000));
  for (std::size_t i = 0; i < claims.size(); i++)
    if (i % 3 == 1) {
      EXPECT_OK(claims[i].ack());
    } else {
      EXPECT_OK(claims[i].nack());
      expected.push_back(i + 1);
    }
  ASSERT_GT(spill(), 0u);
  EXPECT_EQ(*queue().size(), expected.size());
  EXPECT_TRUE(clean(*pond));
  // the attempt is counted over the disk
  auto again = must(queue().claim_many(1000));
  ASSERT_EQ(again.size(), expected.size());
  for (std::size_t i = 0; i < again.size(); i++) {
    ASSERT_EQ(number_of(again[i].payload()), expected[i]);
    ASSERT_EQ(again[i].attempts(), 2u);
    EXPECT_OK(again[i].ack());
  }
  EXPECT_EQ(*queue().size(), 0u);
  EXPECT_TRUE(clean(*pond));
}

TEST_F(SpillTest, APageThatWasRefilledAndPartlyConsumedCanBeSpilledAgain) {
  push(1, 2000);
  for (std::uint64_t next = 1; next <= 2000;) {
    spill();
    ASSERT_TRUE(clean(*pond)) << next;
    for (int i = 0; i < 37 && next <= 2000; i++, next++) ASSERT_EQ(number_of(must(queue().pop())), next);
    ASSERT_EQ(*queue().size(), 2000 - next + 1);
  }
  EXPECT_ANSWER(empty, queue().pop());
  erase_forgotten();
  EXPECT_EQ(tier->rows(), 0u);
}

TEST_F(SpillTest, AFullSegmentSpillsAndGoesOn) {
  push(1, 40'000);  // 5 MiB through 1 MiB
  EXPECT_GT(tier->rows(), 100u);
  EXPECT_EQ(*queue().size(), 40'000u);
  EXPECT_TRUE(clean(*pond));
  EXPECT_EQ(popped(), numbers(1, 40'000));
  EXPECT_TRUE(clean(*pond));
  erase_forgotten();
  EXPECT_EQ(tier->rows(), 0u);
}

TEST_F(SpillTest, AFullSegmentStillRefills) {
  push(1, 20'000);
  // another queue fills what is left, and can't be spilled: every item of it is claimed
  std::vector<Claim> held;
  for (std::uint64_t n = 1; n <= 2000; n++) {
    if (!queue("held").push(patterned(n, 100))) break;
    auto claim = queue("held").claim();
    if (claim) held.push_back(std::move(*claim));
  }
  EXPECT_EQ(popped(), numbers(1, 20'000));
  EXPECT_TRUE(clean(*pond));
}

TEST_F(SpillTest, LargeItemsInPagesOfTheirOwnGoOutAndComeBack) {
  push(1, 200, 30'000);  // 6 MB
  EXPECT_GT(tier->rows(), 50u);
  EXPECT_EQ(popped(), numbers(1, 200));
  EXPECT_TRUE(clean(*pond));
}

TEST_F(SpillTest, APageTooLargeToComeBackStays) {
  push(1, 1, 10);
  push(2, 4, 300'000);
  push(5, 200, 100);
  spill();
  tier->with_rows([](auto& rows) {
    for (auto& [key, row] : rows) EXPECT_LE(row.bytes.size(), 262'144u);
  });
  EXPECT_EQ(popped(), numbers(1, 200));
}

TEST_F(SpillTest, PrioritiesKeepTheirOrderAndDelayedItemsStayInMemory) {
  Queue q = queue();
  for (std::uint64_t n = 1; n <= 500; n++) {
    EXPECT_OK(q.push(patterned(n, 100), {.priority = 1}));
    EXPECT_OK(q.push(patterned(1000 + n, 100), {.priority = 5}));
    EXPECT_OK(q.push(patterned(2000 + n, 100), {.delay = std::chrono::hours(1)}));
  }
  ASSERT_GT(spill(), 5u);
  EXPECT_TRUE(clean(*pond));
  auto stats = must(q.stats());
  EXPECT_EQ(stats.ready, 1000u);
  EXPECT_EQ(stats.delayed, 500u);
  EXPECT_GT(stats.spilled, 0u);
  std::vector<std::uint64_t> expected = numbers(1001, 1500), low = numbers(1, 500);
  expected.insert(expected.end(), low.begin(), low.end());
  EXPECT_EQ(popped(), expected);
}

TEST_F(SpillTest, DeadLettersAreSpilledShownAndRedriven) {
  push(1, 300);
  for (int i = 0; i < 300; i++) EXPECT_OK(must(queue().claim()).bury("why"));
  ASSERT_GT(spill(), 3u);
  auto dead = must(queue().dead());
  ASSERT_EQ(dead.size(), 300u);
  for (std::size_t i = 0; i < dead.size(); i++) {
    EXPECT_EQ(dead[i].id.seq(), i + 1);
    EXPECT_EQ(number_of(dead[i].payload), i + 1);
    EXPECT_EQ(dead[i].reason, "why");
  }
  EXPECT_EQ(*queue().redrive(), 300u);
  EXPECT_EQ(popped(), numbers(1, 300));
  EXPECT_TRUE(clean(*pond));
}

TEST_F(SpillTest, StatsCountWhatIsSpilled) {
  push(1, 1000);
  QueueStats before = must(queue().stats());
  spill();
  QueueStats after = must(queue().stats());
  EXPECT_EQ(after.ready, before.ready);
  EXPECT_EQ(after.payload_bytes, before.payload_bytes);
  EXPECT_LT(after.page_bytes, before.page_bytes / 4);
  EXPECT_GT(after.spilled, 800u);
}

TEST_F(SpillTest, ASpilledItemCanBeCancelled) {
  push(1, 1000);
  auto items = must(queue().peek(1000));
  spill();
  EXPECT_OK(queue().cancel(items[699].id));
  EXPECT_ANSWER(not_found, queue().cancel(items[699].id));
  std::vector<std::uint64_t> expected = numbers(1, 1000);
  expected.erase(expected.begin() + 699);
  EXPECT_EQ(*queue().size(), 999u);
  EXPECT_EQ(popped(), expected);
  EXPECT_TRUE(clean(*pond));
}

TEST_F(SpillTest, ClearTakesWhatIsSpilledToo) {
  push(1, 3000);
  spill();
  push(3001, 3050);
  EXPECT_EQ(*queue().clear(), 3050u);
  EXPECT_EQ(tier->rows(), 0u);
  EXPECT_EQ(tier->declared(), 0u);
  EXPECT_ANSWER(empty, queue().pop());
  auto id = queue().push("next");
  ASSERT_TRUE(id);
  EXPECT_EQ(id->seq(), 3051u);
  EXPECT_TRUE(clean(*pond));
}

TEST_F(SpillTest, ASpillerThatIsLateStoresNoRowOfAStreamThatIsForgotten) {
  push(1, 3000);
  ASSERT_GT(spill(100'000), 5u);
  std::uint64_t cleared = 0;
  tier->before_store = [&] {  // its pages are SPILLING just now
    cleared = must(queue().clear());
    EXPECT_GT(tier->declared(), 0u) << "forgotten while a spiller was on its way";
  };
  Spilled out;
  EXPECT_OK(internal::spill_some(*attachment->thread(), 100'000, out));
  EXPECT_EQ(out.pages, 0u);
  EXPECT_EQ(cleared, 3000u);
  EXPECT_EQ(tier->rows(), 0u);
  EXPECT_EQ(tier->declared(), 0u);
  EXPECT_TRUE(clean(*pond));
}

TEST_F(SpillTest, AClearThatTheTierCannotWriteAnswersSoAndClearsNothing) {
  push(1, 3000);
  spill();
  std::uint64_t items = *queue().size();
  tier->fail_erasing(Status(Code::system, "the disk is broken", 5));
  EXPECT_ANSWER(system, queue().clear());  // and nothing has happened
  EXPECT_EQ(*queue().size(), items);
  tier->fail_erasing({});
  EXPECT_EQ(*queue().clear(), items);
  EXPECT_ANSWER(empty, queue().pop());
  EXPECT_TRUE(clean(*pond));
}

// --------------------------------------------------------------------------------------------------------------------- logs

TEST_F(SpillTest, AScanReadsOverAGapWithoutBringingItBack) {
  append(1, 3000);
  ASSERT_GT(spill(), 10u);
  std::uint64_t pages = must(pond->stats()).page_bytes;
  auto records = read_all(log());
  ASSERT_EQ(records.size(), 3000u);
  for (std::uint64_t n = 1; n <= 3000; n++) {
    ASSERT_EQ(records[n - 1].first, n);
    ASSERT_EQ(number_of(records[n - 1].second), n);
  }
  EXPECT_EQ(must(pond->stats()).page_bytes, pages);
  EXPECT_EQ(*log().last_seq(), 3000u);
  LogStats stats = must(log().stats());
  EXPECT_EQ(stats.records, 3000u);
  EXPECT_EQ(stats.first_seq, 1u);
  EXPECT_EQ(stats.payload_bytes, 300'000u);
  EXPECT_GT(stats.spilled, 2000u);
  for (std::int64_t after : {0, 1, 29, 500, 1234, 2998, 2999}) {
    auto rest = read_all(log(), {.after = after});
    ASSERT_EQ(rest.size(), 3000u - static_cast<std::uint64_t>(after));
    ASSERT_EQ(rest.front().first, static_cast<std::uint64_t>(after) + 1);
  }
  EXPECT_TRUE(clean(*pond));
}

TEST_F(SpillTest, ARowIsLoadedOnceForAScan) {
  append(1, 1000);
  spill();
  std::uint64_t before = tier->loads();
  ASSERT_EQ(read_all(log()).size(), 1000u);
  EXPECT_EQ(tier->loads() - before, tier->rows());
}

TEST_F(SpillTest, AScanGoesOnWhenItsPagesAreSpilledUnderIt) {
  append(1, 2000);
  Scan scan = log().scan();
  std::uint64_t next = 1;
  for (const Record& record : scan) {
    ASSERT_EQ(record.seq, next);
    ASSERT_EQ(number_of(record.payload), next);
    if (next % 100 == 0) spill(1 << 15);
    if (next == 1000) append(2001, 2100);
    next++;
  }
  EXPECT_EQ(next, 2101u);
  EXPECT_GT(tier->rows(), 10u);
  EXPECT_TRUE(clean(*pond));
}

TEST_F(SpillTest, AFollowerComesFromTheTierIntoMemory) {
  append(1, 1000);
  spill();
  Follower follower = log().follow(0);
  for (std::uint64_t n = 1; n <= 1000; n++) ASSERT_EQ(must(follower.next(milliseconds(0))).seq, n);
  EXPECT_ANSWER(timeout, follower.next(milliseconds(0)));
  append(1001, 1001);
  EXPECT_EQ(must(follower.next(milliseconds(0))).seq, 1001u);
}

TEST_F(SpillTest, TrimErasesRowsBelow) {
  append(1, 3000);
  spill();
  std::size_t rows = tier->rows();
  EXPECT_EQ(*log().trim(1501), 1501u);
  EXPECT_LT(tier->rows(), rows * 2 / 3);
  EXPECT_GT(tier->rows(), rows / 3);
  EXPECT_TRUE(clean(*pond));
  auto records = read_all(log());
  ASSERT_EQ(records.size(), 1500u);
  EXPECT_EQ(records.front().first, 1501u);
  EXPECT_EQ(must(log().stats()).first_seq, 1501u);
  EXPECT_EQ(must(log().stats()).records, 1500u);
  EXPECT_EQ(*log().trim(2999), 2999u);
  EXPECT_EQ(tier->rows(), 0u);
  EXPECT_EQ(read_all(log()).size(), 2u);
  EXPECT_TRUE(clean(*pond));
  append(3001, 3500);
  EXPECT_EQ(read_all(log()).size(), 502u);
}

TEST_F(SpillTest, TrimUnderAnOpenScanIsSkipped) {
  append(1, 2000);
  spill();
  Scan scan = log().scan();
  ASSERT_TRUE(scan.next());
  EXPECT_EQ(scan.record().seq, 1u);
  EXPECT_OK(log().trim(1000));
  std::uint64_t next = 0, count = 0;
  for (; scan.next(); count++) {
    if (!next) next = scan.record().seq;
    ASSERT_EQ(scan.record().seq, next++);
  }
  EXPECT_OK(scan.status());
  EXPECT_EQ(next, 2001u);
  EXPECT_GE(count, 1001u);
}

TEST_F(SpillTest, AFullSegmentSpillsItsLog) {
  append(1, 40'000);
  auto records = read_all(log());
  ASSERT_EQ(records.size(), 40'000u);
  for (std::uint64_t n = 1; n <= 40'000; n++) ASSERT_EQ(number_of(records[n - 1].second), n);
  EXPECT_EQ(*log().clear(), 40'000u);
  EXPECT_EQ(tier->rows(), 0u);
  EXPECT_TRUE(clean(*pond));
}

// ------------------------------------------------------------------------------------------------------------------- errors

TEST_F(SpillTest, WithAFailingTierAFullSegmentIsThatErrorAndGoesOnWhenItIsGone) {
  tier->fail_stores(Status(Code::full, "no space left on the disk", 28));
  std::uint64_t pushed = 0;
  Result<ItemId> last = ItemId{};
  while ((last = queue().push(patterned(pushed + 1, 100)))) pushed++;
  EXPECT_ANSWER(full, last);
  EXPECT_EQ(last.status().error_number(), 28);
  EXPECT_EQ(last.status().text().find("no space left on the disk") != std::string::npos, true)
      << last.status().text();
  EXPECT_EQ(*queue().size(), pushed);
  EXPECT_TRUE(clean(*pond));
  tier->fail_stores({});
  push(pushed + 1, pushed + 5000);
  EXPECT_EQ(popped(), numbers(1, pushed + 5000));
  EXPECT_TRUE(clean(*pond));
}

TEST_F(SpillTest, WhatCannotBeReadIsTheClaimersErrorAndComesLater) {
  push(1, 1000);
  spill();
  tier->fail_loads(Status(Code::system, "the disk is broken", 5));
  std::uint64_t next = 1;
  Result<std::string> item = std::string();
  while ((item = queue().pop())) ASSERT_EQ(number_of(*item), next++);
  EXPECT_ANSWER(system, item);
  EXPECT_ANSWER(system, queue().claim(milliseconds(1)));
  tier->fail_loads(Status(Code::timeout));
  EXPECT_ANSWER(timeout, queue().pop());
  tier->fail_loads({});
  EXPECT_EQ(popped(), numbers(next, 1000));
}

TEST_F(SpillTest, AMissingRowIsCorruptionAndNeverSkipped) {
  push(1, 1000);
  append(1, 1000);
  spill();
  tier->with_rows([](auto& rows) {
    std::uint64_t stream = 0;
    for (auto at = rows.begin(); at != rows.end();) {
      bool third = at->first.first != stream;
      stream = at->first.first;
      at = third ? rows.erase(at) : std::next(at);
    }
  });
  EXPECT_FALSE(clean(*pond));
  Result<std::string> item = std::string();
  std::uint64_t next = 1;
  while ((item = queue().pop())) ASSERT_EQ(number_of(*item), next++);
  EXPECT_ANSWER(corruption, item);
  EXPECT_LT(next, 1000u);
  Scan scan = log().scan();
  while (scan.next()) {
  }
  EXPECT_ANSWER(corruption, scan.status());
}

TEST_F(SpillTest, ADamagedRowIsCorruption) {
  push(1, 1000);
  spill();
  tier->with_rows([](auto& rows) {
    for (auto& [key, row] : rows) row.bytes[8] ^= 8;
  });
  Result<std::string> item = std::string();
  while ((item = queue().pop())) {
  }
  EXPECT_ANSWER(corruption, item);
  EXPECT_FALSE(clean(*pond));
}

TEST_F(SpillTest, NothingTouchesTheTierWithoutAGap) {
  push(1, 500);
  EXPECT_EQ(popped(), numbers(1, 500));
  append(1, 100);
  EXPECT_OK(log().trim(50));
  EXPECT_OK(queue().clear());
  EXPECT_TRUE(clean(*pond));
  EXPECT_EQ(tier->loads(), 0u);
  EXPECT_EQ(tier->declared(), 0u);
}

class NeverSpill : public SpillTest {
 protected:
  NeverSpill() : SpillTest(small(OnFull::fail)) {}
};

TEST_F(NeverSpill, FailAnswersFullAndSpillsNothing) {
  std::uint64_t pushed = 0;
  while (queue().push(patterned(pushed + 1, 100))) pushed++;
  EXPECT_ANSWER(full, queue().push(patterned(1, 100)));
  EXPECT_EQ(tier->rows(), 0u);
  EXPECT_EQ(popped(), numbers(1, pushed));
}

}  // namespace
