// Queues: push, claim, ack, nack, delays and leases, one fact a test, in one process.
#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "support/queue_test.h"

namespace {

using namespace headpond;
using namespace support;

// ------------------------------------------------------------------------------------------------- push and claim

TEST_F(QueueTest, ANewQueueIsEmpty) {
  EXPECT_ANSWER(empty, queue_.claim());
  EXPECT_ANSWER(empty, queue_.pop());
  EXPECT_ANSWER(empty, queue_.claim_many(5));
  EXPECT_ANSWER(empty, queue_.pop_many(5));
  EXPECT_EQ(must(queue_.size()), 0u);
  EXPECT_ANSWER(empty, queue_.peek(5));
  EXPECT_TRUE(must(queue_.dead()).empty());
  EXPECT_EQ(must(queue_.redrive()), 0u);
  EXPECT_EQ(must(queue_.clear()), 0u);
}

TEST_F(QueueTest, LookingAtAQueueDoesNotCreateIt) {
  EXPECT_ANSWER(empty, queue_.claim());
  (void)queue_.peek();
  (void)queue_.size();
  EXPECT_EQ(must(pond_.stats()).streams, 0u);
}

TEST_F(QueueTest, ItemsComeFirstInFirstOut) {
  for (int i = 0; i < 1000; ++i) ASSERT_OK(queue_.push(std::to_string(i)));
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(shown(queue_.pop()), std::to_string(i));
  EXPECT_ANSWER(empty, queue_.pop());
}

TEST_F(QueueTest, IdsAreTheSeqsFromOne) {
  for (std::uint64_t i = 1; i <= 300; ++i) {
    const ItemId id = must(queue_.push("x"));
    EXPECT_EQ(id.value, i);
    EXPECT_EQ(id.seq(), i);
    EXPECT_EQ(id.lane(), 0);
  }
  EXPECT_EQ(must(queue_.claim()).id().value, 1u);
}

TEST_F(QueueTest, IdsAreNotUsedAgainAfterTheQueueHasDrained) {
  for (std::uint64_t i = 1; i <= 2000; ++i) {
    ASSERT_EQ(must(queue_.push("some bytes")).value, i);
    ASSERT_OK(queue_.pop());
  }
}

TEST_F(QueueTest, AClaimShowsItsItem) {
  const ItemId id = must(queue_.push("bytes", {.priority = 3}));
  Claim claim = must(queue_.claim());
  EXPECT_EQ(claim.payload(), "bytes");
  EXPECT_EQ(claim.id(), id);
  EXPECT_EQ(claim.id().lane(), 3);
  EXPECT_EQ(claim.priority(), 3);
  EXPECT_EQ(claim.attempts(), 1u);
  EXPECT_EQ(claim.crashes(), 0u);
}

TEST_F(QueueTest, AClaimedItemIsNobodyElses) {
  must(queue_.push("only"));
  Claim claim = must(queue_.claim());
  EXPECT_ANSWER(empty, queue_.claim());
  EXPECT_ANSWER(timeout, queue_.claim(20ms));
  EXPECT_ANSWER(empty, queue_.pop());
  EXPECT_OK(claim.ack());
}

TEST_F(QueueTest, AnAckedItemIsGone) {
  must(queue_.push("x"));
  Claim claim = must(queue_.claim());
  EXPECT_OK(claim.ack());
  EXPECT_ANSWER(empty, queue_.claim());
  const QueueStats stats = must(queue_.stats());
  EXPECT_EQ(stats.ready + stats.claimed + stats.delayed + stats.dead, 0u);
}

TEST_F(QueueTest, ASettledClaimIsFenced) {
  must(queue_.push("x"));
  Claim claim = must(queue_.claim());
  EXPECT_OK(claim.ack());
  EXPECT_ANSWER(fenced, claim.ack());
  EXPECT_ANSWER(fenced, claim.nack());
  EXPECT_ANSWER(fenced, claim.nack({.delay = 1s}));
  EXPECT_ANSWER(fenced, claim.extend(1s));
  EXPECT_ANSWER(fenced, claim.bury("why"));
  EXPECT_ANSWER(empty, queue_.claim());
}

TEST_F(QueueTest, PriorityComesBeforeAge) {
  for (int round = 0; round < 3; ++round) {
    for (int priority = 0; priority < 8; ++priority) {
      must(queue_.push(std::to_string(priority) + "/" + std::to_string(round), {.priority = priority}));
    }
  }
  for (int priority = 7; priority >= 0; --priority) {
    for (int round = 0; round < 3; ++round) {
      EXPECT_EQ(shown(queue_.pop()), std::to_string(priority) + "/" + std::to_string(round));
    }
  }
}

TEST_F(QueueTest, ALaterItemOfHigherPriorityGoesAhead) {
  must(queue_.push("low 1"));
  must(queue_.push("low 2"));
  EXPECT_EQ(shown(queue_.pop()), "low 1");
  must(queue_.push("high", {.priority = 7}));
  EXPECT_EQ(shown(queue_.pop()), "high");
  EXPECT_EQ(shown(queue_.pop()), "low 2");
}

TEST_F(QueueTest, QueuesOfAScopeAreApart) {
  Queue other = pond_.scope("scope").queue("other");
  must(queue_.push("work"));
  must(other.push("other"));
  EXPECT_EQ(shown(other.pop()), "other");
  EXPECT_ANSWER(empty, other.pop());
  EXPECT_EQ(shown(queue_.pop()), "work");
}

TEST_F(QueueTest, HandlesOfTheSameNameAreTheSameQueue) {
  Queue same = pond_.scope("scope").queue("work");
  Queue copy = queue_;
  must(queue_.push("1"));
  must(same.push("2"));
  must(copy.push("3"));
  EXPECT_EQ(shown(copy.pop()), "1");
  EXPECT_EQ(shown(queue_.pop()), "2");
  EXPECT_EQ(shown(same.pop()), "3");
}

TEST_F(QueueTest, AQueueHandleKeepsThePondAttached) {
  Queue kept = [&] {
    Pond pond = test_.open();
    return pond.scope("scope").queue("kept");
  }();
  EXPECT_OK(kept.push("x"));
  EXPECT_EQ(shown(kept.pop()), "x");
}

// ------------------------------------------------------------------------------------------------- nack

TEST_F(QueueTest, ANackedItemComesBackAtItsOldPlace) {
  for (const char* item : {"1", "2", "3"}) must(queue_.push(item));
  Claim first = must(queue_.claim());
  Claim second = must(queue_.claim());
  EXPECT_OK(second.nack());
  EXPECT_OK(first.nack());
  EXPECT_EQ(pop_all(queue_), (Strings{"1", "2", "3"}));
}

TEST_F(QueueTest, ANackedItemComesBackFarBehindTheOthersToo) {
  for (int i = 0; i < 5000; ++i) must(queue_.push(std::to_string(i)));
  std::vector<Claim> claims = must(queue_.claim_many(4000));
  ASSERT_EQ(claims.size(), 4000u);
  EXPECT_EQ(shown(queue_.pop()), "4000");
  EXPECT_OK(claims[2].nack());
  EXPECT_OK(claims[3000].nack());
  EXPECT_EQ(shown(queue_.pop()), "2");
  EXPECT_EQ(shown(queue_.pop()), "3000");
  EXPECT_EQ(shown(queue_.pop()), "4001");
  EXPECT_EQ(queue_.ack_many(claims), 3998u);
}

TEST_F(QueueTest, EveryClaimOfAnItemCountsAsAnAttempt) {
  const ItemId id = must(queue_.push("x"));
  for (std::uint32_t attempt = 1; attempt <= 20; ++attempt) {
    Claim claim = must(queue_.claim());
    EXPECT_EQ(claim.attempts(), attempt);
    EXPECT_EQ(claim.crashes(), 0u);
    EXPECT_EQ(claim.id(), id);
    EXPECT_OK(claim.nack());
    EXPECT_ANSWER(fenced, claim.ack());
  }
}

TEST_F(QueueTest, AClaimThatIsDroppedIsNacked) {
  must(queue_.push("x"));
  { Claim claim = must(queue_.claim()); }
  Claim again = must(queue_.claim());
  EXPECT_EQ(again.payload(), "x");
  EXPECT_EQ(again.attempts(), 2u);
}

TEST_F(QueueTest, AMovedClaimIsSettledOnce) {
  must(queue_.push("1"));
  must(queue_.push("2"));
  Claim first = must(queue_.claim());
  Claim second = must(queue_.claim());
  Claim moved = std::move(first);
  EXPECT_EQ(moved.payload(), "1");
  EXPECT_ANSWER(fenced, first.ack());
  EXPECT_EQ(must(queue_.size()), 0u);
  moved = std::move(second);  // the first one is dropped by this, so nacked
  EXPECT_EQ(moved.payload(), "2");
  EXPECT_EQ(shown(queue_.pop()), "1");
  EXPECT_OK(moved.ack());
  EXPECT_ANSWER(empty, queue_.pop());
}

TEST_F(QueueTest, ANackWithADelayHidesTheItemForThatTime) {
  const ItemId id = must(queue_.push("late"));
  must(queue_.push("other"));
  Claim claim = must(queue_.claim());
  EXPECT_OK(claim.nack({.delay = 1h}));
  EXPECT_ANSWER(fenced, claim.ack());
  EXPECT_EQ(shown(queue_.pop()), "other");
  EXPECT_EQ(must(queue_.stats()).delayed, 1u);
  EXPECT_ANSWER(empty, queue_.claim());
  ahead(1h + 1s);
  Claim again = must(queue_.claim());
  EXPECT_EQ(again.payload(), "late");
  EXPECT_EQ(again.id(), id);
  EXPECT_EQ(again.attempts(), 2u);
  const auto start = Clock::now();
  EXPECT_OK(again.nack({.delay = 60ms}));
  again = must(queue_.claim(stretched(60s)));
  EXPECT_GE(since(start), 52ms);
  EXPECT_EQ(again.id(), id);
  EXPECT_OK(again.ack());
}

TEST_F(QueueTest, AnItemMayBeRetriedLaterManyTimes) {
  const ItemId id = must(queue_.push("stubborn", {.priority = 2}));
  for (std::uint32_t attempt = 1; attempt <= 20; ++attempt) {
    Claim claim = must(queue_.claim(stretched(60s)));
    EXPECT_EQ(claim.payload(), "stubborn");
    EXPECT_EQ(claim.id(), id);
    EXPECT_EQ(claim.priority(), 2);
    EXPECT_EQ(claim.attempts(), attempt);
    EXPECT_OK(claim.nack({.delay = 1ms}));
  }
  EXPECT_EQ(must(queue_.clear()), 1u);
}

// ------------------------------------------------------------------------------------------------- delay

TEST_F(QueueTest, ADelayedItemIsNotReadyBeforeItsTime) {
  const ItemId id = must(queue_.push("later", {.delay = 1h}));
  EXPECT_EQ(id.lane(), 8);
  EXPECT_ANSWER(empty, queue_.claim());
  EXPECT_EQ(must(queue_.size()), 0u);
  EXPECT_EQ(must(queue_.stats()).delayed, 1u);
  EXPECT_ANSWER(empty, queue_.peek());
  ahead(59min);
  EXPECT_ANSWER(empty, queue_.claim());
  ahead(2min);
  Claim claim = must(queue_.claim());
  EXPECT_EQ(claim.payload(), "later");
  EXPECT_EQ(claim.id(), id);
  EXPECT_EQ(claim.attempts(), 1u);
  EXPECT_OK(claim.ack());
  const auto start = Clock::now();
  must(queue_.push("soon", {.delay = 80ms}));
  EXPECT_EQ(shown(queue_.pop(stretched(60s))), "soon");
  EXPECT_GE(since(start), 72ms);
}

TEST_F(QueueTest, DelayedItemsComeWhenTheyAreDueNotWhenTheyWerePushed) {
  must(queue_.push("third", {.delay = 3h}));
  must(queue_.push("first", {.delay = 1h}));
  must(queue_.push("second", {.delay = 2h}));
  for (const char* next : {"first", "second", "third"}) {
    EXPECT_ANSWER(empty, queue_.pop());
    ahead(1h + 1min);
    EXPECT_EQ(shown(queue_.pop()), next);
  }
}

TEST_F(QueueTest, ADueItemComesWhileOthersAreReadyAllTheTime) {
  must(queue_.push("due", {.delay = 20ms, .priority = 5}));
  const bool came = eventually([&] {
    must(queue_.push("filler"));
    Claim claim = must(queue_.claim());
    const bool due = claim.payload() == "due";
    must(claim.ack());
    return due;
  });
  EXPECT_TRUE(came);
}

TEST_F(QueueTest, ADelayedItemKeepsItsPriority) {
  must(queue_.push("low"));
  must(queue_.push("high", {.delay = 8ms, .priority = 7}));
  ASSERT_TRUE(eventually([&] {
    Claim claim = must(queue_.claim());
    return claim.payload() == "high" && claim.priority() == 7;
  }));
  EXPECT_EQ(pop_all(queue_), (Strings{"high", "low"}));
}

TEST_F(QueueTest, ManyDelayedItemsEachComeOnce) {
  constexpr int kItems = 500;
  for (int i = 0; i < kItems; ++i)
    must(queue_.push(std::to_string(i), {.delay = milliseconds(4 + i % 40), .priority = i % 3}));
  std::multiset<std::string> seen;
  for (int i = 0; i < kItems; ++i) seen.insert(must(queue_.pop(stretched(60s))));
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kItems));
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), static_cast<std::size_t>(kItems));
  EXPECT_ANSWER(empty, queue_.claim());
}

// ------------------------------------------------------------------------------------------------- leases

TEST_F(QueueTest, AnExpiredLeaseGivesTheItemToTheNextAndFencesTheFirst) {
  ASSERT_OK(queue_.configure({.lease = 40ms}));
  must(queue_.push("x"));
  const auto start = Clock::now();
  Claim slow = must(queue_.claim());
  ASSERT_OK(queue_.configure({.lease = 1h}));  // for who claims from then on
  Claim next = must(queue_.claim(stretched(60s)));
  EXPECT_GE(since(start), 28ms);
  EXPECT_EQ(next.payload(), "x");
  EXPECT_EQ(next.attempts(), 2u);
  EXPECT_EQ(next.crashes(), 0u);
  EXPECT_ANSWER(fenced, slow.ack());
  EXPECT_ANSWER(fenced, slow.nack());
  EXPECT_ANSWER(fenced, slow.bury("late"));
  EXPECT_ANSWER(fenced, slow.extend(1s));
  EXPECT_OK(next.ack());
}

TEST_F(QueueTest, AnExpiredItemComesBackAtItsOldPlace) {
  ASSERT_OK(queue_.configure({.lease = 20ms}));
  must(queue_.push("1"));
  Claim slow = must(queue_.claim());
  must(queue_.push("2"));
  ASSERT_TRUE(
      eventually([&] { return must(queue_.peek(1)).at(0).payload == "1" || shown(queue_.claim()) == "1"; }));
  EXPECT_EQ(shown(queue_.pop(stretched(60s))), "1");
  EXPECT_EQ(shown(queue_.pop()), "2");
}

TEST_F(QueueTest, AnExtendedLeaseHolds) {
  ASSERT_OK(queue_.configure({.lease = stretched(40ms)}));
  must(queue_.push("x"));
  Claim claim = must(queue_.claim());
  EXPECT_OK(claim.extend(1h));
  EXPECT_ANSWER(timeout, queue_.claim(stretched(120ms)));
  EXPECT_OK(claim.extend(1ms)) << "an extension never shortens";
  EXPECT_ANSWER(timeout, queue_.claim(stretched(40ms)));
  EXPECT_OK(claim.ack());
}

TEST_F(QueueTest, AnExtensionGivesAClaimWithoutALeaseOne) {
  must(queue_.push("x"));
  Claim claim = must(queue_.claim());
  EXPECT_OK(claim.extend(20ms));
  EXPECT_EQ(shown(queue_.pop(stretched(60s))), "x");
  EXPECT_ANSWER(fenced, claim.ack());
}

TEST_F(QueueTest, WithoutALeaseAClaimIsForEver) {
  must(queue_.push("x"));
  Claim claim = must(queue_.claim());
  EXPECT_ANSWER(timeout, queue_.claim(60ms));
  EXPECT_OK(claim.ack());
}

TEST_F(QueueTest, ALeaseThatIsConfiguredLaterIsForLaterClaims) {
  for (int i = 0; i < 40; ++i) must(queue_.push("early"));
  std::vector<Claim> early;
  for (int i = 0; i < 8; ++i) early.push_back(must(queue_.claim()));
  for (Claim& claim : must(queue_.claim_many(32))) early.push_back(std::move(claim));
  ASSERT_OK(queue_.configure({.lease = 8ms}));
  must(queue_.push("late"));
  Claim late = must(queue_.claim());
  EXPECT_EQ(shown(queue_.claim(stretched(60s))), "late") << "the first claim's time is over";
  EXPECT_ANSWER(fenced, late.ack());
  EXPECT_EQ(queue_.ack_many(early), 40u);
}

TEST_F(QueueTest, AnUnsettledExpiredClaimMayBeDropped) {
  ASSERT_OK(queue_.configure({.lease = 8ms}));
  must(queue_.push("x"));
  std::optional<Claim> slow = must(queue_.claim());
  ASSERT_OK(queue_.configure({.lease = 1h}));  // for who claims from then on
  Claim next = must(queue_.claim(stretched(60s)));
  slow.reset();
  EXPECT_ANSWER(empty, queue_.claim());
  EXPECT_OK(next.ack());
}

}  // namespace
