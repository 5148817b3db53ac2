// What a queue takes: batches, values, names, reservations, claims as objects, arguments; one fact a test, in one process.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "support/queue_test.h"

namespace {

using namespace headpond;
using namespace support;

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

}  // namespace
