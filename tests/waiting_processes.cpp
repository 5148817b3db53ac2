// Who waits wakes up, whoever dies or stops meanwhile. Measured latencies are printed and recorded; what is asserted leaves
// room for a busy machine, but not for a wake-up that was lost and found again by the next regular look.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "support/test_pond.h"

namespace {

using namespace headpond;
using namespace support;

/// How long a waiter would wait: in vain, if nobody wakes it.
constexpr milliseconds kLong = 60s;
/// Much sooner than that it is awake; in this there is room for a machine that stands still for some seconds.
constexpr milliseconds kSoon = 10s;
constexpr std::int64_t kSoonUs = kSoon / 1us;

/// A waiter's signs of life.
struct Line {
  Event about_to_wait;
  Event got_it;
  std::atomic<std::int64_t> woke_us{0};
};

/// One waiter, `rounds` times: it sleeps, `trigger` is done, and it has woken. The median of the latencies in microseconds.
template <class Attach, class Trigger>
std::int64_t measure(const char* what, int rounds, Attach attach, Trigger trigger) {
  Shared<Line> line;
  Process waiter([&] {
    auto wait_once = attach();
    for (int round = 0; round < rounds; ++round) {
      line->about_to_wait.raise();
      wait_once(round);
      line->woke_us = now_us();
      line->got_it.raise();
    }
  });
  std::vector<std::int64_t> samples;
  for (int round = 0; round < rounds; ++round) {
    const std::uint32_t number = static_cast<std::uint32_t>(round) + 1;
    if (!line->about_to_wait.wait(number) || !asleep(waiter.pid())) {
      ADD_FAILURE() << what << ": the waiter does not sleep in round " << round << ", exit "
                    << waiter.wait(1s);
      return INT64_MAX;
    }
    const std::int64_t rung = trigger(round);
    if (!line->got_it.wait(number, kSoon)) {
      ADD_FAILURE() << what << ": nobody woke in round " << round;
      return INT64_MAX;
    }
    samples.push_back(line->woke_us - rung);
  }
  EXPECT_EQ(waiter.wait(), 0);
  std::sort(samples.begin(), samples.end());
  const std::int64_t median = samples[samples.size() / 2], worst = samples.back();
  std::printf("  %-44s %6.2f ms median, %6.2f ms at most\n", what, median / 1000.0, worst / 1000.0);
  EXPECT_LT(worst, stretched(kSoonUs)) << what;
  return median;
}

constexpr std::int64_t kAtOnce = 25'000;  // us: the regular look comes every 100 ms

/// Every other waiter at least is awake at once. Not so where the machine has had no time for it: then once more.
template <class Attach, class Trigger>
void expect_at_once(const char* what, int rounds, Attach attach, Trigger trigger) {
  std::int64_t median = INT64_MAX;
  for (int series = 0; series < 5 && median >= stretched(kAtOnce) && !::testing::Test::HasFailure(); ++series)
    median = measure(what, rounds, attach, trigger);
  EXPECT_LT(median, stretched(kAtOnce)) << what;
}

class Waiting : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_TRUE(clean(pond_)); }
  auto claimer(Options options = {}) {
    return [this, options] {
      return
          [queue = must(Pond::open(test_.name(), options)).scope("scope").queue("work")](int round) mutable {
            Claim claim = must(queue.claim(stretched(kLong)));
            EXPECT_EQ(claim.payload(), std::to_string(round));
            must(claim.ack());
          };
    };
  }
  /// Who take one item each a round: `about` to wait for it, and then `got` it.
  std::vector<Process> waiters_in_rounds(Event& about, Event& got) {
    std::vector<Process> waiters;
    for (std::uint32_t i = 0; i < kWaiters; ++i) {
      waiters.emplace_back([&] {
        Queue mine = test_.queue();
        for (std::uint32_t round = 1; round <= kRounds; ++round) {
          about.raise();
          Claim claim = must(mine.claim(stretched(kLong)));
          got.raise();
          got.await(round * kWaiters);  // nobody takes a second one
          must(claim.ack());
        }
      });
    }
    return waiters;
  }
  static constexpr std::uint32_t kWaiters = 6, kRounds = 10;

  TestPond test_;
  Pond pond_ = test_.open();
  Queue queue_ = pond_.scope("scope").queue("work");
  Log log_ = pond_.scope("scope").log("log");
};

TEST_F(Waiting, AClaimWakesOnAPush) {
  must(queue_.push("warm"));
  must(queue_.pop());
  const auto push = [&](int round) {
    const std::int64_t rung = now_us();
    must(queue_.push(std::to_string(round)));
    return rung;
  };
  expect_at_once("push", 40, claimer(), push);
  expect_at_once("push, without spinning", 20, claimer({.spin = std::chrono::microseconds(0)}), push);
  expect_at_once("push, with a maintenance thread", 20, claimer({.maintenance = true}), push);
}

TEST_F(Waiting, AClaimOfAQueueThatDoesNotExistYetWakesOnItsFirstPush) {
  for (int i = 0; i < 5; ++i) {
    Queue unborn = pond_.scope("new").queue("queue " + std::to_string(i));
    Shared<Event> about;
    Process waiter([&] {
      Queue mine = test_.open().scope("new").queue("queue " + std::to_string(i));
      about->raise();
      EXPECT_EQ(shown(mine.pop(stretched(kLong))), "first");
    });
    ASSERT_TRUE(about->wait());
    ASSERT_TRUE(asleep(waiter.pid()));
    const auto start = Clock::now();
    must(unborn.push("first"));
    EXPECT_EQ(waiter.wait(), 0);
    EXPECT_LT(since(start), stretched(kSoon));
  }
}

TEST_F(Waiting, AClaimWakesOnAPushOfAnyPriority) {
  expect_at_once("push of priorities 0 to 7", 16, claimer(), [&](int round) {
    const std::int64_t rung = now_us();
    must(queue_.push(std::to_string(round), {.priority = round % 8}));
    return rung;
  });
}

TEST_F(Waiting, AClaimWakesOnACommittedReservationAndOnALargeValue) {
  const auto attach = [this] {
    return [queue = test_.queue()](int) mutable { must(queue.pop(stretched(kLong))); };
  };
  expect_at_once("commit", 10, attach, [&](int) {
    Reservation reservation = must(queue_.reserve(10));
    const std::int64_t rung = now_us();
    reservation.commit();
    return rung;
  });
  const std::string large(300'000, 'x');
  expect_at_once("push of 300 KB", 10, attach, [&](int) {
    const std::int64_t rung = now_us();
    must(queue_.push(large));
    return rung;
  });
}

TEST_F(Waiting, AClaimWakesWhenAHeldItemIsNackedOrDropped) {
  for (const bool drop : {false, true}) {
    must(queue_.push("held"));
    std::optional<Claim> held = must(queue_.claim());
    Shared<Line> line;
    Process waiter([&] {
      Queue mine = test_.queue();
      line->about_to_wait.raise();
      Claim claim = must(mine.claim(stretched(kLong)));
      line->woke_us = now_us();
      EXPECT_EQ(claim.attempts(), 2u);
      must(claim.ack());
    });
    ASSERT_TRUE(line->about_to_wait.wait());
    ASSERT_TRUE(asleep(waiter.pid()));
    const std::int64_t rung = now_us();
    drop ? held.reset() : must(held->nack());
    EXPECT_EQ(waiter.wait(), 0);
    std::printf("  %-44s %6.2f ms\n", drop ? "claim dropped" : "claim nacked",
                (line->woke_us - rung) / 1000.0);
    EXPECT_LT(line->woke_us - rung, stretched(kSoonUs));
  }
}

TEST_F(Waiting, AClaimWakesOnResume) {
  Shared<Line> line;
  for (std::uint32_t round = 1; round <= 5; ++round) {
    must(queue_.pause());
    must(queue_.push("x"));
    Process waiter([&] {
      Queue mine = test_.queue();
      line->about_to_wait.raise();
      must(must(mine.claim(stretched(kLong))).ack());
      line->woke_us = now_us();
    });
    ASSERT_TRUE(line->about_to_wait.wait(round));
    ASSERT_TRUE(asleep(waiter.pid()));
    const std::int64_t rung = now_us();
    must(queue_.resume());
    EXPECT_EQ(waiter.wait(), 0);
    EXPECT_LT(line->woke_us - rung, stretched(kSoonUs));
  }
}

TEST_F(Waiting, AClaimOfAPausedQueueGivesUpWhenItsTimeIsOver) {
  must(queue_.push("x"));
  must(queue_.pause());
  const auto start = Clock::now();
  EXPECT_ANSWER(timeout, queue_.claim(50ms));
  EXPECT_GE(since(start), 45ms);
  must(queue_.resume());
  must(queue_.pop());
}

TEST_F(Waiting, AClaimWakesWhenADelayedItemIsDue) {
  expect_at_once("due after 30 ms (lateness)", 20, claimer(), [&](int round) {
    must(queue_.push(std::to_string(round), {.delay = 30ms}));
    return now_us() + 30'000;
  });
}

TEST_F(Waiting, AClaimWakesWhenALeaseIsOver) {
  must(queue_.configure({.lease = 30ms}));
  std::optional<Claim> slow;
  must(queue_.push("x"));
  slow = must(queue_.claim());
  const std::int64_t over = now_us() + 30'000;
  must(queue_.configure({.lease = 1h}));  // for who claims from then on
  Shared<Line> line;
  Process waiter([&] {
    Queue mine = test_.queue();
    must(must(mine.claim(stretched(kLong))).ack());
    line->woke_us = now_us();
  });
  EXPECT_EQ(waiter.wait(), 0);
  std::printf("  %-44s %6.2f ms\n", "lease over (lateness)", (line->woke_us - over) / 1000.0);
  EXPECT_LT(line->woke_us - over, stretched(kSoonUs));
  EXPECT_ANSWER(fenced, slow->ack());
}

TEST_F(Waiting, AFollowerWakesOnAnAppend) {
  const auto attach = [this] {
    Log log = test_.log();
    return [follower = log.follow(static_cast<std::int64_t>(must(log.last_seq())))](int round) mutable {
      EXPECT_EQ(must(follower.next(stretched(kLong))).payload, std::to_string(round));
    };
  };
  expect_at_once("append, to a follower", 30, attach, [&](int round) {
    const std::int64_t rung = now_us();
    must(log_.append(std::to_string(round)));
    return rung;
  });
}

TEST_F(Waiting, EveryFollowerWakesOnAnAppend) {
  constexpr std::uint32_t kFollowers = 5;
  Shared<Event> about, got;
  std::vector<Process> followers;
  for (std::uint32_t i = 0; i < kFollowers; ++i) {
    followers.emplace_back([&] {
      Follower follower = test_.log().follow();
      for (std::uint64_t seq = 1; seq <= 5; ++seq) {
        about->raise();
        EXPECT_EQ(must(follower.next(stretched(kLong))).seq, seq);
        got->raise();
      }
    });
  }
  for (std::uint32_t round = 1; round <= 5; ++round) {
    ASSERT_TRUE(about->wait(round * kFollowers));
    for (Process& follower : followers) ASSERT_TRUE(asleep(follower.pid()));
    must(log_.append("x"));
    EXPECT_TRUE(got->wait(round * kFollowers, kSoon));
  }
  for (Process& follower : followers) EXPECT_EQ(follower.wait(), 0);
}

TEST_F(Waiting, AFollowerIsNotHeldUpByADeadWriter) {
  // Killed while it writes: what it reserved is abandoned, and readers go on behind it.
  for (std::uint32_t round = 1; round <= 5; ++round) {
    Shared<Event> reserved;
    Process writer([&] {
      Log mine = test_.log();
      Reservation reservation = must(mine.reserve(100));
      reserved->raise();
      pause_forever();
    });
    ASSERT_TRUE(reserved->wait());
    const std::uint64_t seq = must(log_.append("behind"));
    Follower follower = log_.follow(static_cast<std::int64_t>(must(log_.last_seq())));
    EXPECT_ANSWER(timeout, follower.next(0ms));
    writer.kill();
    const auto start = Clock::now();
    EXPECT_EQ(must(follower.next(stretched(kLong))).seq, seq);
    EXPECT_LT(since(start), stretched(kSoon));
  }
}

TEST_F(Waiting, PushManyWakesAllWhoWait) {
  Shared<Event> about, got;
  std::vector<Process> waiters = waiters_in_rounds(*about, *got);
  const std::vector<Bytes> items(kWaiters, "x");
  std::int64_t worst = 0;
  for (std::uint32_t round = 1; round <= kRounds; ++round) {
    ASSERT_TRUE(about->wait(round * kWaiters));
    for (Process& waiter : waiters) ASSERT_TRUE(asleep(waiter.pid()));
    const std::int64_t rung = now_us();
    must(queue_.push_many(items));
    ASSERT_TRUE(got->wait(round * kWaiters, kSoon));
    worst = std::max(worst, now_us() - rung);
  }
  std::printf("  %-44s %6.2f ms at most\n", "push_many, until 6 waiters have theirs", worst / 1000.0);
  for (Process& waiter : waiters) EXPECT_EQ(waiter.wait(), 0);
}

TEST_F(Waiting, AsManyWakeAsItemsAreNeededToBeClaimed) {
  // Single pushes, one right after the other: no waiter stays asleep beside a ready item.
  Shared<Event> about, got;
  std::vector<Process> waiters = waiters_in_rounds(*about, *got);
  for (std::uint32_t round = 1; round <= kRounds; ++round) {
    ASSERT_TRUE(about->wait(round * kWaiters));
    for (Process& waiter : waiters) ASSERT_TRUE(asleep(waiter.pid()));
    for (std::uint32_t i = 0; i < kWaiters; ++i) must(queue_.push("x"));
    ASSERT_TRUE(got->wait(round * kWaiters, kSoon)) << "round " << round;
  }
  for (Process& waiter : waiters) EXPECT_EQ(waiter.wait(), 0);
}

// ------------------------------------------------------------------------------------------------- killed

std::int64_t survivor_claims_after_kill(const TestPond& test, Queue& queue, bool maintenance) {
  must(queue.push("job"));
  Shared<Event> claimed;
  Shared<Line> line;
  Process worker([&] {
    Queue mine = test.queue();
    Claim claim = must(mine.claim());
    claimed->raise();
    pause_forever();
  });
  EXPECT_TRUE(claimed->wait());
  Process survivor([&] {
    Queue mine = must(Pond::open(test.name(), {.maintenance = maintenance})).scope("scope").queue("work");
    line->about_to_wait.raise();
    Claim claim = must(mine.claim(stretched(kLong)));
    line->woke_us = now_us();
    EXPECT_EQ(claim.attempts(), 2u);
    EXPECT_EQ(claim.crashes(), 1u);
    must(claim.ack());
  });
  EXPECT_TRUE(line->about_to_wait.wait());
  EXPECT_TRUE(asleep(survivor.pid()));
  const std::int64_t killed = now_us();
  worker.kill();
  EXPECT_EQ(survivor.wait(), 0);
  return line->woke_us - killed;
}

TEST_F(Waiting, AKilledWorkersItemIsClaimedByAWaitingSurvivor) {
  for (const bool maintenance : {true, false}) {
    std::vector<std::int64_t> samples;
    for (int round = 0; round < 10; ++round)
      samples.push_back(survivor_claims_after_kill(test_, queue_, maintenance));
    std::sort(samples.begin(), samples.end());
    std::printf("  kill to survivor's claim, %-18s %6.2f ms median, %6.2f ms at most\n",
                maintenance ? "maintenance" : "no maintenance", samples[samples.size() / 2] / 1000.0,
                samples.back() / 1000.0);
    EXPECT_LT(samples.back(), stretched(kSoonUs));
  }
}

TEST_F(Waiting, KilledWaitersTakeNoWakeUpWithThem) {
  WITH_SEED(seed);
  Random random(seed);
  for (int round = 0; round < 15; ++round) {
    Shared<Event> about, got;
    std::vector<Process> waiters;
    for (int i = 0; i < 4; ++i) {
      waiters.emplace_back([&] {
        Queue mine = test_.queue();
        about->raise();
        Claim claim = must(mine.claim(stretched(kLong)));
        if (claim.payload() != "for the survivor") pause_forever();
        must(claim.ack());
        got->raise();
      });
    }
    ASSERT_TRUE(about->wait(4));
    for (Process& waiter : waiters) ASSERT_TRUE(asleep(waiter.pid()));
    // Killed asleep, or on its way out of the kernel with the wake-up of the push.
    if (random.one_in(2)) must(queue_.push("for the survivor"));
    for (int i = 0; i < 3; ++i) waiters[static_cast<std::size_t>(i)].kill();
    if (must(queue_.stats()).pushed == static_cast<std::uint64_t>(round))
      must(queue_.push("for the survivor"));
    EXPECT_TRUE(got->wait(1, kSoon)) << "round " << round;
  }
}

// ------------------------------------------------------------------------------------------------- stopped

TEST_F(Waiting, AStoppedWaiterTakesNoItemWithIt) {
  Shared<Event> about, got;
  std::vector<Process> waiters;
  for (int i = 0; i < 3; ++i) {
    waiters.emplace_back([&] {
      Queue mine = test_.queue();
      about->raise();
      for (bool stays = true; stays;) {
        Claim claim = must(mine.claim(stretched(kLong)));
        stays = claim.payload() != "leave";
        must(claim.ack());
        got->raise();
      }
    });
  }
  ASSERT_TRUE(about->wait(3));
  for (Process& waiter : waiters) ASSERT_TRUE(asleep(waiter.pid()));
  waiters[0].stop();
  waiters[1].stop();
  for (std::uint32_t item = 1; item <= 10; ++item) {
    must(queue_.push("x"));
    EXPECT_TRUE(got->wait(item, kSoon)) << "the wake-up may go to the stopped one, the item may not";
  }
  waiters[0].go_on();
  waiters[1].go_on();
  for (std::size_t i = 0; i < waiters.size(); ++i) must(queue_.push("leave"));
  for (Process& waiter : waiters) EXPECT_EQ(waiter.wait(), 0);
}

TEST_F(Waiting, AStoppedProcessHoldsUpNobodyForLong) {
  WITH_SEED(seed);
  Random random(seed);
  const auto busy = [&](std::uint64_t its_seed) {
    return Process([this, its_seed] {
      Random dice(its_seed);
      Queue mine = test_.queue();
      Log log = test_.log();
      for (std::uint64_t i = 0;; ++i) {
        const std::string item = patterned(i, 8 + dice.below(3000));
        (void)mine.push(item, {.priority = static_cast<int>(dice.below(3))});
        if (dice.one_in(4)) (void)mine.push(item, {.delay = 1ms});
        if (Result<Claim> claim = mine.claim()) {
          const Status settled = dice.one_in(4)   ? claim->bury("why")
                                 : dice.one_in(3) ? claim->nack()
                                                  : claim->ack();
          (void)settled;
        }
        if (dice.one_in(50)) (void)mine.redrive();
        if (dice.one_in(200)) (void)mine.clear();
        const Result<std::uint64_t> seq = log.append(item);
        if (seq && dice.one_in(20)) (void)log.trim(*seq);
      }
    });
  };
  std::int64_t worst = 0;
  int held_up = 0;
  const auto timed = [&](const auto& operation) {
    const std::int64_t start = now_us();
    const Code code = operation();
    worst = std::max(worst, now_us() - start);
    held_up += code == Code::timeout;
    return code;
  };
  const auto harmless = [](Code code) {
    return code == Code::ok || code == Code::timeout || code == Code::empty || code == Code::fenced;
  };
  Process worker = busy(seed);
  for (int round = 0; round < 60; ++round) {
    timespec time{0, static_cast<long>(random.below(4'000'000))};
    ::nanosleep(&time, nullptr);
    ASSERT_FALSE(worker.ended()) << worker.wait();
    worker.stop();
    for (int i = 0; i < 20; ++i) {
      const Code pushed = timed([&] { return queue_.push(patterned(i, 500), {.priority = i % 3}).code(); });
      EXPECT_TRUE(harmless(pushed)) << name(pushed);
      const Code claimed = timed([&] {
        Result<Claim> claim = queue_.claim();
        return claim ? claim->ack().code() : claim.code();
      });
      EXPECT_TRUE(harmless(claimed)) << name(claimed);
    }
    EXPECT_TRUE(harmless(timed([&] { return log_.append("x").code(); })));
    EXPECT_TRUE(harmless(timed([&] { return log_.scan({.limit = 10}).status().code(); })));
    EXPECT_TRUE(harmless(timed([&] { return queue_.size().code(); })));
    Queue other = pond_.scope("other").queue("other");
    EXPECT_TRUE(harmless(timed([&] { return other.push("x").code(); })));
    EXPECT_TRUE(harmless(timed([&] { return other.pop().code(); })));
    if (random.one_in(3)) {
      worker.kill();
      worker = busy(seed + static_cast<std::uint64_t>(round) + 1);
    } else {
      worker.go_on();
    }
  }
  worker.kill();
  std::printf("  beside a stopped process: slowest operation %.2f ms, %d answered timeout\n", worst / 1000.0,
              held_up);
  EXPECT_LT(worst, stretched(kSoonUs));
  must(queue_.clear());
  must(log_.clear());
}

// ------------------------------------------------------------------------------------------------- time-outs and room

TEST_F(Waiting, TimeOutsAreKept) {
  const auto expect_kept = [](milliseconds time, auto waiting) {
    milliseconds took = milliseconds::max();
    // Later where the machine stood still: then once more.
    for (int tries = 0; tries < 5 && took >= time + stretched(500ms); ++tries) {
      const auto start = Clock::now();
      EXPECT_ANSWER(timeout, waiting());
      took = since(start);
      EXPECT_GE(took + 1ms, time);
    }
    EXPECT_LT(took, time + stretched(500ms));
  };
  for (const milliseconds time : {1ms, 30ms, 150ms, 320ms}) {
    expect_kept(time, [&] { return queue_.claim(time); });
    expect_kept(time, [&] { return log_.follow().next(time); });
  }
}

TEST_F(Waiting, DrainInOneProcessEndsWithTheLastAckInAnother) {
  must(queue_.push("x"));
  Claim claim = must(queue_.claim());
  Shared<Line> line;
  Process drainer([&] {
    Queue mine = test_.queue();
    line->about_to_wait.raise();
    EXPECT_OK(mine.drain(stretched(kLong)));
    line->woke_us = now_us();
  });
  ASSERT_TRUE(line->about_to_wait.wait());
  ASSERT_TRUE(asleep(drainer.pid()));
  const std::int64_t rung = now_us();
  must(claim.ack());
  EXPECT_EQ(drainer.wait(), 0);
  EXPECT_LT(line->woke_us - rung, stretched(kSoonUs));
  must(queue_.resume());
}

TEST_F(Waiting, ABlockedPushGoesOnWhenAnotherProcessAcks) {
  must(queue_.configure({.max_items = 3}));
  for (int i = 0; i < 3; ++i) must(queue_.push("x"));
  Shared<Line> line;
  Process pusher([&] {
    Queue mine = test_.queue();
    line->about_to_wait.raise();
    must(mine.push("y", {.full_timeout = stretched(kLong)}));
    line->woke_us = now_us();
  });
  ASSERT_TRUE(line->about_to_wait.wait());
  ASSERT_TRUE(asleep(pusher.pid()));
  const std::int64_t rung = now_us();
  must(queue_.pop());
  EXPECT_EQ(pusher.wait(), 0);
  std::printf("  %-44s %6.2f ms\n", "blocked push, after an ack", (line->woke_us - rung) / 1000.0);
  EXPECT_LT(line->woke_us - rung, stretched(kSoonUs));
}

}  // namespace
