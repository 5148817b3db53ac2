// A queue that is paused, drained or limited, and one whose pond is full, one fact a test, in one process.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "support/queue_test.h"

namespace {

using namespace headpond;
using namespace support;

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
