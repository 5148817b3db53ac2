// The operations against each other, by the threads of one process: small enough for ThreadSanitizer, which sees neither other processes
// nor other mappings. Each item is accounted for.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "support/team.h"
#include "support/test_pond.h"

namespace {

using namespace headpond;
using namespace support;

/// How often each number came.
template <std::size_t N>
struct Tally {
  std::array<std::atomic<std::uint32_t>, N> count{};
  void add(std::uint64_t number) {
    ASSERT_LT(number, N) << "a payload that nobody wrote";
    count[number].fetch_add(1);
  }
  void expect_each_once() const {
    for (std::size_t i = 0; i < N; ++i) ASSERT_EQ(count[i].load(), 1u) << "number " << i;
  }
};

class Protocol : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_TRUE(clean(pond_)); }
  TestPond test_;
  Pond pond_ = test_.open();
  Queue queue_ = pond_.scope("scope").queue("work");
  Log log_ = pond_.scope("scope").log("log");
  /// A handle of its own for every second thread, the shared one for the others.
  Queue handle(int thread) { return thread % 2 == 0 ? queue_ : test_.queue(); }
};

constexpr std::uint64_t kPushers = 4, kEach = 300, kItems = kPushers * kEach;

TEST_F(Protocol, PushersAndPoppersPassEachItemOnceInTheOrderOfItsPusher) {
  Tally<kItems> tally;
  std::atomic<std::uint64_t> popped{0};
  Team team;
  team.add(kPushers, [&](int p) {
    Queue queue = handle(p);
    for (std::uint64_t i = 0; i < kEach; ++i)
      must(queue.push(patterned(static_cast<std::uint64_t>(p) * kEach + i, 8 + i % 90)));
  });
  team.add(4, [&](int p) {
    Queue queue = handle(p);
    std::array<std::int64_t, kPushers> last;
    last.fill(-1);
    while (popped < kItems) {
      Result<std::string> item = queue.pop(20ms);
      if (!item) continue;
      const std::uint64_t number = number_of(*item);
      tally.add(number);
      ++popped;
      const std::int64_t in_order = static_cast<std::int64_t>(number % kEach);
      EXPECT_GT(in_order, last[number / kEach % kPushers]);
      last[number / kEach % kPushers] = in_order;
    }
  });
  team.run();
  tally.expect_each_once();
}

TEST_F(Protocol, ClaimsThatAreAckedNackedAndDroppedEndInOneAckEach) {
  Tally<kItems> acked;
  std::atomic<std::uint64_t> acks{0};
  Team team;
  team.add(kPushers, [&](int p) {
    Queue queue = handle(p);
    for (std::uint64_t i = 0; i < kEach; ++i) {
      must(queue.push(patterned(static_cast<std::uint64_t>(p) * kEach + i, 8 + i % 90),
                      {.priority = static_cast<int>(i % 3)}));
    }
  });
  team.add(4, [&](int w) {
    Queue queue = handle(w);
    Random random(static_cast<std::uint64_t>(w));
    while (acks < kItems) {
      Result<Claim> claim = queue.claim(20ms);
      if (!claim) continue;
      const std::uint64_t number = number_of(claim->payload());
      switch (random.below(4)) {
        case 0: must(claim->nack()); break;
        case 1: break;  // dropped
        default:
          acked.add(number);
          must(claim->ack());
          ++acks;
      }
    }
  });
  team.run();
  acked.expect_each_once();
  EXPECT_ANSWER(empty, queue_.claim());
}

TEST_F(Protocol, ClaimsThatExpireAreAckedOnceAndFencedElsewhere) {
  must(queue_.configure({.lease = 8ms}));
  Tally<400> acked;
  std::atomic<std::uint64_t> acks{0}, fences{0};
  Team team;
  team.add([&] {
    for (std::uint64_t i = 0; i < 400; ++i) must(queue_.push(patterned(i, 30)));
  });
  team.add(4, [&](int w) {
    Queue queue = handle(w);
    Random random(static_cast<std::uint64_t>(w));
    while (acks < 400) {
      Result<Claim> claim = queue.claim(20ms);
      if (!claim) continue;
      const std::uint64_t number = number_of(claim->payload());
      if (random.one_in(20)) std::this_thread::sleep_for(milliseconds(random.below(20)));
      if (random.one_in(5)) (void)claim->extend(milliseconds(random.below(20) + 1));
      const Status status = claim->ack();
      if (status.ok()) {
        acked.add(number);
        ++acks;
      } else {
        EXPECT_ANSWER(fenced, status);
        ++fences;
      }
    }
  });
  team.run();
  acked.expect_each_once();
}

TEST_F(Protocol, BuriedAndRedrivenItemsAreAckedOnce) {
  constexpr std::uint64_t kCount = 300;
  Tally<kCount> acked;
  std::atomic<std::uint64_t> acks{0};
  Team team;
  team.add([&] {
    for (std::uint64_t i = 0; i < kCount; ++i)
      must(queue_.push(patterned(i, 8 + i % 200), {.priority = static_cast<int>(i % 2)}));
  });
  team.add(3, [&](int w) {
    Queue queue = handle(w);
    Random random(static_cast<std::uint64_t>(w));
    while (acks < kCount) {
      Result<Claim> claim = queue.claim(10ms);
      if (!claim) continue;
      const std::uint64_t number = number_of(claim->payload());
      if (random.one_in(3)) {
        must(claim->bury("once more"));
      } else {
        acked.add(number);
        must(claim->ack());
        ++acks;
      }
    }
  });
  team.add(2, [&](int) {
    while (acks < kCount) {
      must(queue_.redrive(7));
      must(queue_.dead());
      std::this_thread::yield();
    }
  });
  team.run();
  acked.expect_each_once();
  EXPECT_TRUE(must(queue_.dead()).empty());
}

TEST_F(Protocol, ItemsThatAreRetriedLaterAreAckedOnce) {
  constexpr std::uint64_t kCount = 200;
  Tally<kCount> acked;
  std::atomic<std::uint64_t> acks{0};
  Team team;
  team.add([&] {
    for (std::uint64_t i = 0; i < kCount; ++i)
      must(queue_.push(patterned(i, 40), {.delay = milliseconds(i % 3 * 4)}));
  });
  team.add(4, [&](int w) {
    Queue queue = handle(w);
    Random random(static_cast<std::uint64_t>(w));
    while (acks < kCount) {
      Result<Claim> claim = queue.claim(20ms);
      if (!claim) continue;
      const std::uint64_t number = number_of(claim->payload());
      if (random.one_in(2)) {
        must(claim->nack({.delay = milliseconds(1 + random.below(8))}));
      } else {
        acked.add(number);
        must(claim->ack());
        ++acks;
      }
    }
  });
  team.run();
  acked.expect_each_once();
}

TEST_F(Protocol, PoisonGoesToTheDeadLettersOnce) {
  constexpr std::uint64_t kCount = 200;
  must(queue_.configure({.max_attempts = 3}));
  std::atomic<std::uint64_t> settled{0};
  Team team;
  team.add([&] {
    for (std::uint64_t i = 0; i < kCount; ++i) must(queue_.push(patterned(i, 40)));
  });
  team.add(4, [&](int w) {
    Queue queue = handle(w);
    while (settled + must(queue.stats()).dead < kCount) {
      Result<Claim> claim = queue.claim(10ms);
      if (!claim) continue;
      EXPECT_LE(claim->attempts(), 3u);
      if (number_of(claim->payload()) % 2 == 0) {
        must(claim->nack());
      } else {
        must(claim->ack());
        ++settled;
      }
    }
  });
  team.run();
  Tally<kCount> dead;
  for (const DeadItem& item : must(queue_.dead())) dead.add(number_of(item.payload));
  for (std::uint64_t i = 0; i < kCount; ++i) EXPECT_EQ(dead.count[i].load(), i % 2 == 0 ? 1u : 0u) << i;
}

TEST_F(Protocol, ACancelledItemIsNeverDelivered) {
  Tally<kItems> ended;
  std::array<std::atomic<std::uint64_t>, kItems> ids{};
  std::atomic<std::uint64_t> gone{0};
  Team team;
  team.add(2, [&](int p) {
    for (std::uint64_t i = static_cast<std::uint64_t>(p); i < kItems; i += 2)
      ids[i] = must(queue_.push(patterned(i, 20))).value;
  });
  team.add([&] {
    Random random(1);
    while (gone < kItems) {
      const std::uint64_t i = random.below(kItems);
      if (ids[i] == 0) continue;
      const Status status = queue_.cancel(ItemId{ids[i]});
      if (status.ok()) {
        ended.add(i);
        ++gone;
      } else {
        EXPECT_TRUE(status == Code::busy || status == Code::not_found) << describe(status);
      }
    }
  });
  team.add(2, [&](int w) {
    Queue queue = handle(w);
    Random random(static_cast<std::uint64_t>(w) + 7);
    while (gone < kItems) {
      Result<Claim> claim = queue.claim(5ms);
      if (!claim || random.one_in(3)) continue;
      const std::uint64_t number = number_of(claim->payload());
      must(claim->ack());
      ended.add(number);
      ++gone;
    }
  });
  team.run();
  ended.expect_each_once();
}

TEST_F(Protocol, WhatIsClearedIsCountedAndEverythingElseIsAcked) {
  std::atomic<std::uint64_t> acks{0}, cleared{0}, clears{1}, pushing{kPushers};
  Team team;
  team.add(kPushers, [&](int p) {
    Queue queue = handle(p);
    for (std::uint64_t i = 0; i < kEach; ++i)
      must(queue.push(patterned(i, 8 + i % 60), {.priority = static_cast<int>(i % 2)}));
    --pushing;
  });
  team.add([&] {
    while (pushing != 0) {
      cleared += must(queue_.clear());
      ++clears;
      std::this_thread::sleep_for(1ms);
    }
  });
  team.add(2, [&](int w) {
    Queue queue = handle(w);
    Random random(static_cast<std::uint64_t>(w));
    while (pushing != 0) {
      Result<Claim> claim = queue.claim(5ms);
      if (!claim || random.one_in(4)) continue;
      EXPECT_NE(number_of(claim->payload()), UINT64_MAX);
      const Status status = claim->ack();
      acks += status.ok();
      EXPECT_TRUE(status == Code::ok || status == Code::fenced) << describe(status);
    }
  });
  team.run();
  cleared += must(queue_.clear());
  // What a thread is pushing or claiming at that moment goes uncounted: at most one item a thread and clear.
  EXPECT_LE(acks + cleared, kItems);
  EXPECT_GE(acks + cleared + clears * (kPushers + 2), kItems);
  EXPECT_EQ(must(queue_.stats()).ready, 0u);
}

TEST_F(Protocol, AWholeScopeIsClearedWhileItIsUsed) {
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> added{0}, taken{0}, clears{1};
  Team team;
  team.add(3, [&](int t) {
    Scope scope = pond_.scope("cleared");
    for (std::uint64_t i = 0; i < 200; ++i) {
      must(scope.queue(std::to_string((i + static_cast<std::uint64_t>(t)) % 5)).push("x"));
      must(scope.log(std::to_string(i % 3)).append("x"));
      added += 2;
      taken += scope.queue(std::to_string(i % 5)).pop().ok();
    }
    stop = true;
  });
  team.add([&] {
    for (; !stop; ++clears) taken += must(pond_.scope("cleared").clear());
  });
  team.run();
  taken += must(pond_.scope("cleared").clear());
  // What a thread is pushing or popping at that moment goes uncounted: at most one item a thread and clear.
  EXPECT_LE(taken, added);
  EXPECT_GE(taken + clears * 3, added);
  EXPECT_EQ(must(pond_.scope("cleared").clear()), 0u);
}

TEST_F(Protocol, BatchesComeWholeAndInOrder) {
  constexpr std::uint64_t kBatches = 40, kSize = 30;
  std::atomic<std::uint64_t> popped{0};
  Team team;
  team.add(3, [&](int p) {
    Queue queue = handle(p);
    for (std::uint64_t b = 0; b < kBatches; ++b) {
      std::vector<std::string> texts;
      for (std::uint64_t i = 0; i < kSize; ++i)
        texts.push_back(patterned((static_cast<std::uint64_t>(p) * kBatches + b) * kSize + i, 8 + b * 20));
      must(queue.push_many(std::vector<Bytes>(texts.begin(), texts.end())));
    }
  });
  team.add([&] {
    // A batch that was still being written when the popper went past it may come in the middle of another: each has its own order.
    std::vector<std::uint64_t> next(3 * kBatches);
    while (popped < 3 * kBatches * kSize) {
      Result<std::string> item = queue_.pop(20ms);
      if (!item) continue;
      const std::uint64_t number = number_of(*item);
      ASSERT_LT(number, 3 * kBatches * kSize);
      ASSERT_EQ(number % kSize, next[number / kSize]++) << "batch " << number / kSize;
      ++popped;
    }
  });
  team.run();
}

TEST_F(Protocol, ReservationsAreCommittedOrAbandonedBesideEverythingElse) {
  Tally<kItems> tally;
  std::atomic<std::uint64_t> popped{0};
  Team team;
  team.add(kPushers, [&](int p) {
    Queue queue = handle(p);
    Random random(static_cast<std::uint64_t>(p));
    for (std::uint64_t i = 0; i < kEach; ++i) {
      const std::string item = patterned(static_cast<std::uint64_t>(p) * kEach + i, 8 + random.below(100));
      if (random.one_in(3)) {
        Reservation dropped = must(queue.reserve(random.below(300)));
      }
      Reservation reservation = must(queue.reserve(item.size()));
      std::memcpy(reservation.data().data(), item.data(), item.size());
      reservation.commit();
    }
  });
  team.add(2, [&](int p) {
    Queue queue = handle(p);
    while (popped < kItems) {
      Result<std::string> item = queue.pop(20ms);
      if (!item) continue;
      tally.add(number_of(*item));
      ++popped;
    }
  });
  team.run();
  tally.expect_each_once();
}

TEST_F(Protocol, ClaimsArePassedToAnotherThreadThatSettlesThem) {
  Tally<kItems> acked;
  std::atomic<std::uint64_t> acks{0};
  std::mutex mutex;
  std::vector<Claim> passed;
  Team team;
  team.add(2, [&](int p) {
    for (std::uint64_t i = static_cast<std::uint64_t>(p); i < kItems; i += 2)
      must(queue_.push(patterned(i, 100)));
  });
  team.add(2, [&](int w) {
    Queue queue = handle(w);
    while (acks < kItems) {
      Result<std::vector<Claim>> claims = queue.claim_many(20, 5ms);
      if (!claims) continue;
      const std::lock_guard lock(mutex);
      for (Claim& claim : *claims) passed.push_back(std::move(claim));
    }
  });
  team.add(2, [&](int) {
    while (acks < kItems) {
      std::vector<Claim> mine;
      {
        const std::lock_guard lock(mutex);
        mine.swap(passed);
      }
      for (Claim& claim : mine) {
        acked.add(number_of(claim.payload()));
        must(claim.ack());
        ++acks;
      }
      std::this_thread::yield();
    }
  });
  team.run();
  acked.expect_each_once();
}

TEST_F(Protocol, NoWaiterIsLeftBesideAReadyItem) {
  constexpr std::uint64_t kRounds = 300;
  std::atomic<std::uint64_t> got{0};
  std::atomic<bool> stop{false};
  std::int64_t slowest = 0;
  Team team;
  team.add(4, [&](int w) {
    Queue queue = handle(w);
    while (!stop) {
      Result<Claim> claim = queue.claim(stretched(60s));
      if (!claim) continue;
      must(claim->ack());
      ++got;
    }
  });
  team.add([&] {
    for (std::uint64_t round = 1; round <= kRounds; ++round) {
      const std::int64_t start = now_us();
      must(queue_.push("x"));
      while (got < round) std::this_thread::yield();
      slowest = std::max(slowest, now_us() - start);
    }
    stop = true;
    const Bytes wake[] = {"x", "x", "x", "x"};
    must(queue_.push_many(wake));
  });
  team.run();
  EXPECT_LT(slowest, stretched(10'000'000)) << "much sooner than who waits gives up";
  pop_all(queue_);
}

TEST_F(Protocol, PauseAndResumeLoseNothing) {
  Tally<kItems> tally;
  std::atomic<std::uint64_t> popped{0};
  Team team;
  team.add(2, [&](int p) {
    for (std::uint64_t i = static_cast<std::uint64_t>(p); i < kItems; i += 2)
      must(queue_.push(patterned(i, 20)));
  });
  team.add(2, [&](int w) {
    Queue queue = handle(w);
    while (popped < kItems) {
      Result<std::string> item = queue.pop(10ms);
      if (!item) continue;
      tally.add(number_of(*item));
      ++popped;
    }
  });
  team.add([&] {
    while (popped < kItems) {
      must(queue_.pause());
      std::this_thread::yield();
      must(queue_.resume());
      std::this_thread::sleep_for(1ms);
    }
  });
  team.run();
  tally.expect_each_once();
}

TEST_F(Protocol, LookersSeeWholeItemsAndVerifyFindsNothing) {
  std::atomic<bool> stop{false};
  Team team;
  team.add(2, [&](int w) {
    Queue queue = handle(w);
    Random random(static_cast<std::uint64_t>(w));
    for (std::uint64_t i = 0; i < 1500; ++i) {
      must(queue.push(patterned(i, 8 + random.below(500)), {.priority = static_cast<int>(random.below(3))}));
      if (Result<Claim> claim = queue.claim()) {
        const Status settled = random.one_in(5)   ? claim->bury("x")
                               : random.one_in(4) ? claim->nack()
                                                  : claim->ack();
        must(settled);
      }
      if (i % 200 == 0) must(queue.redrive());
      must(log_.append(patterned(i, 50)));
      if (i % 50 == 49) must(log_.trim(must(log_.last_seq()) - 20));
    }
    stop = true;
  });
  team.add([&] {
    while (!stop) {
      if (Result<std::vector<Item>> items = queue_.peek(50)) {
        for (const Item& item : *items) EXPECT_NE(number_of(item.payload), UINT64_MAX);
      }
      for (const DeadItem& item : must(queue_.dead(20))) EXPECT_NE(number_of(item.payload), UINT64_MAX);
      must(queue_.size());
      const QueueStats stats = must(queue_.stats());
      EXPECT_LE(stats.ready + stats.claimed + stats.dead, 3000u + 4u);
    }
  });
  team.add([&] {
    while (!stop) {
      EXPECT_TRUE(clean(pond_));
      must(pond_.stats());
      must(pond_.reap());
    }
  });
  team.run();
}

TEST_F(Protocol, AppendersScannersFollowersAndTrimmersAgreeOnOneOrder) {
  constexpr std::uint64_t kAppenders = 3, kRecords = 400;
  std::atomic<std::uint64_t> appending{kAppenders};
  std::array<std::atomic<std::uint64_t>, kAppenders * kRecords> seq_of{};
  Team team;
  team.add(kAppenders, [&](int a) {
    Log log = a == 0 ? log_ : test_.log();
    std::uint64_t last = 0;
    for (std::uint64_t i = 0; i < kRecords; ++i) {
      const std::uint64_t number = static_cast<std::uint64_t>(a) * kRecords + i;
      const std::uint64_t seq = must(log.append(patterned(number, 8 + i % 300)));
      EXPECT_GT(seq, last);
      last = seq;
      seq_of[number] = seq;
    }
    --appending;
  });
  std::atomic<std::uint64_t> scanned{0};
  const auto read = [&](bool follow) {
    std::uint64_t last = 0, count = 0;
    std::array<std::int64_t, kAppenders> in_order;
    in_order.fill(-1);
    const auto take = [&](const Record& record) {
      ASSERT_GT(record.seq, last);
      last = record.seq;
      const std::uint64_t number = number_of(record.payload);
      ASSERT_LT(number, kAppenders * kRecords);
      ASSERT_GT(static_cast<std::int64_t>(number % kRecords), in_order[number / kRecords]);
      in_order[number / kRecords] = static_cast<std::int64_t>(number % kRecords);
      ++count;
    };
    if (follow) {
      Follower follower = log_.follow();
      while (count < kAppenders * kRecords) {
        const Result<Record> record = follower.next(stretched(60s));
        ASSERT_TRUE(record.ok()) << count << ": " << describe(record.status());
        take(*record);
        if (count % 7 == 0) scanned = last;
      }
      scanned = last;
    } else {
      while (count < kAppenders * kRecords) {
        Scan scan = log_.scan({.after = static_cast<std::int64_t>(last), .limit = 11});
        for (const Record& record : scan) take(record);
        ASSERT_TRUE(scan.status().ok()) << describe(scan.status());
      }
    }
  };
  std::atomic<std::uint64_t> reading{2};
  team.add([&] { read(true), --reading; });
  team.add([&] { read(false), --reading; });
  team.run();
  // Once more with a trimmer behind the follower.
  appending = kAppenders;
  team.add(2, [&](int) {
    for (std::uint64_t i = 0; i < kRecords; ++i) must(log_.append(patterned(i, 200)));
    --appending;
  });
  team.add([&] {
    Follower follower = log_.follow(static_cast<std::int64_t>(kAppenders * kRecords));
    for (std::uint64_t i = 0; i < 2 * kRecords; ++i) {
      const Result<Record> record = follower.next(stretched(60s));
      ASSERT_TRUE(record.ok()) << i << ": " << describe(record.status());
      EXPECT_LT(number_of(record->payload), kRecords);
      EXPECT_EQ(record->seq, kAppenders * kRecords + 1 + i);
      if (i % 20 == 0) must(log_.trim(record->seq));
    }
  });
  team.add([&] {
    while (appending > 1) {
      for (const Record& record : log_.scan()) EXPECT_NE(number_of(record.payload), UINT64_MAX);
      must(log_.stats());
      must(log_.last_seq());
    }
  });
  team.run();
}

TEST_F(Protocol, CursorsOnlyRise) {
  for (int i = 0; i < 200; ++i) must(log_.append("x"));
  Team team;
  team.add(3, [&](int t) {
    Random random(static_cast<std::uint64_t>(t));
    std::uint64_t last = 0;
    for (int i = 0; i < 300; ++i) {
      const std::uint64_t place = must(log_.commit("shared", random.below(200)));
      EXPECT_GE(place, last);
      last = place;
      must(log_.commit("own " + std::to_string(t), static_cast<std::uint64_t>(i) / 2));
      if (i % 50 == 0) must(log_.trim_committed());
    }
  });
  team.run();
  EXPECT_LE(must(log_.trim_committed()), 150u);
}

TEST_F(Protocol, LimitsHoldAboutWithSeveralPushers) {
  constexpr std::uint64_t kLimit = 64;
  must(queue_.configure({.max_items = kLimit}));
  std::atomic<std::uint64_t> popped{0}, pushed{0}, refused{0};
  Team team;
  team.add(3, [&](int p) {
    Queue queue = handle(p);
    for (int i = 0; i < 300; ++i) {
      const Result<ItemId> id = queue.push("x", {.full_timeout = stretched(60s)});
      if (id)
        ++pushed;
      else
        ++refused;
    }
  });
  team.add([&] {
    while (popped < 900 && refused == 0) {
      const QueueStats stats = must(queue_.stats());
      EXPECT_LE(stats.ready + stats.claimed, kLimit + kLimit / 16 + 3);
      popped += queue_.pop(5ms).ok();
    }
  });
  team.run();
  EXPECT_EQ(refused, 0u);
  EXPECT_EQ(pushed, 900u);
}

TEST_F(Protocol, HandlesAndPondsComeAndGoBesideUse) {
  std::atomic<std::uint64_t> popped{0};
  Team team;
  team.add(3, [&](int t) {
    for (int i = 0; i < 60; ++i) {
      Pond pond = test_.open();
      Queue queue = pond.scope("scope").queue("work " + std::to_string(i % 9));
      must(queue.push(std::to_string(t)));
      std::thread([&] { popped += queue.pop().ok(); }).join();
      Scan scan = pond.scope("scope").log("log " + std::to_string(i % 4)).scan();
      scan.next();
      must(pond.scope("scope").log("log " + std::to_string(i % 4)).append("x"));
    }
  });
  team.run();
  std::uint64_t left = 0;
  for (int i = 0; i < 9; ++i) left += pop_all(pond_.scope("scope").queue("work " + std::to_string(i))).size();
  EXPECT_EQ(popped + left, 180u);
}

/// Two push so many items each, of these sizes, and two take them out: each comes once.
template <std::uint64_t kCount>
void through_a_tiny_pond(const TestPond& test, const std::function<std::size_t(Random&)>& size) {
  Pond pond = test.open();
  Queue queue = pond.scope("s").queue("q");
  Tally<2 * kCount> tally;
  std::atomic<std::uint64_t> popped{0};
  Team team;
  team.add(2, [&](int p) {
    Random random(static_cast<std::uint64_t>(p));
    for (std::uint64_t i = 0; i < kCount; ++i)
      must(queue.push(patterned(static_cast<std::uint64_t>(p) * kCount + i, size(random))));
  });
  team.add(2, [&](int) {
    while (popped < 2 * kCount) {
      Result<Claim> claim = queue.claim(20ms);
      if (!claim) continue;
      tally.add(number_of(claim->payload()));
      must(claim->ack());
      ++popped;
    }
  });
  team.run();
  tally.expect_each_once();
  EXPECT_TRUE(clean(pond));
}

TEST(TinyPond, ThreadsInAFullPondLoseNothing) {
  TestPond test({.limit_bytes = 1 << 20, .on_full = OnFull::block, .full_timeout = stretched(60s)});
  through_a_tiny_pond<1500>(test, [](Random&) { return 1500; });
}

TEST(TinyPond, LargeValuesComeAndGoInAFullPond) {
  TestPond test({.limit_bytes = 2 << 20, .on_full = OnFull::block, .full_timeout = stretched(60s)});
  through_a_tiny_pond<60>(test, [](Random& random) { return 1000 + random.below(400'000); });
}

}  // namespace
