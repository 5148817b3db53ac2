// Spillers and refillers beside pushers, poppers, readers and clearers: threads that are several participants of one pond, with a durable tier
// in memory. Small enough for ThreadSanitizer.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "src/spill.h"
#include "support/pond_threads.h"

namespace {

using namespace support;
using internal::Spilled;

constexpr std::uint64_t kPushers = 2, kEach = 4000, kItems = kPushers * kEach;

Options small() {
  Options options;
  options.limit_bytes = 1 << 20, options.max_page_bytes = 2048, options.on_full = OnFull::spill;
  options.full_timeout = stretched(milliseconds(60'000));
  return options;
}

class SpillThreads : public PondThreads {
 protected:
  SpillThreads() : PondThreads(small()) {}

  /// Another participant that spills all the time, until everybody else has ended.
  void add_spiller() {
    spillers_.emplace_back([this] {
      auto joined = join();
      while (!stop_) {
        Spilled out;
        EXPECT_OK(internal::spill_some(*joined->thread(), 1 << 14, out));
        spilled_ += out.pages;
        std::this_thread::yield();
      }
    });
  }
  /// Who takes items out must not be so fast that nothing is ever cold.
  void wait_for_a_gap() {
    while (spilled_ == 0) std::this_thread::yield();
  }
  void run() {
    PondThreads::run();
    stop_ = true;
    for (std::thread& thread : spillers_) thread.join();
  }

  void push_all(Queue queue, std::uint64_t pusher) {
    for (std::uint64_t i = 0; i < kEach; i++) must(queue.push(patterned(pusher * kEach + i, 8 + i % 90)));
  }

  std::vector<std::thread> spillers_;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> spilled_{0};
};

TEST_F(SpillThreads, EachItemComesOnceInTheOrderOfItsPusher) {
  std::vector<std::atomic<std::uint32_t>> came(kItems);
  std::atomic<std::uint64_t> popped{0};
  Queue queue = pond->scope("scope").queue("work");
  add_spiller(), add_spiller();
  for (std::uint64_t p = 0; p < kPushers; p++) add([=, this] { push_all(queue, p); });
  for (int c = 0; c < 2; c++)
    add([&, queue]() mutable {
      std::int64_t last[kPushers];
      std::fill(std::begin(last), std::end(last), -1);
      wait_for_a_gap();
      while (popped < kItems) {
        auto item = queue.pop(milliseconds(5));
        if (!item) {
          EXPECT_TRUE(item.code() == Code::empty || item.code() == Code::timeout) << describe(item.status());
          continue;
        }
        std::uint64_t number = number_of(*item);
        ASSERT_LT(number, kItems);
        EXPECT_EQ(came[number]++, 0u);
        popped++;
        EXPECT_GT(static_cast<std::int64_t>(number % kEach), last[number / kEach]);
        last[number / kEach] = static_cast<std::int64_t>(number % kEach);
      }
    });
  run();
  for (std::uint64_t n = 0; n < kItems; n++) ASSERT_EQ(came[n], 1u) << n;
  EXPECT_ANSWER(empty, queue.pop());
  EXPECT_GT(spilled_, 0u);
}

TEST_F(SpillThreads, AScanForWhatIsDueMissesNothingThatIsSpilledUnderIt) {
  std::vector<std::atomic<std::uint32_t>> came(kItems);
  std::atomic<std::uint64_t> popped{0};
  Queue queue = pond->scope("scope").queue("work");
  add_spiller(), add_spiller();
  for (std::uint64_t p = 0; p < kPushers; p++)
    add([p, queue] {
      for (std::uint64_t i = 0; i < kEach; i++)
        must(Queue(queue).push(patterned(p * kEach + i, 8 + i % 90), {.delay = milliseconds(i * 7 % 23)}));
    });
  for (int c = 0; c < 2; c++)
    add([&, queue]() mutable {
      wait_for_a_gap();
      while (popped < kItems) {
        auto item = queue.pop(milliseconds(5));
        if (!item) {
          EXPECT_TRUE(item.code() == Code::empty || item.code() == Code::timeout) << describe(item.status());
          continue;
        }
        std::uint64_t number = number_of(*item);
        ASSERT_LT(number, kItems);
        EXPECT_EQ(came[number]++, 0u);
        popped++;
      }
    });
  run();
  for (std::uint64_t n = 0; n < kItems; n++) ASSERT_EQ(came[n], 1u) << n;
  EXPECT_ANSWER(empty, queue.pop());
  EXPECT_EQ(must(queue.stats()).delayed, 0u);
}

TEST_F(SpillThreads, ClaimsThatAreNackedAndAckedBesideSpillersEndInOneAckEach) {
  std::vector<std::atomic<std::uint32_t>> acked(kItems);
  std::atomic<std::uint64_t> acks{0};
  Queue queue = pond->scope("scope").queue("work");
  add_spiller();
  for (std::uint64_t p = 0; p < kPushers; p++) add([=, this] { push_all(queue, p); });
  for (int c = 0; c < 2; c++)
    add([&, queue, c]() mutable {
      Random random(static_cast<std::uint64_t>(c));
      wait_for_a_gap();
      while (acks < kItems) {
        auto claim = queue.claim(milliseconds(5));
        if (!claim) continue;
        std::uint64_t number = number_of(claim->payload());
        ASSERT_LT(number, kItems);
        if (random.one_in(4)) {
          must(claim->nack());
          continue;
        }
        EXPECT_EQ(acked[number]++, 0u);
        must(claim->ack());
        acks++;
      }
    });
  run();
  for (std::uint64_t n = 0; n < kItems; n++) ASSERT_EQ(acked[n], 1u) << n;
}

TEST_F(SpillThreads, AReaderSeesEverySeqOnceWhileItsLogIsSpilledAndTrimmed) {
  Log log = pond->scope("scope").log("audit");
  std::atomic<std::uint64_t> read{0};
  add_spiller();
  add([=]() mutable {
    for (std::uint64_t i = 1; i <= kItems; i++) ASSERT_EQ(must(log.append(patterned(i, 8 + i % 90))), i);
  });
  add([&, log]() mutable {
    Follower follower = log.follow(0);
    while (read < kItems) {
      auto record = follower.next(milliseconds(20));
      if (!record) continue;
      ASSERT_EQ(record->seq, read + 1);
      ASSERT_EQ(number_of(record->payload), record->seq);
      read++;
    }
  });
  add([&, log]() mutable {
    for (std::uint64_t done = 0; done < kItems; std::this_thread::yield()) {
      done = read;
      if (done % 64 == 0) must(log.trim(done / 2 + 1));
    }
  });
  run();
}

TEST_F(SpillThreads, AClearTakesWhatWasPushedBeforeAndNothingElse) {
  Queue queue = pond->scope("scope").queue("work");
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> pushed{0}, cleared{0};
  add_spiller();
  add([&, queue]() mutable {
    for (std::uint64_t i = 0; i < kItems; i++) must(queue.push(patterned(i, 8 + i % 90))), pushed++;
    done = true;
  });
  add([&, queue]() mutable {
    while (!done) cleared += must(queue.clear());
  });
  run();
  // an item that was being pushed as it was cleared need not be counted
  EXPECT_LE(cleared + *queue.size(), kItems);
  cleared += must(queue.clear());
  EXPECT_ANSWER(empty, queue.pop());
  std::uint64_t last = 0;
  for (int i = 0; i < 100; i++) {
    auto id = must(queue.push("x"));
    EXPECT_GT(id.seq(), last);
    last = id.seq();
  }
  EXPECT_GE(last, kItems);
}

TEST_F(SpillThreads, AFailingTierLosesNothing) {
  Queue queue = pond->scope("scope").queue("work");
  std::atomic<std::uint64_t> errors{0};
  std::atomic<bool> done{false};
  add([&] {
    for (int i = 0; !done; i++) {
      tier->fail_stores(i % 3 == 1 ? Status(Code::full, "no space on the disk", 28) : Status());
      tier->fail_loads(i % 3 == 2 ? Status(Code::system, "the disk is broken", 5) : Status());
      std::this_thread::yield();
    }
  });
  add([&, queue]() mutable {
    for (std::uint64_t i = 0; i < kItems;)
      if (queue.push(patterned(i, 500)))
        i++;
      else
        errors++, std::this_thread::yield();
  });
  add([&, queue]() mutable {
    std::uint64_t next = 0;
    while (next < kItems) {
      auto item = queue.pop(milliseconds(5));
      if (!item) continue;
      ASSERT_EQ(number_of(*item), next++);
    }
    done = true;
  });
  run();
  tier->fail_stores({}), tier->fail_loads({});
}

}  // namespace
