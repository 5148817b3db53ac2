// Dead letters of a queue, looking at it, taking out of it and clearing it, one fact a test, in one process.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "support/queue_test.h"

namespace {

using namespace headpond;
using namespace support;

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

}  // namespace
