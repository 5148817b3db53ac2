// What the callers of such a pool do, over real processes: each scenario with its numbers.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "support/test_pond.h"

namespace {

using namespace headpond;
using namespace support;

using Strings = std::vector<std::string>;

void expect_all_end_well(std::vector<Process>& processes) {
  for (std::size_t i = 0; i < processes.size(); ++i)
    EXPECT_EQ(processes[i].wait(stretched(60s)), 0) << "process " << i;
}

// Table buffering: workers process batches, one combines, one finalizes.

TEST(Acceptance, FourWorkersAppendAndAnotherReplaysThemOneByOne) {
  constexpr std::uint64_t kWorkers = 4, kEach = 500, kBytes = 64 << 10;
  TestPond test;
  Pond pond = test.open();
  std::vector<Process> workers;
  for (std::uint64_t w = 0; w < kWorkers; ++w) {
    workers.emplace_back([&, w] {
      Log log = test.log();
      std::uint64_t last = 0;
      for (std::uint64_t i = 0; i < kEach; ++i) {
        const std::uint64_t seq = must(log.append(patterned(w * kEach + i, kBytes)));
        EXPECT_GT(seq, last);
        last = seq;
      }
    });
  }
  expect_all_end_well(workers);
  for (const std::int64_t start : {0, -1}) {
    Process reader([&, start] {
      Log log = test.log();
      std::vector<std::uint64_t> next(kWorkers, 0);
      std::int64_t after = start;
      std::uint64_t count = 0;
      for (;;) {
        Scan scan = log.scan({.after = after, .limit = 1});
        if (!scan.next()) {
          EXPECT_OK(scan.status());
          break;
        }
        const std::int64_t seq = static_cast<std::int64_t>(scan.record().seq);
        EXPECT_GT(seq, after);
        after = seq;
        ASSERT_EQ(scan.record().payload.size(), kBytes);
        const std::uint64_t number = number_of(scan.record().payload);
        ASSERT_LT(number, kWorkers * kEach);
        EXPECT_EQ(next[number / kEach]++, number % kEach) << "each worker's are in its order";
        ++count;
      }
      EXPECT_EQ(count, kWorkers * kEach);
    });
    EXPECT_EQ(reader.wait(stretched(60s)), 0);
  }
  EXPECT_TRUE(clean(pond));
}

TEST(Acceptance, AReaderThatRacesLargeAppendsSeesNoTornValueAndSkipsNone) {
  constexpr std::uint64_t kWriters = 2, kEach = 60;
  TestPond test;
  Pond pond = test.open();
  pond.scope("scope").log("log");
  Shared<Event> done;
  std::vector<Process> processes;
  for (std::uint64_t w = 0; w < kWriters; ++w) {
    processes.emplace_back([&, w] {
      Log log = test.log();
      for (std::uint64_t i = 0; i < kEach; ++i) {
        must(log.append(patterned(w * kEach + i, (1 << 20) + i)));
        if (i % 3 == 0) must(log.append(patterned(1'000'000 + w * kEach + i, 100)));
      }
      done->raise();
    });
  }
  for (int reader = 0; reader < 2; ++reader) {
    processes.emplace_back([&, reader] {
      Log log = test.log();
      std::vector<std::uint64_t> incremental;
      const auto read = [&](Scan scan) {
        for (const Record& record : scan) {
          ASSERT_NE(number_of(record.payload), UINT64_MAX) << "record " << record.seq << " is torn";
          incremental.push_back(record.seq);
        }
        EXPECT_OK(scan.status());
      };
      const auto after = [&] {
        return incremental.empty() ? std::int64_t{reader == 0 ? 0 : -1}
                                   : static_cast<std::int64_t>(incremental.back());
      };
      while (done->count() < kWriters)
        read(log.scan({.after = after(), .limit = reader == 0 ? UINT64_MAX : 1}));
      read(log.scan({.after = after()}));
      std::vector<std::uint64_t> whole;
      for (const Record& record : log.scan()) whole.push_back(record.seq);
      EXPECT_EQ(incremental, whole) << "what was published later never stands before what was read";
      EXPECT_EQ(whole.size(), kWriters * (kEach + kEach / 3));
    });
  }
  expect_all_end_well(processes);
  EXPECT_TRUE(clean(pond));
}

// One bulk push, then pops by all.

TEST(Acceptance, FiveThousandItemsGoToEightPoppersEachOnce) {
  constexpr std::uint64_t kItems = 5000, kPoppers = 8;
  TestPond test;
  Pond pond = test.open();
  Queue queue = test.queue();
  Shared<std::array<std::atomic<std::uint32_t>, kItems>> popped;
  Shared<Barrier> start;
  std::vector<Process> poppers;
  for (std::uint64_t p = 0; p < kPoppers; ++p) {
    poppers.emplace_back([&] {
      Queue mine = test.queue();
      start->meet(kPoppers + 1);
      std::uint64_t last = 0;
      while (Result<std::string> item = mine.pop(stretched(500ms))) {
        const std::uint64_t number = number_of(*item);
        ASSERT_LT(number, kItems);
        (*popped)[number].fetch_add(1);
        EXPECT_TRUE(last == 0 || number > last) << "a popper sees them in order";
        last = number;
      }
    });
  }
  Strings texts;
  for (std::uint64_t i = 0; i < kItems; ++i) texts.push_back(patterned(i, 10 + i % 20));
  const std::vector<Bytes> items(texts.begin(), texts.end());
  start->meet(kPoppers + 1);
  must(queue.push_many(std::span(items).first(kItems / 2)));
  for (std::uint64_t i = kItems / 2; i < kItems; ++i) must(queue.push(items[i]));
  expect_all_end_well(poppers);
  for (std::uint64_t i = 0; i < kItems; ++i) ASSERT_EQ((*popped)[i].load(), 1u) << "item " << i;
  EXPECT_ANSWER(empty, queue.pop());
  EXPECT_TRUE(clean(pond));
}

// Several push at once, so the claim passes records that are being written; one waits there while another goes on.
TEST(Acceptance, ALoneClaimerSeesEachPushersItemsInTheirOrder) {
  constexpr std::uint64_t kPushers = 8, kEach = 5'000;
  TestPond test;
  Pond pond = test.open();
  Queue queue = test.queue();
  Shared<Barrier> start;
  std::vector<Process> pushers;
  for (std::uint64_t p = 0; p < kPushers; ++p) {
    pushers.emplace_back([&, p] {
      Queue mine = test.queue();
      start->meet(kPushers + 1);
      for (std::uint64_t i = 0; i < kEach; ++i) must(mine.push(patterned(p * kEach + i, 20 + i % 7 * 300)));
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
  for (std::uint64_t seen = 0; seen < kPushers * kEach && !HasFailure();) {
    auto claims = queue.claim_many(5, stretched(5s));
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

TEST(Acceptance, ALonePopperSeesFirstInFirstOutAndPushAfterDrainPopsAgain) {
  TestPond test;
  for (int round = 0; round < 3; ++round) {
    Process pusher([&, round] {
      Queue queue = test.queue();
      for (int i = 0; i < 1000; ++i) must(queue.push(std::to_string(round * 1000 + i)));
    });
    EXPECT_EQ(pusher.wait(), 0);
    Process popper([&, round] {
      Queue queue = test.queue();
      for (int i = 0; i < 1000; ++i) EXPECT_EQ(shown(queue.pop()), std::to_string(round * 1000 + i));
      EXPECT_ANSWER(empty, queue.pop());
    });
    EXPECT_EQ(popper.wait(), 0);
  }
  EXPECT_TRUE(clean(test));
}

TEST(Acceptance, AnUnknownScopeHasNothing) {
  TestPond test;
  Pond pond = test.open();
  Process other([&] {
    EXPECT_ANSWER(empty, test.queue("work", "never heard of").pop());
    EXPECT_TRUE(read_all(test.log("log", "never heard of")).empty());
  });
  EXPECT_EQ(other.wait(), 0);
}

TEST(Acceptance, FourPushersOfThreeHundredLoseNoneAndEachKeepsItsOrder) {
  constexpr std::uint64_t kPushers = 4, kEach = 300;
  TestPond test;
  Pond pond = test.open();
  Shared<Barrier> start;
  std::vector<Process> pushers;
  for (std::uint64_t p = 0; p < kPushers; ++p) {
    pushers.emplace_back([&, p] {
      Queue queue = test.queue();
      start->meet(kPushers);
      std::uint64_t last = 0;
      for (std::uint64_t i = 0; i < kEach; ++i) {
        const ItemId id = must(queue.push(patterned(p * kEach + i, 16)));
        EXPECT_GT(id.value, last);
        last = id.value;
      }
    });
  }
  Queue queue = test.queue();
  std::vector<std::uint64_t> next(kPushers, 0);
  for (std::uint64_t count = 0; count < kPushers * kEach; ++count) {
    const std::uint64_t number = number_of(must(queue.pop(stretched(5000ms))));
    ASSERT_EQ(next[number / kEach]++, number % kEach);
  }
  expect_all_end_well(pushers);
  EXPECT_ANSWER(empty, queue.pop());
  EXPECT_TRUE(clean(pond));
}

TEST(Acceptance, AWorkerKilledBetweenProcessAndFinalizeLosesNoAppendThatReturned) {
  constexpr std::uint64_t kWorkers = 3;
  TestPond test;
  Pond pond = test.open();
  Shared<std::array<std::atomic<std::uint64_t>, kWorkers>> returned;
  Shared<Event> progress;
  std::vector<Process> workers;
  for (std::uint64_t w = 0; w < kWorkers; ++w) {
    workers.emplace_back([&, w] {
      Log log = test.open().scope("scope").log("state", "execution");
      for (std::uint64_t i = 0;; ++i) {
        if (w != 0 && i == 400) break;
        must(log.append(patterned(w * 1'000'000 + i, 8 + (i * 977) % 20'000)));
        (*returned)[w] = i + 1;
        if (i == 400) progress->raise();
      }
    });
  }
  ASSERT_TRUE(progress->wait());
  workers[0].kill();
  expect_all_end_well(workers = [&] {
    std::vector<Process> rest;
    for (std::size_t i = 1; i < workers.size(); ++i) rest.push_back(std::move(workers[i]));
    return rest;
  }());
  Process combiner([&] {
    Scope scope = test.open().scope("scope");
    std::vector<std::uint64_t> next(kWorkers, 0);
    Log sorted = scope.log("finalize", "execution");
    Scan scan = scope.log("state", "execution").scan();
    for (const Record& record : scan) {
      const std::uint64_t number = number_of(record.payload);
      ASSERT_NE(number, UINT64_MAX);
      ASSERT_EQ(next[number / 1'000'000]++, number % 1'000'000);
      must(sorted.append(record.payload));
    }
    EXPECT_OK(scan.status());
    EXPECT_GE(next[0], (*returned)[0].load());
    EXPECT_LE(next[0], (*returned)[0].load() + 1) << "at most the one whose append had not returned";
    EXPECT_EQ(next[1], 400u);
    EXPECT_EQ(next[2], 400u);
  });
  EXPECT_EQ(combiner.wait(), 0);
  Process finalizer([&] {
    Log log = test.open().scope("scope").log("finalize", "execution");
    std::int64_t after = 0;
    std::uint64_t count = 0;
    for (Scan scan = log.scan({.after = after, .limit = 1}); scan.next();
         scan = log.scan({.after = after, .limit = 1})) {
      after = static_cast<std::int64_t>(scan.record().seq);
      ++count;
    }
    EXPECT_GE(count, (*returned)[0].load() + 800);
  });
  EXPECT_EQ(finalizer.wait(), 0);
  EXPECT_TRUE(clean(pond));
}

// ------------------------------------------------------------------------------------------------- killed workers

TEST(Acceptance, AKilledWorkersItemIsBackAtOnceWithItsAttemptsRaised) {
  TestPond test;
  Queue queue = test.queue();
  const ItemId id = must(queue.push("job"));
  must(queue.push("other"));
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
  EXPECT_LT(since(start), stretched(500ms));
  ASSERT_EQ(claims.size(), 2u);
  const auto job =
      std::find_if(claims.begin(), claims.end(), [&](const Claim& claim) { return claim.id() == id; });
  ASSERT_NE(job, claims.end());
  EXPECT_EQ(job->attempts(), 6u);
  EXPECT_EQ(job->crashes(), 5u);
  EXPECT_EQ(queue.ack_many(claims), 2u);
  EXPECT_TRUE(clean(test));
}

TEST(Acceptance, AnItemHasNeverTwoLiveOwners) {
  // Every worker marks the item as its own while it holds it; some are killed while they do.
  constexpr std::uint64_t kItems = 200;
  struct Owners {
    std::array<std::atomic<std::int32_t>, kItems> pid{};
    std::array<std::atomic<std::uint32_t>, kItems> acked{};
    std::atomic<std::uint32_t> doubles{0};
  };
  WITH_SEED(seed);
  Random random(seed);
  TestPond test;
  Queue queue = test.queue();
  Shared<Owners> owners;
  for (std::uint64_t i = 0; i < kItems; ++i) must(queue.push(patterned(i, 100)));
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

TEST(Acceptance, AnItemThatKillsItsWorkersBecomesADeadLetter) {
  TestPond test({.queue = {.max_attempts = 3}});
  Queue queue = test.queue();
  must(queue.push("poison"));
  must(queue.push("good"));
  pid_t last = 0;
  for (int death = 0; death < 3; ++death) {
    Process worker([&] {
      Queue mine = test.queue();
      Claim claim = must(mine.claim(1s));
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

TEST(Acceptance, AWorkerThatExitsWithClaimsGivesThemBack) {
  TestPond test;
  Queue queue = test.queue();
  for (int i = 0; i < 100; ++i) must(queue.push(std::to_string(i)));
  Process worker([&] {
    static Queue mine = test.queue();
    static std::vector<Claim> forgotten = must(mine.claim_many(50));
    EXPECT_EQ(forgotten.size(), 50u);
  });  // leaves by _exit
  EXPECT_EQ(worker.wait(), 0);
  must(test.open().reap());
  Strings expected;
  for (int i = 0; i < 100; ++i) expected.push_back(std::to_string(i));
  EXPECT_EQ(pop_all(queue), expected) << "all at their old places";
}

TEST(Acceptance, APopOfAKilledProcessEitherHasTheItemOrLeavesIt) {
  WITH_SEED(seed);
  Random random(seed);
  constexpr std::uint64_t kItems = 20'000;
  struct Seen {
    std::array<std::atomic<std::uint8_t>, kItems> count{};
  };
  TestPond test;
  Queue queue = test.queue();
  Strings texts;
  for (std::uint64_t i = 0; i < kItems; ++i) texts.push_back(patterned(i, 24));
  must(queue.push_many(std::vector<Bytes>(texts.begin(), texts.end())));
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

// ------------------------------------------------------------------------------------------------- limits and files

TEST(Acceptance, EightMiBKeepFiftyLargeAndAHundredThousandSmallItemsInOrderOverBothTiers) {
  TestPond test({.limit_bytes = 8 << 20, .on_full = OnFull::spill, .full_timeout = stretched(20'000ms)});
  Queue queue = test.queue();
  Process pusher([&] {
    Queue mine = test.queue();
    std::uint64_t number = 0;
    for (; number < 50; ++number) must(mine.push(patterned(number, 1 << 20)));
    for (; number < 100'050; ++number) must(mine.push(patterned(number, 20)));
  });
  EXPECT_EQ(pusher.wait(), 0);
  EXPECT_EQ(must(queue.size()), 100'050u);
  EXPECT_LE(must(test.open().stats()).page_bytes, 8u << 20);
  const Strings items = pop_all(queue);
  ASSERT_EQ(items.size(), 100'050u);
  for (std::uint64_t i = 0; i < items.size(); ++i) ASSERT_EQ(number_of(items[i]), i);
  EXPECT_TRUE(clean(test));
}

TEST(Acceptance, EightMiBTakesWhatItTakesSaysFullAndKeepsAllOfIt) {
  TestPond test({.limit_bytes = 8 << 20, .on_full = OnFull::fail});
  Queue queue = test.queue();
  std::uint64_t pushed = 0;
  Process pusher([&] {
    Queue mine = test.queue();
    std::uint64_t number = 0;
    for (int i = 0; i < 50; ++i) {
      const Result<ItemId> id = mine.push(patterned(number, 1 << 20));
      if (!id) {
        EXPECT_ANSWER(full, id);
        break;
      }
      ++number;
    }
    EXPECT_GE(number, 4u);
    EXPECT_LE(number, 8u);
    for (int i = 0; i < 100'000; ++i) {
      const Result<ItemId> id = mine.push(patterned(number, 20));
      if (!id) {
        EXPECT_ANSWER(full, id);
        break;
      }
      ++number;
    }
  });
  EXPECT_EQ(pusher.wait(), 0);
  pushed = must(queue.stats()).pushed;
  const Strings items = pop_all(queue);
  EXPECT_EQ(items.size(), pushed);
  for (std::uint64_t i = 0; i < items.size(); ++i) ASSERT_EQ(number_of(items[i]), i);
  EXPECT_OK(queue.push(patterned(0, 1 << 20))) << "there is room again";
  EXPECT_TRUE(clean(test));
}

TEST(Acceptance, ASegmentThatWasDeletedWhileNobodyWasAttachedIsMadeAnew) {
  TestPond test;
  must(test.queue().push("in memory only"));
  ASSERT_EQ(::unlink(test.segment_path().c_str()), 0);
  EXPECT_ANSWER(not_found, Pond::open_existing(test.name()));
  Process other([&] {
    Queue queue = test.queue();
    EXPECT_ANSWER(empty, queue.claim());
    EXPECT_OK(queue.push("new"));
  });
  EXPECT_EQ(other.wait(), 0);
  EXPECT_TRUE(clean(test));
}

TEST(Acceptance, ADamagedSegmentIsAClearErrorForEveryProcess) {
  TestPond test;
  must(test.queue().push("x"));
  const auto size = std::filesystem::file_size(test.segment_path());
  std::filesystem::resize_file(test.segment_path(), size / 2);
  for (int i = 0; i < 3; ++i) {
    Process opener([&] {
      const auto result = Pond::open(test.name());
      EXPECT_ANSWER(corruption, result);
      EXPECT_NE(result.status().text().find(test.segment_path()), std::string::npos)
          << result.status().text();
    });
    EXPECT_EQ(opener.wait(), 0);
  }
  EXPECT_OK(Pond::remove(test.name()));
}

TEST(Acceptance, ManyProcessesThatOpenAtOnceGetTheSamePond) {
  constexpr std::uint32_t kProcesses = 16;
  TestPond test;
  Shared<Barrier> start;
  std::vector<Process> openers;
  for (std::uint32_t i = 0; i < kProcesses; ++i) {
    openers.emplace_back([&, i] {
      start->meet(kProcesses);
      must(test.queue().push(std::to_string(i)));
    });
  }
  expect_all_end_well(openers);
  EXPECT_EQ(pop_all(test.queue()).size(), kProcesses);
  EXPECT_EQ(shared_memory_names(test.name()).size(), 1u);
  EXPECT_TRUE(clean(test));
}

TEST(Acceptance, OpeningAndRemovingMayRace) {
  WITH_SEED(seed);
  TestPond test({.limit_bytes = 1 << 20});
  std::vector<Process> processes;
  for (std::uint64_t p = 0; p < 4; ++p) {
    processes.emplace_back([&, p] {
      Random random(seed + p);
      for (int i = 0; i < 100; ++i) {
        if (random.one_in(3)) {
          const Status status = Pond::remove(test.name());
          EXPECT_TRUE(status == Code::ok || status == Code::not_found) << describe(status);
          continue;
        }
        const Result<Pond> pond = Pond::open(test.name(), test.options());
        if (!pond) {
          EXPECT_ANSWER(busy, pond);
          continue;
        }
        const Result<ItemId> id = pond->scope().queue().push("x");
        EXPECT_TRUE(id.code() == Code::ok || id.code() == Code::removed) << describe(id.status());
        const Result<std::string> item = pond->scope().queue().pop();
        EXPECT_TRUE(item.code() == Code::ok || item.code() == Code::empty || item.code() == Code::removed)
            << describe(item.status());
      }
    });
  }
  expect_all_end_well(processes);
  (void)Pond::remove(test.name());
  EXPECT_TRUE(shared_memory_names(test.name()).empty());
}

TEST(Acceptance, AClearInOneProcessHoldsInEveryOther) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope("a").queue("q");
  Log log = pond.scope("a").log("l");
  Queue other = pond.scope("").queue("q");
  must(queue.push("x"));
  must(log.append("x"));
  must(other.push("stays"));
  Process clearer([&] {
    EXPECT_EQ(must(test.open().scope("a").clear()), 2u);
    EXPECT_EQ(must(test.open().scope("a").clear()), 0u);
  });
  EXPECT_EQ(clearer.wait(), 0);
  EXPECT_ANSWER(empty, queue.claim());
  EXPECT_TRUE(read_all(log).empty());
  EXPECT_EQ(must(queue.push("new")).value, 2u);
  EXPECT_EQ(must(log.append("new")), 2u);
  EXPECT_EQ(shown(other.pop()), "stays");
  EXPECT_TRUE(clean(pond));
}

TEST(Acceptance, AWorkerThatDiesWithClaimsOfAClearedQueueLeavesNothing) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope("a").queue("q");
  for (int i = 0; i < 100; ++i) must(queue.push("x"));
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
