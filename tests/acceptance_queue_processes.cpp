// What a pool of workers does with queues, over real processes, in memory and over both tiers. The numbers are those of the contract's
// scenarios.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <string>
#include <vector>

#include "support/both_tiers.h"

namespace {

using namespace support;

using Strings = std::vector<std::string>;

class Workers : public BothTiers {};
IN_BOTH_TIERS(Workers);

// contract scenario 6: one bulk push, then pops by all
TEST_P(Workers, FiveThousandItemsGoToEightPoppersEachOnce) {
  constexpr std::uint64_t kItems = 5000, kPoppers = 8;
  Pond pond = test.open();
  Queue queue = test.queue();
  Shared<std::array<std::atomic<std::uint32_t>, kItems>> popped;
  Shared<Barrier> start;
  Shared<Event> all_pushed;
  std::vector<Process> poppers;
  for (std::uint64_t p = 0; p < kPoppers; ++p) {
    poppers.emplace_back([&] {
      Queue mine = test.queue();
      start->meet(kPoppers + 1);
      std::uint64_t last = 0;
      for (;;) {
        const bool end = all_pushed->count() > 0;
        Result<std::string> item = mine.pop(stretched(100ms));
        if (!item && end) break;  // another perhaps brings the rest back, and then goes on with it
        if (!item) continue;
        const std::uint64_t number = number_of(*item);
        ASSERT_LT(number, kItems);
        (*popped)[number].fetch_add(1);
        EXPECT_TRUE(last == 0 || number > last) << "a popper sees them in order";
        last = number;
      }
    });
  }
  Strings texts;
  for (std::uint64_t i = 0; i < kItems; ++i) texts.push_back(patterned(i, bytes(10, 8000) + i % 20));
  const std::vector<Bytes> items(texts.begin(), texts.end());
  for (std::uint64_t i = 0; i < kItems / 2; i += 100) must(queue.push_many(std::span(items).subspan(i, 100)));
  expect_spilled(queue);
  start->meet(kPoppers + 1);
  for (std::uint64_t i = kItems / 2; i < kItems; ++i) must(queue.push(items[i]));
  all_pushed->raise();
  expect_all_end_well(poppers);
  for (std::uint64_t i = 0; i < kItems; ++i) ASSERT_EQ((*popped)[i].load(), 1u) << "item " << i;
  EXPECT_ANSWER(empty, queue.pop());
  EXPECT_TRUE(clean(pond));
}

// Several push at once, so the claim passes records that are being written; one waits there while another goes on.
TEST_P(Workers, ALoneClaimerSeesEachPushersItemsInTheirOrder) {
  constexpr std::uint64_t kPushers = 8, kEach = 5'000;
  Pond pond = test.open();
  Queue queue = test.queue();
  Shared<Barrier> start;
  std::vector<Process> pushers;
  for (std::uint64_t p = 0; p < kPushers; ++p) {
    pushers.emplace_back([&, p] {
      Queue mine = test.queue();
      start->meet(kPushers + 1);
      for (std::uint64_t i = 0; i < kEach; ++i)
        must(mine.push(patterned(p * kEach + i, 20 + i % 7 * 300 + bytes(0, 500))));
    });
  }
  std::array<std::uint64_t, kPushers> next{};
  const auto see = [&](Bytes payload) {
    const std::uint64_t number = number_of(payload), pusher = number / kEach;
    ASSERT_LT(pusher, kPushers);
    EXPECT_EQ(number % kEach, next[pusher]) << "of pusher " << pusher;
    next[pusher] = number % kEach + 1;
  };
  start->meet(kPushers + 1);
  if (spills()) {
    EXPECT_TRUE(eventually([&] { return must(queue.stats()).spilled > 0; }));
  }
  for (std::uint64_t seen = 0; seen < kPushers * kEach && !HasFailure();) {
    auto claims = queue.claim_many(5, stretched(60s));
    ASSERT_OK(claims.status());
    for (Claim& claim : *claims) {
      see(claim.payload());
      EXPECT_OK(claim.ack());
      ++seen;
    }
    if (Result<std::string> item = queue.pop()) see(*item), ++seen;
  }
  expect_all_end_well(pushers);
  EXPECT_TRUE(clean(pond));
}

// contract scenario 6
TEST_P(Workers, ALonePopperSeesFirstInFirstOutAndPushAfterDrainPopsAgain) {
  Pond keep = test.open();
  for (std::uint64_t round = 0; round < 3; ++round) {
    Process pusher([&, round] {
      Queue queue = test.queue();
      for (std::uint64_t i = 0; i < 1000; ++i)
        must(queue.push(patterned(round * 1000 + i, bytes(8, 30'000))));
    });
    EXPECT_EQ(pusher.wait(), 0);
    expect_spilled(keep.scope("scope").queue("work"));
    Process popper([&, round] {
      Queue queue = test.queue();
      for (std::uint64_t i = 0; i < 1000; ++i) ASSERT_EQ(number_of(must(queue.pop())), round * 1000 + i);
      EXPECT_ANSWER(empty, queue.pop());
    });
    EXPECT_EQ(popper.wait(), 0);
  }
  EXPECT_TRUE(clean(test));
}

TEST_P(Workers, AnUnknownScopeHasNothing) {
  Pond pond = test.open();
  Process other([&] {
    EXPECT_ANSWER(empty, test.queue("work", "never heard of").pop());
    EXPECT_TRUE(read_all(test.log("log", "never heard of")).empty());
  });
  EXPECT_EQ(other.wait(), 0);
}

// contract scenario 7
TEST_P(Workers, FourPushersOfThreeHundredLoseNoneAndEachKeepsItsOrder) {
  constexpr std::uint64_t kPushers = 4, kEach = 300;
  Pond pond = test.open();
  Shared<Barrier> start;
  std::vector<Process> pushers;
  for (std::uint64_t p = 0; p < kPushers; ++p) {
    pushers.emplace_back([&, p] {
      Queue queue = test.queue();
      start->meet(kPushers);
      std::uint64_t last = 0;
      for (std::uint64_t i = 0; i < kEach; ++i) {
        const ItemId id = must(queue.push(patterned(p * kEach + i, bytes(16, 30'000))));
        EXPECT_GT(id.value, last);
        last = id.value;
      }
    });
  }
  Queue queue = test.queue();
  if (spills()) {
    EXPECT_TRUE(eventually([&] { return must(queue.stats()).spilled > kEach / 4; }));
  }
  std::vector<std::uint64_t> next(kPushers, 0);
  for (std::uint64_t count = 0; count < kPushers * kEach; ++count) {
    const std::uint64_t number = number_of(must(queue.pop(stretched(60s))));
    ASSERT_EQ(next[number / kEach]++, number % kEach);
  }
  expect_all_end_well(pushers);
  EXPECT_ANSWER(empty, queue.pop());
  EXPECT_TRUE(clean(pond));
}

// contract scenario 10
TEST_P(Workers, AKilledWorkersItemIsBackAtOnceWithItsAttemptsRaised) {
  Queue queue = test.queue();
  const ItemId id = must(queue.push("job"));
  must(queue.push("other"));
  Queue rest = test.queue("rest");
  for (std::uint64_t i = 0; i < 1000; ++i) must(rest.push(patterned(i, bytes(8, 30'000))));
  expect_spilled(rest);
  Shared<Event> claimed;
  for (std::uint32_t death = 1; death <= 5; ++death) {
    Process worker([&] {
      Queue mine = test.queue();
      Claim claim = must(mine.claim());
      EXPECT_EQ(claim.payload(), "job");
      EXPECT_EQ(claim.attempts(), claimed->count() + 1);
      EXPECT_EQ(claim.crashes(), claimed->count());
      claimed->raise();
      pause_forever();
    });
    ASSERT_TRUE(claimed->wait(death));
    EXPECT_EQ(must(queue.stats()).claimed, 1u);
    worker.kill();
  }
  const auto start = Clock::now();
  std::vector<Claim> claims;
  for (;;) {  // an empty claim looks for the dead, so at most one is needed
    Result<Claim> claim = queue.claim();
    if (!claim) break;
    claims.push_back(std::move(*claim));
  }
  EXPECT_LT(since(start), stretched(10s)) << "nobody waits for a time-out";
  ASSERT_EQ(claims.size(), 2u);
  const auto job =
      std::find_if(claims.begin(), claims.end(), [&](const Claim& claim) { return claim.id() == id; });
  ASSERT_NE(job, claims.end());
  EXPECT_EQ(job->attempts(), 6u);
  EXPECT_EQ(job->crashes(), 5u);
  EXPECT_EQ(queue.ack_many(claims), 2u);
  EXPECT_TRUE(clean(test));
}

// contract scenario 10
TEST_P(Workers, AnItemHasNeverTwoLiveOwners) {
  // Every worker marks the item as its own while it holds it; some are killed while they do.
  constexpr std::uint64_t kItems = 200;
  struct Owners {
    std::array<std::atomic<std::int32_t>, kItems> pid{};
    std::array<std::atomic<std::uint32_t>, kItems> acked{};
    std::atomic<std::uint32_t> doubles{0};
  };
  WITH_SEED(seed);
  Random random(seed);
  Queue queue = test.queue();
  Shared<Owners> owners;
  for (std::uint64_t i = 0; i < kItems; ++i) must(queue.push(patterned(i, bytes(100, 200'000))));
  expect_spilled(queue);
  const auto worker = [&] {
    return Process([&] {
      Queue mine = test.queue();
      for (;;) {
        Result<Claim> claim = mine.claim(50ms);
        if (!claim) continue;
        const std::uint64_t number = number_of(claim->payload());
        const std::int32_t before = owners->pid[number].exchange(::getpid());
        if (before != 0 && task_state(before) != 0 && task_state(before) != 'Z') owners->doubles.fetch_add(1);
        for (int work = 0; work < 20'000; ++work) std::atomic_signal_fence(std::memory_order_seq_cst);
        std::int32_t me = ::getpid();
        if (!owners->pid[number].compare_exchange_strong(me, 0)) owners->doubles.fetch_add(1);
        if (number % 2 == 0 || claim->attempts() > 5) {
          owners->acked[number] = 1;
          must(claim->ack());
        } else {
          must(claim->nack());
        }
      }
    });
  };
  std::vector<Process> workers;
  for (int i = 0; i < 4; ++i) workers.push_back(worker());
  for (int kill = 0; kill < 30; ++kill) {
    timespec time{0, static_cast<long>(random.below(6'000'000))};
    ::nanosleep(&time, nullptr);
    Process& victim = workers[random.below(workers.size())];
    ASSERT_FALSE(victim.ended()) << "exit " << victim.wait();
    victim.kill();
    victim = worker();
  }
  EXPECT_TRUE(eventually([&] {
    return std::all_of(owners->acked.begin(), owners->acked.end(),
                       [](auto& acked) { return acked.load() == 1; });
  }));
  for (Process& process : workers) process.kill();
  EXPECT_EQ(owners->doubles.load(), 0u);
  EXPECT_TRUE(clean(test));
}

TEST_P(Workers, AnItemThatKillsItsWorkersBecomesADeadLetter) {
  Queue queue = test.queue();
  must(queue.configure({.max_attempts = 3}));
  must(queue.push("poison"));
  must(queue.push("good"));
  pid_t last = 0;
  for (int death = 0; death < 3; ++death) {
    Process worker([&] {
      Queue mine = test.queue();
      Claim claim = must(mine.claim(stretched(60s)));
      EXPECT_EQ(claim.payload(), "poison");
      ::raise(SIGKILL);
    });
    last = worker.pid();
    EXPECT_EQ(worker.wait(), 128 + SIGKILL);
    must(test.open().reap());
  }
  EXPECT_EQ(shown(queue.pop()), "good");
  EXPECT_ANSWER(empty, queue.claim());
  const std::vector<DeadItem> dead = must(queue.dead());
  ASSERT_EQ(dead.size(), 1u);
  EXPECT_EQ(dead[0].payload, "poison");
  EXPECT_EQ(dead[0].cause, Cause::max_attempts);
  EXPECT_EQ(dead[0].attempts, 3u);
  EXPECT_EQ(dead[0].crashes, 3u);
  EXPECT_TRUE(dead[0].pid == last || dead[0].pid == 0) << dead[0].pid << ", not " << last;
  EXPECT_TRUE(clean(test));
}

TEST_P(Workers, AWorkerThatExitsWithClaimsGivesThemBack) {
  Queue queue = test.queue();
  for (std::uint64_t i = 0; i < 100; ++i) must(queue.push(patterned(i, bytes(8, 300'000))));
  expect_spilled(queue);
  Process worker([&] {
    static Queue mine = test.queue();
    static std::vector<Claim> forgotten = must(mine.claim_many(10));
    EXPECT_EQ(forgotten.size(), 10u);
  });  // leaves by _exit
  EXPECT_EQ(worker.wait(), 0);
  must(test.open().reap());
  const Strings items = pop_all(queue);
  ASSERT_EQ(items.size(), 100u);
  for (std::uint64_t i = 0; i < 100; ++i) EXPECT_EQ(number_of(items[i]), i) << "all at their old places";
}

TEST_P(Workers, APopOfAKilledProcessEitherHasTheItemOrLeavesIt) {
  WITH_SEED(seed);
  Random random(seed);
  constexpr std::uint64_t kItems = 20'000;
  struct Seen {
    std::array<std::atomic<std::uint8_t>, kItems> count{};
  };
  Queue queue = test.queue();
  Strings texts;
  for (std::uint64_t i = 0; i < kItems; ++i) texts.push_back(patterned(i, bytes(24, 1500)));
  const std::vector<Bytes> items(texts.begin(), texts.end());
  for (std::uint64_t i = 0; i < kItems; i += 1000) must(queue.push_many(std::span(items).subspan(i, 1000)));
  expect_spilled(queue);
  Shared<Seen> seen;
  std::uint64_t kills = 0;
  while (must(queue.size()) > kItems / 4 && kills < 40) {
    Process popper([&] {
      Queue mine = test.queue();
      while (Result<std::string> item = mine.pop()) seen->count[number_of(*item)].fetch_add(1);
      pause_forever();
    });
    timespec time{0, static_cast<long>(random.below(2'000'000))};
    ::nanosleep(&time, nullptr);
    popper.kill();
    ++kills;
  }
  for (const std::string& item : pop_all(queue)) seen->count[number_of(item)].fetch_add(1);
  std::uint64_t missing = 0;
  for (const auto& count : seen->count) {
    EXPECT_LE(count.load(), 1);
    missing += count.load() == 0;
  }
  EXPECT_LE(missing, kills) << "at most the one that the killed one had";
  EXPECT_TRUE(clean(test));
}

TEST_P(Workers, AWorkerThatDiesWithClaimsOfAClearedQueueLeavesNothing) {
  Pond pond = test.open();
  Queue queue = pond.scope("a").queue("q");
  for (std::uint64_t i = 0; i < 100; ++i) must(queue.push(patterned(i, bytes(8, 300'000))));
  expect_spilled(queue);
  Shared<Event> claimed;
  Process worker([&] {
    Pond mine = test.open();
    Queue theirs = mine.scope("a").queue("q");
    std::vector<Claim> claims;
    for (int i = 0; i < 10; ++i) claims.push_back(must(theirs.claim()));
    const std::vector<Claim> batch = must(theirs.claim_many(20));
    claimed->raise();
    pause_forever();
  });
  ASSERT_TRUE(claimed->wait(1, stretched(10s)));
  EXPECT_EQ(must(queue.clear()), 100u);
  worker.kill();
  (void)worker.wait();
  must(pond.reap());
  EXPECT_EQ(must(queue.clear()), 0u);
  EXPECT_ANSWER(empty, queue.claim());
  EXPECT_TRUE(clean(pond));
  must(pond.reap());
  EXPECT_LE(must(pond.stats()).page_bytes, 2u << 10);
}

}  // namespace
