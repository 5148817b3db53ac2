// Every operation of a queue, one fact a test, in one process.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "src/sys.h"
#include "support/test_pond.h"

namespace {

using namespace headpond;
using namespace support;

using Strings = std::vector<std::string>;

Strings payloads(const std::vector<Claim>& claims) {
  Strings all;
  for (const Claim& claim : claims) all.emplace_back(claim.payload());
  return all;
}
Strings payloads(const std::vector<Item>& items) {
  Strings all;
  for (const Item& item : items) all.push_back(item.payload);
  return all;
}
Strings payloads(const std::vector<DeadItem>& items) {
  Strings all;
  for (const DeadItem& item : items) all.push_back(item.payload);
  return all;
}

class QueueTest : public ::testing::Test {
 protected:
  ~QueueTest() override { internal::sys::wall_ahead_ms = 0; }
  void TearDown() override { EXPECT_TRUE(clean(pond_)); }
  /// As if so much time had passed since: of delays, not of leases.
  static void ahead(milliseconds by) {
    internal::sys::wall_ahead_ms += static_cast<std::uint64_t>(by.count());
  }

  TestPond test_;
  Pond pond_ = test_.open();
  Queue queue_ = pond_.scope("scope").queue("work");
};

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

// ------------------------------------------------------------------------------------------------- dead letters

TEST_F(QueueTest, ABuriedItemIsADeadLetterWithItsReason) {
  const ItemId id = must(queue_.push("poison", {.priority = 4}));
  Claim claim = must(queue_.claim());
  const auto before = std::chrono::system_clock::now();
  EXPECT_OK(claim.bury("does not parse"));
  EXPECT_ANSWER(fenced, claim.ack());
  EXPECT_ANSWER(empty, queue_.claim());
  const std::vector<DeadItem> dead = must(queue_.dead());
  ASSERT_EQ(dead.size(), 1u);
  EXPECT_EQ(dead[0].payload, "poison");
  EXPECT_EQ(dead[0].reason, "does not parse");
  EXPECT_EQ(dead[0].cause, Cause::buried);
  EXPECT_EQ(dead[0].id, id);
  EXPECT_EQ(dead[0].priority, 4);
  EXPECT_EQ(dead[0].attempts, 1u);
  EXPECT_EQ(dead[0].crashes, 0u);
  EXPECT_EQ(dead[0].pid, ::getpid());
  EXPECT_EQ(dead[0].signal, 0);
  EXPECT_GE(dead[0].at, before - 1s) << "but for the steps of the coarse clock";
  EXPECT_LE(dead[0].at, std::chrono::system_clock::now());
  EXPECT_EQ(must(queue_.stats()).dead, 1u);
}

TEST_F(QueueTest, AReasonMayBeEmptyAnyBytesAndUpTo1024) {
  const std::string longest(1024, '\xff');
  const std::string zeros("a\0b", 3);
  for (const std::string& reason : {std::string(), zeros, longest}) {
    must(queue_.push("item"));
    EXPECT_OK(must(queue_.claim()).bury(reason));
  }
  const std::vector<DeadItem> dead = must(queue_.dead());
  ASSERT_EQ(dead.size(), 3u);
  EXPECT_EQ(dead[0].reason, "");
  EXPECT_EQ(dead[1].reason, zeros);
  EXPECT_EQ(dead[2].reason, longest);
}

TEST_F(QueueTest, AReasonOfOver1024BytesIsRefusedAndTheClaimStaysOurs) {
  must(queue_.push("item"));
  Claim claim = must(queue_.claim());
  EXPECT_ANSWER(too_large, claim.bury(std::string(1025, 'x')));
  EXPECT_OK(claim.ack());
}

TEST_F(QueueTest, DeadLettersAreShownOldestFirstAndAtMostAsManyAsAsked) {
  for (int i = 0; i < 10; ++i) {
    must(queue_.push(std::to_string(i)));
    must(must(queue_.claim()).bury(""));
  }
  EXPECT_EQ(payloads(must(queue_.dead(3))), (Strings{"0", "1", "2"}));
  EXPECT_EQ(must(queue_.dead()).size(), 10u);
  EXPECT_TRUE(must(queue_.dead(0)).empty());
}

TEST_F(QueueTest, AfterMaxAttemptsTheItemIsADeadLetter) {
  ASSERT_OK(queue_.configure({.max_attempts = 3}));
  must(queue_.push("poison"));
  must(queue_.push("good"));
  for (std::uint32_t attempt = 1; attempt <= 3; ++attempt) {
    Claim claim = must(queue_.claim());
    EXPECT_EQ(claim.payload(), "poison");
    EXPECT_EQ(claim.attempts(), attempt);
    EXPECT_OK(claim.nack());
  }
  EXPECT_EQ(shown(queue_.pop()), "good");
  EXPECT_ANSWER(empty, queue_.claim());
  const std::vector<DeadItem> dead = must(queue_.dead());
  ASSERT_EQ(dead.size(), 1u);
  EXPECT_EQ(dead[0].payload, "poison");
  EXPECT_EQ(dead[0].cause, Cause::max_attempts);
  EXPECT_EQ(dead[0].attempts, 3u);
}

TEST_F(QueueTest, ExpiredClaimsAndDelayedNacksCountTowardsMaxAttempts) {
  ASSERT_OK(queue_.configure({.lease = 8ms, .max_attempts = 2}));
  must(queue_.push("x"));
  Claim first = must(queue_.claim());
  Claim second = must(queue_.claim(stretched(60s)));  // the first one expired
  EXPECT_EQ(second.attempts(), 2u);
  const Status nacked = second.nack({.delay = 4ms});
  EXPECT_TRUE(nacked == Code::ok || nacked == Code::fenced);  // 8 ms may be over
  EXPECT_ANSWER(timeout, queue_.claim(stretched(60ms)));
  EXPECT_EQ(payloads(must(queue_.dead())), (Strings{"x"}));
}

TEST_F(QueueTest, AnAckAtTheLastAttemptIsAnAck) {
  ASSERT_OK(queue_.configure({.max_attempts = 1}));
  must(queue_.push("x"));
  EXPECT_OK(must(queue_.claim()).ack());
  EXPECT_TRUE(must(queue_.dead()).empty());
}

TEST_F(QueueTest, RedriveBringsDeadLettersBackWithTheirCountsAtZero) {
  const ItemId id = must(queue_.push("1", {.priority = 1}));
  must(queue_.push("2", {.priority = 1}));
  for (int i = 0; i < 2; ++i) {
    Claim claim = must(queue_.claim());
    must(claim.nack());
    must(must(queue_.claim()).bury("later"));
  }
  must(queue_.push("3", {.priority = 1}));
  EXPECT_EQ(must(queue_.redrive()), 2u);
  EXPECT_TRUE(must(queue_.dead()).empty());
  Claim three = must(queue_.claim());
  EXPECT_EQ(three.payload(), "3") << "they come back at the end of their priority";
  Claim one = must(queue_.claim());
  EXPECT_EQ(one.payload(), "1");
  EXPECT_EQ(one.id(), id);
  EXPECT_EQ(one.priority(), 1);
  EXPECT_EQ(one.attempts(), 1u);
  EXPECT_EQ(one.crashes(), 0u);
  Claim two = must(queue_.claim());
  EXPECT_EQ(two.payload(), "2");
  EXPECT_OK(one.ack());
  EXPECT_OK(two.ack());
  EXPECT_OK(three.ack());
}

TEST_F(QueueTest, RedriveTakesTheOldestUpToItsLimit) {
  for (int i = 0; i < 5; ++i) {
    must(queue_.push(std::to_string(i)));
    must(must(queue_.claim()).bury(""));
  }
  EXPECT_EQ(must(queue_.redrive(2)), 2u);
  EXPECT_EQ(pop_all(queue_), (Strings{"0", "1"}));
  EXPECT_EQ(payloads(must(queue_.dead())), (Strings{"2", "3", "4"}));
  EXPECT_EQ(must(queue_.redrive()), 3u);
  EXPECT_EQ(pop_all(queue_), (Strings{"2", "3", "4"}));
}

TEST_F(QueueTest, AnItemMayDieAndReturnManyTimes) {
  const ItemId id = must(queue_.push("phoenix"));
  for (int life = 0; life < 30; ++life) {
    Claim claim = must(queue_.claim());
    ASSERT_EQ(claim.id(), id);
    ASSERT_EQ(claim.attempts(), 1u);
    ASSERT_OK(claim.bury("life " + std::to_string(life)));
    const std::vector<DeadItem> dead = must(queue_.dead());
    ASSERT_EQ(dead.size(), 1u);
    ASSERT_EQ(dead[0].reason, "life " + std::to_string(life));
    ASSERT_EQ(must(queue_.redrive()), 1u);
  }
  EXPECT_EQ(shown(queue_.pop()), "phoenix");
}

TEST_F(QueueTest, LargeItemsCanBeBuriedAndRedriven) {
  const std::string large = patterned(1, 3 << 20);
  must(queue_.push(large));
  EXPECT_OK(must(queue_.claim()).bury("large"));
  EXPECT_EQ(must(queue_.dead()).at(0).payload, large);
  EXPECT_EQ(must(queue_.redrive()), 1u);
  EXPECT_EQ(must(queue_.pop()), large);
}

// ------------------------------------------------------------------------------------------------- looking and taking out

TEST_F(QueueTest, PeekShowsItemsInTheOrderOfTheirClaims) {
  must(queue_.push("c"));
  const ItemId high = must(queue_.push("a", {.priority = 6}));
  must(queue_.push("d"));
  must(queue_.push("b", {.priority = 2}));
  EXPECT_EQ(payloads(must(queue_.peek(10))), (Strings{"a", "b", "c", "d"}));
  const std::vector<Item> first = must(queue_.peek());
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].id, high);
  EXPECT_EQ(first[0].priority, 6);
  EXPECT_EQ(first[0].attempts, 0u);
  EXPECT_EQ(must(queue_.size()), 4u);
  EXPECT_EQ(must(queue_.claim()).attempts(), 1u) << "peek is no attempt";
}

TEST_F(QueueTest, PeekDoesNotShowClaimedItems) {
  must(queue_.push("1"));
  must(queue_.push("2"));
  Claim claim = must(queue_.claim());
  EXPECT_EQ(payloads(must(queue_.peek(10))), (Strings{"2"}));
  EXPECT_OK(claim.nack());
  const std::vector<Item> items = must(queue_.peek(10));
  EXPECT_EQ(payloads(items), (Strings{"1", "2"}));
  EXPECT_EQ(items[0].attempts, 1u);
}

TEST_F(QueueTest, CancelTakesOutAReadyItem) {
  must(queue_.push("1"));
  const ItemId id = must(queue_.push("2"));
  must(queue_.push("3"));
  EXPECT_OK(queue_.cancel(id));
  EXPECT_ANSWER(not_found, queue_.cancel(id));
  EXPECT_EQ(must(queue_.size()), 2u);
  EXPECT_EQ(pop_all(queue_), (Strings{"1", "3"}));
}

TEST_F(QueueTest, CancelTakesOutADelayedItem) {
  const ItemId id = must(queue_.push("later", {.delay = 1h}));
  EXPECT_OK(queue_.cancel(id));
  EXPECT_EQ(must(queue_.stats()).delayed, 0u);
  EXPECT_ANSWER(not_found, queue_.cancel(id));
}

TEST_F(QueueTest, CancelTakesOutAnItemThatIsRetriedLater) {
  const ItemId id = must(queue_.push("x"));
  must(must(queue_.claim()).nack({.delay = 1h}));
  EXPECT_OK(queue_.cancel(id));
  EXPECT_EQ(must(queue_.stats()).delayed, 0u);
}

TEST_F(QueueTest, CancelTakesOutADeadLetter) {
  const ItemId id = must(queue_.push("x"));
  must(must(queue_.claim()).bury(""));
  EXPECT_OK(queue_.cancel(id));
  EXPECT_TRUE(must(queue_.dead()).empty());
  EXPECT_EQ(must(queue_.redrive()), 0u);
}

TEST_F(QueueTest, CancelTakesOutARedrivenItem) {
  const ItemId id = must(queue_.push("x"));
  must(must(queue_.claim()).bury(""));
  must(queue_.redrive());
  EXPECT_OK(queue_.cancel(id));
  EXPECT_ANSWER(empty, queue_.claim());
}

TEST_F(QueueTest, CancelOfAClaimedItemIsBusy) {
  const ItemId id = must(queue_.push("x"));
  Claim claim = must(queue_.claim());
  EXPECT_ANSWER(busy, queue_.cancel(id));
  EXPECT_OK(claim.ack());
  EXPECT_ANSWER(not_found, queue_.cancel(id));
}

TEST_F(QueueTest, CancelOfWhatNeverWasIsNotFound) {
  EXPECT_ANSWER(not_found, queue_.cancel(ItemId{1}));
  must(queue_.push("x"));
  EXPECT_ANSWER(not_found, queue_.cancel(ItemId{0}));
  EXPECT_ANSWER(not_found, queue_.cancel(ItemId{2}));
  EXPECT_ANSWER(not_found, queue_.cancel(ItemId{(3ULL << 60) | 1}));
  EXPECT_ANSWER(not_found, queue_.cancel(ItemId{(8ULL << 60) | 1}));
  EXPECT_ANSWER(not_found, queue_.cancel(ItemId{(15ULL << 60) | 1}));
  EXPECT_ANSWER(not_found, queue_.cancel(ItemId{UINT64_MAX}));
  EXPECT_EQ(must(queue_.size()), 1u);
}

TEST_F(QueueTest, CancelReachesAnItemFarInTheQueue) {
  std::vector<ItemId> ids;
  for (int i = 0; i < 10'000; ++i) ids.push_back(must(queue_.push(std::to_string(i))));
  for (std::size_t i = 0; i < ids.size(); i += 1000) EXPECT_OK(queue_.cancel(ids[i]));
  EXPECT_EQ(must(queue_.size()), 9990u);
  EXPECT_EQ(shown(queue_.pop()), "1");
}

TEST_F(QueueTest, SizeCountsReadyItemsOfAllPriorities) {
  for (int priority = 0; priority < 8; ++priority) must(queue_.push("x", {.priority = priority}));
  must(queue_.push("later", {.delay = 1h}));
  EXPECT_EQ(must(queue_.size()), 8u);
  Claim claim = must(queue_.claim());
  EXPECT_EQ(must(queue_.size()), 7u);
  EXPECT_OK(claim.nack());
  EXPECT_EQ(must(queue_.size()), 8u);
}

TEST_F(QueueTest, SizeIsRightOverManyPages) {
  for (int i = 0; i < 20'000; ++i) must(queue_.push(patterned(i, 8 + i % 64)));
  EXPECT_EQ(must(queue_.size()), 20'000u);
  for (int i = 0; i < 5'000; ++i) must(queue_.pop());
  EXPECT_EQ(must(queue_.size()), 15'000u);
}

TEST_F(QueueTest, StatsCountEveryStateAndTheBytes) {
  must(queue_.push("ready"));
  must(queue_.push("bury", {.priority = 7}));
  must(must(queue_.claim()).bury("1234567890"));
  must(queue_.push("claimed", {.priority = 6}));
  Claim claim = must(queue_.claim());
  must(queue_.push("delayed", {.delay = 1h}));
  const QueueStats stats = must(queue_.stats());
  EXPECT_EQ(stats.ready, 1u);
  EXPECT_EQ(stats.claimed, 1u);
  EXPECT_EQ(stats.delayed, 1u);
  EXPECT_EQ(stats.dead, 1u);
  EXPECT_EQ(stats.payload_bytes, 5u + 4u + 7u + 7u);
  EXPECT_GE(stats.page_bytes, 1024u);
  EXPECT_EQ(stats.pushed, 4u);
  EXPECT_FALSE(stats.paused);
  EXPECT_FALSE(stats.draining);
  EXPECT_OK(claim.ack());
}

TEST_F(QueueTest, OldestAgeIsOfTheOldestReadyItem) {
  EXPECT_EQ(must(queue_.stats()).oldest_age, 0ms);
  const auto start = Clock::now();
  must(queue_.push("old"));
  const milliseconds age = must(queue_.stats()).oldest_age;
  EXPECT_LE(age, since(start) + 100ms) << "but for the steps of the coarse clock";
  EXPECT_TRUE(eventually([&] { return must(queue_.stats()).oldest_age >= 20ms; }));
  must(queue_.pop());
  EXPECT_EQ(must(queue_.stats()).oldest_age, 0ms);
}

// ------------------------------------------------------------------------------------------------- clear

TEST_F(QueueTest, ClearTakesEverythingOutAndCountsIt) {
  for (int i = 0; i < 10; ++i) must(queue_.push("ready", {.priority = i % 8}));
  must(must(queue_.claim()).bury(""));
  Claim claim = must(queue_.claim());
  must(queue_.push("delayed", {.delay = 1h}));
  EXPECT_EQ(must(queue_.clear()), 11u);
  EXPECT_ANSWER(fenced, claim.ack());
  EXPECT_ANSWER(empty, queue_.claim());
  EXPECT_TRUE(must(queue_.dead()).empty());
  const QueueStats stats = must(queue_.stats());
  EXPECT_EQ(stats.ready + stats.claimed + stats.delayed + stats.dead, 0u);
  EXPECT_EQ(must(queue_.clear()), 0u);
}

TEST_F(QueueTest, IdsGoOnAfterClearAndOldHandlesStayGood) {
  Queue other = pond_.scope("scope").queue("work");
  std::uint64_t last = 0;
  for (int i = 0; i < 100; ++i) last = must(queue_.push("x")).value;
  const ItemId urgent = must(queue_.push("x", {.priority = 1}));
  ASSERT_EQ(must(other.clear()), 101u);
  EXPECT_GT(must(queue_.push("new")).value, last);
  EXPECT_GT(must(other.push("newer", {.priority = 1})).seq(), urgent.seq());
  EXPECT_EQ(pop_all(queue_), (Strings{"newer", "new"}));
}

TEST_F(QueueTest, AHandleThatOnlyClearsClearsWhatOthersPushed) {
  Queue clearer = pond_.scope("scope").queue("work");
  for (int round = 0; round < 5; ++round) {
    must(queue_.push("x"));
    EXPECT_EQ(must(clearer.clear()), 1u) << "round " << round;
    EXPECT_ANSWER(empty, queue_.claim());
  }
}

TEST_F(QueueTest, ClearMayBeRepeatedForEver) {
  std::uint64_t last = 0;
  for (int round = 0; round < 200; ++round) {
    for (int i = 0; i < 10; ++i) {
      const ItemId id = must(queue_.push("x"));
      ASSERT_GT(id.value, last);
      last = id.value;
    }
    ASSERT_EQ(must(queue_.clear()), 10u);
  }
  EXPECT_LE(must(pond_.stats()).page_bytes, 1u << 20);
}

TEST_F(QueueTest, AClaimHeldOverAClearKeepsItsPayload) {
  must(queue_.push("held"));
  Claim claim = must(queue_.claim());
  must(queue_.clear());
  for (int i = 0; i < 1000; ++i) must(queue_.push("others"));
  EXPECT_EQ(claim.payload(), "held");
  EXPECT_ANSWER(fenced, claim.nack());
  EXPECT_EQ(must(queue_.size()), 1000u);
}

TEST_F(QueueTest, OpenClaimsAreCountedByOneClearAndGoWithTheirOwner) {
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 100; ++i) must(queue_.push("x"));
    std::vector<Claim> claims;
    for (int i = 0; i < 10; ++i) claims.push_back(must(queue_.claim()));
    std::vector<Claim> batch = must(queue_.claim_many(20));
    EXPECT_EQ(must(queue_.clear()), 100u);
    EXPECT_EQ(must(queue_.clear()), 0u);
    EXPECT_EQ(queue_.ack_many(batch), 0u);
    EXPECT_ANSWER(fenced, claims[3].ack());
    EXPECT_ANSWER(fenced, claims[4].nack());
    EXPECT_ANSWER(fenced, claims[5].nack({.delay = 1s}));
    EXPECT_ANSWER(fenced, claims[6].bury("late"));
    EXPECT_ANSWER(fenced, claims[7].extend(1h));
    EXPECT_ANSWER(fenced, claims[7].ack());
    claims.clear();
    EXPECT_ANSWER(empty, queue_.claim());
    EXPECT_TRUE(must(queue_.dead()).empty());
  }
  EXPECT_TRUE(clean(pond_));
  must(pond_.reap());
  EXPECT_LE(must(pond_.stats()).page_bytes, 2u << 10) << "what was held by claims is free again";
}

TEST_F(QueueTest, ClearLeavesTheOptionsAsTheyAre) {
  must(queue_.configure({.lease = 20s, .max_attempts = 7, .max_items = 3}));
  must(queue_.push("x"));
  must(queue_.clear());
  const QueueOptions options = must(queue_.options());
  EXPECT_EQ(options.lease, 20s);
  EXPECT_EQ(options.max_attempts, 7u);
  EXPECT_EQ(options.max_items, 3u);
}

// ------------------------------------------------------------------------------------------------- pause, drain, limits

TEST_F(QueueTest, APausedQueueDeliversNothingButTakesItems) {
  must(queue_.push("1"));
  EXPECT_OK(queue_.pause());
  EXPECT_ANSWER(paused, queue_.claim());
  EXPECT_ANSWER(paused, queue_.pop());
  EXPECT_ANSWER(paused, queue_.claim_many(3));
  EXPECT_OK(queue_.push("2"));
  EXPECT_EQ(must(queue_.size()), 2u);
  EXPECT_TRUE(must(queue_.stats()).paused);
  EXPECT_OK(queue_.pause()) << "twice is once";
  EXPECT_OK(queue_.resume());
  EXPECT_FALSE(must(queue_.stats()).paused);
  EXPECT_EQ(pop_all(queue_), (Strings{"1", "2"}));
}

TEST_F(QueueTest, ClaimsOfAPausedQueueCanBeSettled) {
  must(queue_.push("1"));
  must(queue_.push("2"));
  Claim first = must(queue_.claim());
  Claim second = must(queue_.claim());
  must(queue_.pause());
  EXPECT_OK(first.ack());
  EXPECT_OK(second.nack());
  EXPECT_ANSWER(paused, queue_.claim());
  must(queue_.resume());
  EXPECT_EQ(pop_all(queue_), (Strings{"2"}));
}

TEST_F(QueueTest, AnEmptyQueueDrainsAtOnceAndTakesNothingUntilResumed) {
  must(queue_.push("x"));
  must(queue_.pop());
  EXPECT_OK(queue_.drain(0ms));
  EXPECT_ANSWER(draining, queue_.push("y"));
  EXPECT_ANSWER(draining, queue_.push("y", {.delay = 1s}));
  const Bytes items[] = {"y", "z"};
  EXPECT_ANSWER(draining, queue_.push_many(items));
  EXPECT_ANSWER(draining, queue_.reserve(1));
  EXPECT_TRUE(must(queue_.stats()).draining);
  EXPECT_OK(queue_.resume());
  EXPECT_OK(queue_.push("y"));
}

TEST_F(QueueTest, DrainTimesOutWhileItemsAreLeft) {
  must(queue_.push("x"));
  EXPECT_ANSWER(timeout, queue_.drain(20ms));
  Claim claim = must(queue_.claim());
  EXPECT_ANSWER(timeout, queue_.drain(20ms)) << "a claimed item is left";
  EXPECT_OK(claim.ack());
  EXPECT_OK(queue_.drain(stretched(60s)));
}

TEST_F(QueueTest, DrainEndsWhenTheLastItemIsAcked) {
  for (int i = 0; i < 100; ++i) must(queue_.push("x"));
  std::thread worker([&] {
    for (int i = 0; i < 100; ++i) EXPECT_OK(queue_.pop(stretched(60s)));
  });
  EXPECT_OK(queue_.drain(stretched(60s)));
  worker.join();
  EXPECT_EQ(must(queue_.size()), 0u);
}

TEST_F(QueueTest, ANackGoesBackIntoADrainingQueue) {
  must(queue_.push("x"));
  Claim claim = must(queue_.claim());
  EXPECT_ANSWER(timeout, queue_.drain(0ms));
  EXPECT_OK(claim.nack());
  EXPECT_EQ(shown(queue_.pop()), "x");
  EXPECT_OK(queue_.drain(0ms));
}

TEST_F(QueueTest, MaxItemsIsALimitOnWhatWaitsOrIsClaimed) {
  must(queue_.configure({.max_items = 4}));
  for (int i = 0; i < 4; ++i) ASSERT_OK(queue_.push("x"));
  EXPECT_ANSWER(full, queue_.push("x"));
  EXPECT_ANSWER(full, queue_.push("x", {.priority = 5}));
  Claim claim = must(queue_.claim());
  EXPECT_ANSWER(full, queue_.push("x")) << "a claimed item counts";
  EXPECT_OK(claim.ack());
  EXPECT_OK(queue_.push("x"));
  EXPECT_ANSWER(full, queue_.push("x"));
  must(queue_.configure({.max_items = 0}));
  EXPECT_OK(queue_.push("x"));
}

TEST_F(QueueTest, MaxBytesIsALimitOnPayloads) {
  must(queue_.configure({.max_bytes = 1000}));
  ASSERT_OK(queue_.push(std::string(600, 'x')));
  EXPECT_ANSWER(full, queue_.push(std::string(401, 'x')));
  EXPECT_OK(queue_.push(std::string(400, 'x')));
  EXPECT_ANSWER(full, queue_.push("x"));
  must(queue_.pop());
  EXPECT_OK(queue_.push(std::string(600, 'x')));
}

TEST_F(QueueTest, LimitsHoldForReservationsToo) {
  must(queue_.configure({.max_items = 1}));
  must(queue_.push("x"));
  EXPECT_ANSWER(full, queue_.reserve(1));
  must(queue_.pop());
  must(queue_.configure({.max_bytes = 1000}));
  EXPECT_ANSWER(full, queue_.reserve(1001));
  EXPECT_OK(queue_.reserve(1000));
}

TEST_F(QueueTest, ALoweredLimitHoldsAtOnce) {
  must(queue_.configure({.max_items = 1000}));
  for (int i = 0; i < 10; ++i) must(queue_.push("x"));
  must(queue_.configure({.max_items = 10}));
  EXPECT_ANSWER(full, queue_.push("x"));
  must(queue_.pop());
  EXPECT_OK(queue_.push("x"));
  EXPECT_ANSWER(full, queue_.push("x"));
}

TEST_F(QueueTest, PushManyBeyondALimitPushesNothing) {
  must(queue_.configure({.max_items = 10}));
  for (int i = 0; i < 8; ++i) must(queue_.push("x"));
  const Bytes items[] = {"a", "b", "c"};
  EXPECT_ANSWER(full, queue_.push_many(items));
  EXPECT_EQ(must(queue_.size()), 8u);
  EXPECT_OK(queue_.push_many(std::span(items).first(2)));
  EXPECT_EQ(must(queue_.size()), 10u);
}

TEST_F(QueueTest, ALimitHoldsForEveryHandle) {
  Queue other = pond_.scope("scope").queue("work");
  must(queue_.configure({.max_items = 1}));
  must(other.push("x"));
  EXPECT_ANSWER(full, queue_.push("x"));
  EXPECT_ANSWER(full, other.push("x"));
  EXPECT_EQ(must(other.options()).max_items, 1u);
}

TEST_F(QueueTest, ABlockedPushGoesOnWhenThereIsRoomWithinTheLimit) {
  must(queue_.configure({.max_items = 1}));
  must(queue_.push("1"));
  std::thread pusher([&] { EXPECT_OK(queue_.push("2", {.full_timeout = stretched(60s)})); });
  EXPECT_EQ(shown(queue_.pop()), "1");
  EXPECT_EQ(shown(queue_.pop(stretched(60s))), "2");
  pusher.join();
}

TEST_F(QueueTest, ABlockedPushGivesUpAfterItsTime) {
  must(queue_.configure({.max_items = 1}));
  must(queue_.push("1"));
  milliseconds took = milliseconds::max();
  // Later where the machine stood still: then once more.
  for (int tries = 0; tries < 5 && took >= stretched(1000ms); ++tries) {
    const auto start = Clock::now();
    EXPECT_ANSWER(full, queue_.push("2", {.full_timeout = 50ms}));
    took = since(start);
    EXPECT_GE(took, 45ms);
  }
  EXPECT_LT(took, stretched(1000ms)) << "the pond's own time";
  EXPECT_EQ(must(queue_.size()), 1u);
}

// ------------------------------------------------------------------------------------------------- many at once

TEST_F(QueueTest, PushManyGivesConsecutiveIdsInOrder) {
  must(queue_.push("before"));
  const Bytes items[] = {"a", "b", "c"};
  const ItemId first = must(queue_.push_many(items));
  EXPECT_EQ(first.value, 2u);
  EXPECT_EQ(must(queue_.push("after")).value, 5u);
  must(queue_.pop());
  for (std::uint64_t i = 0; i < 3; ++i) {
    Claim claim = must(queue_.claim());
    EXPECT_EQ(claim.payload(), items[i]);
    EXPECT_EQ(claim.id().value, first.value + i);
    EXPECT_OK(claim.ack());
  }
  EXPECT_EQ(shown(queue_.pop()), "after");
}

TEST_F(QueueTest, PushManyOfNothingIsInvalid) { EXPECT_ANSWER(invalid, queue_.push_many({})); }

TEST_F(QueueTest, PushManyOfOneIsAPush) {
  const Bytes items[] = {"one"};
  EXPECT_EQ(must(queue_.push_many(items)).value, 1u);
  EXPECT_EQ(pop_all(queue_), (Strings{"one"}));
}

TEST_F(QueueTest, PushManyTakesPrioritiesAndDelays) {
  const Bytes items[] = {"a", "b"};
  must(queue_.push("low"));
  must(queue_.push_many(items, {.priority = 3}));
  EXPECT_EQ(pop_all(queue_), (Strings{"a", "b", "low"}));
  must(queue_.push_many(items, {.delay = 1h}));
  EXPECT_ANSWER(empty, queue_.claim());
  EXPECT_EQ(must(queue_.stats()).delayed, 2u);
  ahead(1h + 1s);
  EXPECT_EQ(shown(queue_.pop()), "a");
  EXPECT_EQ(shown(queue_.pop()), "b");
}

TEST_F(QueueTest, PushManyOfAHundredThousandIsOneBatch) {
  constexpr std::size_t kItems = 100'000;
  Strings texts;
  for (std::size_t i = 0; i < kItems; ++i) texts.push_back(std::to_string(i));
  const std::vector<Bytes> items(texts.begin(), texts.end());
  must(queue_.push("before"));
  EXPECT_EQ(must(queue_.push_many(items)).value, 2u);
  EXPECT_EQ(must(queue_.push("after")).value, kItems + 2);
  EXPECT_EQ(must(queue_.size()), kItems + 2);
  EXPECT_EQ(shown(queue_.pop()), "before");
  for (std::size_t i = 0; i < kItems;) {
    const Strings popped = must(queue_.pop_many(777));
    for (const std::string& item : popped) {
      if (i == kItems) {
        ASSERT_EQ(item, "after");
        must(queue_.push("after"));  // it came along with the last ones: once more for below
      } else {
        ASSERT_EQ(item, texts[i++]);
      }
    }
  }
  EXPECT_EQ(pop_all(queue_), (Strings{"after"}));
}

TEST_F(QueueTest, PushManyMixesSmallAndLargeValues) {
  Strings texts;
  for (std::uint64_t i = 0; i < 60; ++i)
    texts.push_back(i % 10 == 0 ? patterned(i, 300'000) : patterned(i, 8 + i * 100));
  texts.push_back("");
  const std::vector<Bytes> items(texts.begin(), texts.end());
  must(queue_.push_many(items));
  EXPECT_EQ(pop_all(queue_), texts);
}

TEST_F(QueueTest, BatchesOfEverySizeKeepTheOrder) {
  std::uint64_t next = 0, expected = 0;
  for (std::size_t size : {1u, 2u, 3u, 10u, 31u, 32u, 33u, 100u, 500u, 1000u, 3000u, 7u, 1u, 5000u, 2u}) {
    Strings texts;
    for (std::size_t i = 0; i < size; ++i) texts.push_back(patterned(next++, 8 + i % 50));
    ASSERT_EQ(must(queue_.push_many(std::vector<Bytes>(texts.begin(), texts.end()))).value, next - size + 1);
  }
  for (const std::string& item : pop_all(queue_)) ASSERT_EQ(number_of(item), expected++);
  EXPECT_EQ(expected, next);
}

TEST_F(QueueTest, ClaimManyTakesWhatIsReadyUpToTheLimit) {
  for (int i = 0; i < 5; ++i) must(queue_.push(std::to_string(i)));
  std::vector<Claim> three = must(queue_.claim_many(3));
  EXPECT_EQ(payloads(three), (Strings{"0", "1", "2"}));
  std::vector<Claim> rest = must(queue_.claim_many(100, 1h));
  EXPECT_EQ(payloads(rest), (Strings{"3", "4"}));
  EXPECT_ANSWER(empty, queue_.claim_many(1));
  EXPECT_ANSWER(timeout, queue_.claim_many(1, 10ms));
  EXPECT_EQ(queue_.ack_many(three), 3u);
  EXPECT_EQ(queue_.ack_many(three), 0u) << "they are settled";
  EXPECT_EQ(queue_.ack_many(rest), 2u);
}

TEST_F(QueueTest, ClaimManyOfNoneIsInvalid) {
  EXPECT_ANSWER(invalid, queue_.claim_many(0));
  EXPECT_ANSWER(invalid, queue_.pop_many(0));
}

TEST_F(QueueTest, AckManyCountsOnlyTheClaimsThatWereOurs) {
  for (int i = 0; i < 4; ++i) must(queue_.push(std::to_string(i)));
  std::vector<Claim> claims = must(queue_.claim_many(4));
  must(claims[1].nack());
  EXPECT_EQ(queue_.ack_many(claims), 3u);
  EXPECT_EQ(pop_all(queue_), (Strings{"1"}));
}

TEST_F(QueueTest, PopManyTakesThemInOrder) {
  for (int i = 0; i < 100; ++i) must(queue_.push(std::to_string(i), {.priority = i % 2}));
  const Strings popped = must(queue_.pop_many(60));
  ASSERT_EQ(popped.size(), 60u);
  EXPECT_EQ(popped[0], "1");
  EXPECT_EQ(popped[49], "99");
  EXPECT_EQ(popped[50], "0");
  EXPECT_EQ(must(queue_.pop_many(SIZE_MAX)).size(), 40u);
}

// ------------------------------------------------------------------------------------------------- values and names

TEST_F(QueueTest, ValuesOfEverySizeComeBackAsTheyWere) {
  for (std::size_t size :
       {8u,      9u,      15u,     16u,      17u,        255u,       256u,       1000u,
        1007u,   1008u,   1024u,   4095u,    4096u,      16'383u,    16'384u,    16'385u,
        65'535u, 65'536u, 65'537u, 262'144u, 1'048'575u, 1'048'576u, 1'048'577u, 5'000'000u}) {
    must(queue_.push(patterned(size, size)));
  }
  while (Result<Claim> claim = queue_.claim()) {
    EXPECT_EQ(number_of(claim->payload()), claim->payload().size());
    EXPECT_OK(claim->ack());
  }
}

TEST_F(QueueTest, EmptyValuesAreItemsToo) {
  must(queue_.push(""));
  must(queue_.push({}));
  Claim claim = must(queue_.claim());
  EXPECT_TRUE(claim.payload().empty());
  EXPECT_OK(claim.ack());
  EXPECT_EQ(pop_all(queue_), (Strings{""}));
}

TEST_F(QueueTest, AValueMayHave64MiB) {
  const std::string large = patterned(64, 64 << 20);
  must(queue_.push("before"));
  must(queue_.push(large));
  must(queue_.push("after"));
  EXPECT_EQ(shown(queue_.pop()), "before");
  {
    Claim claim = must(queue_.claim());
    EXPECT_TRUE(claim.payload() == large);
    EXPECT_OK(claim.ack());
  }
  EXPECT_EQ(shown(queue_.pop()), "after");
  EXPECT_OK(pond_.reap());
  EXPECT_LT(must(pond_.stats()).page_bytes, 1u << 20) << "one acked large value frees its memory";
}

TEST_F(QueueTest, AValueOfOver1GiBIsTooLarge) {
  constexpr std::size_t kSize = (std::size_t{1} << 30) + 1;
  void* memory = ::mmap(nullptr, kSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  const Bytes large(static_cast<const char*>(memory), kSize);
  EXPECT_ANSWER(too_large, queue_.push(large));
  EXPECT_ANSWER(too_large, queue_.push_many(std::span(&large, 1)));
  EXPECT_ANSWER(too_large, queue_.reserve(kSize));
  EXPECT_EQ(must(queue_.size()), 0u);
  ::munmap(memory, kSize);
}

TEST_F(QueueTest, NamesAreAnyBytes) {
  const std::string zero("\0", 1), zeros("\0\0", 2), longest(65'535, 'n'), almost(65'534, 'n');
  const Strings names = {"",
                         "a",
                         zero,
                         zeros,
                         "a" + zero,
                         "a" + zero + "b",
                         "\xff\xfe",
                         "a/b",
                         "..",
                         std::string(1024, 'x'),
                         std::string(1025, 'x'),
                         std::string(5000, '\0'),
                         almost,
                         longest};
  for (const std::string& scope : names) {
    for (const std::string& queue : Strings{"", "a", zero, longest}) {
      must(pond_.scope(scope).queue(queue).push(scope + "|" + queue));
    }
  }
  for (const std::string& scope : names) {
    EXPECT_EQ(pond_.scope(scope).name(), scope);
    for (const std::string& queue : Strings{"", "a", zero, longest}) {
      EXPECT_EQ(pop_all(pond_.scope(scope).queue(queue)), (Strings{scope + "|" + queue}));
    }
  }
}

TEST_F(QueueTest, ANameOfOver65535BytesIsTooLarge) {
  const std::string name(65'536, 'n');
  for (Queue queue : {pond_.scope(name).queue("q"), pond_.scope("s").queue(name)}) {
    EXPECT_ANSWER(too_large, queue.push("x"));
    EXPECT_ANSWER(too_large, queue.claim());
    EXPECT_ANSWER(too_large, queue.size());
    EXPECT_ANSWER(too_large, queue.clear());
  }
}

// ------------------------------------------------------------------------------------------------- reservations

TEST_F(QueueTest, AReservationIsWrittenInPlaceAndSeenWhenCommitted) {
  Reservation reservation = must(queue_.reserve(5));
  ASSERT_EQ(reservation.data().size(), 5u);
  std::memcpy(reservation.data().data(), "hello", 5);
  EXPECT_ANSWER(empty, queue_.claim());
  EXPECT_EQ(must(queue_.size()), 0u);
  const ItemId id = reservation.id();
  EXPECT_EQ(reservation.commit(), id);
  Claim claim = must(queue_.claim());
  EXPECT_EQ(claim.payload(), "hello");
  EXPECT_EQ(claim.id(), id);
  EXPECT_OK(claim.ack());
}

TEST_F(QueueTest, AClaimStepsOverAReservation) {
  Reservation reservation = must(queue_.reserve(8));
  must(queue_.push("behind"));
  EXPECT_EQ(shown(queue_.pop()), "behind");
  std::memcpy(reservation.data().data(), "reserved", 8);
  reservation.commit();
  EXPECT_EQ(shown(queue_.pop()), "reserved");
}

TEST_F(QueueTest, AnAbandonedReservationIsNothing) {
  must(queue_.push("1"));
  { Reservation reservation = must(queue_.reserve(100)); }
  must(queue_.push("2"));
  EXPECT_EQ(must(queue_.size()), 2u);
  EXPECT_EQ(pop_all(queue_), (Strings{"1", "2"}));
}

TEST_F(QueueTest, LargeReservationsAndEmptyOnes) {
  for (std::size_t size : {0u, 1u, 100'000u, 3'000'000u}) {
    Reservation reservation = must(queue_.reserve(size));
    ASSERT_EQ(reservation.data().size(), size);
    std::fill(reservation.data().begin(), reservation.data().end(), 'r');
    reservation.commit();
    EXPECT_EQ(must(queue_.pop()), std::string(size, 'r'));
  }
  { Reservation dropped = must(queue_.reserve(2'000'000)); }
  EXPECT_ANSWER(empty, queue_.pop());
  EXPECT_OK(pond_.reap());
  EXPECT_LT(must(pond_.stats()).page_bytes, 1u << 20);
}

TEST_F(QueueTest, ReservationsTakeAPriorityAndMayBeMoved) {
  must(queue_.push("low"));
  Reservation first = must(queue_.reserve(4, 5));
  EXPECT_EQ(first.id().lane(), 5);
  Reservation moved = std::move(first);
  std::memcpy(moved.data().data(), "high", 4);
  moved.commit();
  EXPECT_EQ(pop_all(queue_), (Strings{"high", "low"}));
}

TEST_F(QueueTest, ManyReservationsAtOnceCommitInAnyOrder) {
  constexpr int kOpen = 60;
  std::vector<Reservation> open;
  for (int i = 0; i < kOpen; ++i) {
    open.push_back(must(queue_.reserve(8)));
    const std::string bytes = patterned(static_cast<std::uint64_t>(i), 8);
    std::memcpy(open.back().data().data(), bytes.data(), 8);
  }
  for (int i = kOpen - 1; i >= 0; --i) open[static_cast<std::size_t>(i)].commit();
  const Strings items = pop_all(queue_);
  ASSERT_EQ(items.size(), static_cast<std::size_t>(kOpen));
  for (std::uint64_t i = 0; i < kOpen; ++i) EXPECT_EQ(number_of(items[i]), i);
}

TEST_F(QueueTest, MoreReservationsThanAProcessCanHoldAreFull) {
  std::vector<Reservation> open;
  for (;;) {
    Result<Reservation> reservation = queue_.reserve(8);
    if (!reservation) {
      EXPECT_ANSWER(full, reservation);
      break;
    }
    open.push_back(std::move(*reservation));
    ASSERT_LE(open.size(), 64u);
  }
  EXPECT_GE(open.size(), 60u);
  open.pop_back();
  EXPECT_OK(queue_.reserve(8));
}

// ------------------------------------------------------------------------------------------------- claims as objects

TEST_F(QueueTest, AClaimMayBeSettledByAnotherThread) {
  for (int i = 0; i < 3; ++i) must(queue_.push(std::to_string(i)));
  std::vector<Claim> claims = must(queue_.claim_many(3));
  std::thread([&] {
    EXPECT_OK(claims[0].ack());
    EXPECT_OK(claims[1].nack());
    claims.pop_back();  // dropped there
  }).join();
  EXPECT_EQ(pop_all(queue_), (Strings{"1", "2"}));
}

TEST_F(QueueTest, TwoHundredClaimsMayBeHeldAtOnce) {
  for (std::uint64_t i = 0; i < 200; ++i) must(queue_.push(patterned(i, 2000)));
  std::vector<Claim> claims;
  for (int i = 0; i < 200; ++i) claims.push_back(must(queue_.claim()));
  EXPECT_ANSWER(empty, queue_.claim());
  for (int i = 0; i < 500; ++i) must(queue_.push("others"));
  for (std::uint64_t i = 0; i < 200; ++i) {
    EXPECT_EQ(number_of(claims[i].payload()), i);
    EXPECT_OK(claims[i].ack());
  }
  EXPECT_EQ(pop_all(queue_).size(), 500u);
}

TEST_F(QueueTest, APayloadStaysReadableWhileEverythingAroundItIsRecycled) {
  for (std::uint64_t i = 0; i < 100; ++i) must(queue_.push(patterned(i, 500)));
  Claim held = must(queue_.claim());
  for (std::uint64_t round = 0; round < 20; ++round) {
    pop_all(queue_);
    for (std::uint64_t i = 0; i < 200; ++i) must(queue_.push(patterned(1000 + i, 700)));
    ASSERT_EQ(number_of(held.payload()), 0u);
  }
  EXPECT_OK(held.ack());
  pop_all(queue_);
}

TEST_F(QueueTest, ATenThousandfoldLoopLeavesTheMemoryAsItWas) {
  for (int i = 0; i < 10'000; ++i) {
    must(queue_.push(patterned(i, 8 + i % 300)));
    must(queue_.pop());
  }
  EXPECT_OK(pond_.reap());
  EXPECT_LE(must(pond_.stats()).page_bytes, 256u << 10);
}

// ------------------------------------------------------------------------------------------------- arguments and options

TEST_F(QueueTest, ArgumentsOutOfRangeAreInvalid) {
  EXPECT_ANSWER(invalid, queue_.push("x", {.priority = 8}));
  EXPECT_ANSWER(invalid, queue_.push("x", {.priority = -1}));
  EXPECT_ANSWER(invalid, queue_.push("x", {.delay = -1ms}));
  EXPECT_ANSWER(invalid, queue_.push("x", {.delay = 24h * 366}));
  EXPECT_OK(queue_.push("x", {.delay = 24h * 365}));
  EXPECT_ANSWER(invalid, queue_.reserve(1, 8));
  EXPECT_ANSWER(invalid, queue_.reserve(1, -1));
  must(queue_.push("x"));
  Claim claim = must(queue_.claim());
  EXPECT_ANSWER(invalid, claim.nack({.delay = -1ms}));
  EXPECT_ANSWER(invalid, claim.nack({.delay = 24h * 366}));
  EXPECT_ANSWER(invalid, claim.extend(24h * 31));
  EXPECT_ANSWER(invalid, claim.extend(-1ms));
  EXPECT_OK(claim.ack()) << "an invalid argument leaves the claim as it is";
}

TEST_F(QueueTest, OptionsOutOfRangeAreInvalidAndChangeNothing) {
  const QueueOptions good = {.lease = 1s, .max_attempts = 65'534, .max_items = 5, .max_bytes = 50};
  EXPECT_OK(queue_.configure(good));
  EXPECT_ANSWER(invalid, queue_.configure({.lease = 24h * 31}));
  EXPECT_ANSWER(invalid, queue_.configure({.lease = -1ms}));
  EXPECT_ANSWER(invalid, queue_.configure({.max_attempts = 65'535}));
  const QueueOptions options = must(queue_.options());
  EXPECT_EQ(options.lease, good.lease);
  EXPECT_EQ(options.max_attempts, good.max_attempts);
  EXPECT_EQ(options.max_items, good.max_items);
  EXPECT_EQ(options.max_bytes, good.max_bytes);
}

TEST_F(QueueTest, ATextSaysWhatWasWrong) {
  const Result<ItemId> result = queue_.push("x", {.priority = 9});
  EXPECT_NE(result.status().text().find("priority"), std::string::npos) << result.status().text();
}

TEST(QueueDefaults, NewQueuesHaveTheCreatorsOptions) {
  TestPond test({.queue = {.lease = 30s, .max_attempts = 5, .max_items = 2}});
  Pond pond = test.open();
  Queue queue = pond.scope().queue();
  must(queue.push("1"));
  must(queue.push("2"));
  EXPECT_ANSWER(full, queue.push("3"));
  const QueueOptions options = must(queue.options());
  EXPECT_EQ(options.lease, 30s);
  EXPECT_EQ(options.max_attempts, 5u);
  EXPECT_EQ(options.max_items, 2u);
  EXPECT_EQ(options.max_bytes, 0u);
}

// ------------------------------------------------------------------------------------------------- a full pond

TEST(FullPond, PushAnswersFullAndThereIsRoomAgainAfterAcks) {
  TestPond test({.limit_bytes = 1 << 20, .on_full = OnFull::fail});
  Pond pond = test.open();
  Queue queue = pond.scope("s").queue("q");
  std::uint64_t pushed = 0, popped = 0;
  for (int round = 0; round < 5; ++round) {
    for (;;) {
      Result<ItemId> id = queue.push(patterned(pushed, 1000));
      if (!id) {
        EXPECT_ANSWER(full, id);
        break;
      }
      ASSERT_LT(++pushed - popped, 1100u) << "the limit holds";
    }
    EXPECT_GT(pushed - popped, 600u) << "most of the limit can be used";
    EXPECT_ANSWER(full, queue.push(patterned(pushed, 1000)));
    while (popped < pushed) {
      Claim claim = must(queue.claim());
      ASSERT_EQ(number_of(claim.payload()), popped++);
      ASSERT_OK(claim.ack());
    }
    EXPECT_ANSWER(empty, queue.claim());
  }
  EXPECT_TRUE(clean(pond));
}

TEST(FullPond, AValueThatNeverFitsIsRefusedAtOnce) {
  TestPond test({.limit_bytes = 1 << 20, .on_full = OnFull::block, .full_timeout = 50ms});
  Pond pond = test.open();
  Queue queue = pond.scope("s").queue("q");
  const Result<ItemId> id = queue.push(std::string(2 << 20, 'x'));
  EXPECT_TRUE(id.code() == Code::too_large || id.code() == Code::full) << describe(id.status());
  EXPECT_OK(queue.push("x"));
  EXPECT_TRUE(clean(pond));
}

TEST(FullPond, PushManyThatDoesNotFitPushesNothing) {
  TestPond test({.limit_bytes = 1 << 20, .on_full = OnFull::fail});
  Pond pond = test.open();
  Queue queue = pond.scope("s").queue("q");
  const std::string item(1000, 'x');
  while (queue.push(item)) {
  }
  const std::uint64_t size = must(queue.size());
  const std::vector<Bytes> items(100, item);
  EXPECT_ANSWER(full, queue.push_many(items));
  EXPECT_EQ(must(queue.size()), size);
  EXPECT_TRUE(clean(pond));
}

TEST(FullPond, ABlockedPushGoesOnWhenMemoryIsFree) {
  TestPond test({.limit_bytes = 1 << 20, .on_full = OnFull::block, .full_timeout = stretched(60s)});
  Pond pond = test.open();
  Queue queue = pond.scope("s").queue("q");
  constexpr std::uint64_t kItems = 5000;
  std::thread pusher([&] {
    for (std::uint64_t i = 0; i < kItems; ++i) ASSERT_OK(queue.push(patterned(i, 1000)));
  });
  for (std::uint64_t i = 0; i < kItems; ++i) {
    const Result<std::string> item = queue.pop(stretched(60s));
    EXPECT_OK(item);
    if (!item) break;
    EXPECT_EQ(number_of(*item), i);
  }
  pusher.join();
  EXPECT_TRUE(clean(pond));
}

TEST(FullPond, ABlockedPushAnswersFullWhenItsTimeIsOver) {
  TestPond test({.limit_bytes = 1 << 20, .on_full = OnFull::block, .full_timeout = 40ms});
  const std::string item(1000, 'x');
  {
    Queue queue = test.queue();
    while (queue.push(item)) {
    }
    const auto start = Clock::now();
    EXPECT_ANSWER(full, queue.push(item));
    EXPECT_GE(since(start), 35ms);
  }
  Options patient = test.options();
  patient.full_timeout = 1h;
  Queue queue = must(Pond::open(test.name(), patient)).scope("scope").queue("work");
  EXPECT_ANSWER(full, queue.push(item, {.full_timeout = 0ms})) << "the call's own time overrides";
}

TEST(FullPond, ClaimedItemsCanBeNackedBuriedAndAckedWhileThePondIsFull) {
  TestPond test({.limit_bytes = 1 << 20, .on_full = OnFull::fail});
  Pond pond = test.open();
  Queue queue = pond.scope("s").queue("q");
  const std::string item(1000, 'x');
  while (queue.push(item)) {
  }
  const std::uint64_t size = must(queue.size());
  Claim nacked = must(queue.claim()), acked = must(queue.claim()), buried = must(queue.claim());
  EXPECT_OK(nacked.nack());
  EXPECT_OK(acked.ack());
  const Status status = buried.bury("no room?");
  EXPECT_TRUE(status == Code::ok || status == Code::full) << describe(status);
  const QueueStats stats = must(queue.stats());
  EXPECT_EQ(stats.ready + stats.claimed + stats.dead, size - 1) << "nothing is lost";
  EXPECT_TRUE(clean(pond));
}

TEST(FullPond, ClearMakesRoom) {
  TestPond test({.limit_bytes = 1 << 20, .on_full = OnFull::fail});
  Pond pond = test.open();
  Queue queue = pond.scope("s").queue("q");
  const std::string item(1000, 'x');
  while (queue.push(item)) {
  }
  const std::uint64_t size = must(queue.size());
  EXPECT_EQ(must(queue.clear()), size);
  for (std::uint64_t i = 0; i + 50 < size; ++i) ASSERT_OK(queue.push(item));
  EXPECT_TRUE(clean(pond));
}

}  // namespace
