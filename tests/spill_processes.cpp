// Rounds of SIGKILL at random moments to one of the processes that push, pop, spill, append and read in a pond that is much smaller than what goes
// through it; the killed one is replaced. Each item is accounted for in memory that survives them, and nothing but what a killed process had in
// hand may be in doubt. The durable tier is the real one.
//
// HEADPOND_TORTURE_ROUNDS: kills. HEADPOND_TEST_SEED: repeats the dice.
#include <gtest/gtest.h>

#include <array>

#include "src/spill.h"
#include "support/killed_workers.h"

namespace {

using namespace support;
using internal::Attachment;
using internal::Spilled;

class Worker : public KilledWorker {
 public:
  Worker(const TestPond& test, Ledger& ledger, int role, std::uint64_t seed)
      : KilledWorker(test, ledger, role, seed), test_(test) {}

  virtual ~Worker() = default;

  virtual void run() {
    while (!ledger_.stop) switch (role_) {
        case 0:
        case 1:
          if (auto n = next_item()) push(queue_, *n, 300);
          break;
        case 2:
        case 3: work(); break;
        case 4: spill(); break;
        case 5: append(); break;
        default: read();
      }
  }

 protected:
  void work() {
    auto claim = queue_.claim(milliseconds(random_.below(3)));
    if (known(claim.status())) settle(*claim, order_);
  }

  void spill() {
    if (!attachment_) attachment_ = must(Attachment::open(test_.name(), test_.options(), false));
    Spilled out;
    known(internal::spill_some(*attachment_->thread(), 1 << (12 + random_.below(6)), out));
    ledger_.left_memory += out.pages;
    if (random_.one_in(50)) known(internal::erase_leftovers(*attachment_->thread()).status());
    if (random_.one_in(4)) nap();
  }

  void read() {
    std::optional<Scan> scan;
    trim_behind(read_on(scan));
    nap();
  }

  const TestPond& test_;
  Queue queue_ = pond_.scope("scope").queue("work");
  std::shared_ptr<Attachment> attachment_;
  Order order_;
};

/// The same with delayed items: the one that is due first comes first, more or less, so there is no order.
class DelayedWorker : public Worker {
 public:
  using Worker::Worker;
  void run() override {
    while (!ledger_.stop) switch (role_) {
        case 0:
        case 1:
          if (auto n = next_item()) push(queue_, *n, 300, {.delay = delay()});
          break;
        case 2:
        case 3: take(); break;
        default: spill();
      }
  }

 private:
  milliseconds delay() { return milliseconds(random_.below(random_.one_in(10) ? 400 : 30)); }
  void take() {
    auto claim = queue_.claim(milliseconds(random_.below(3)));
    if (!known(claim.status())) return;
    if (random_.one_in(10)) return (void)known(claim->nack({.delay = delay()}));
    Order none;
    settle(*claim, none);
  }
};

TEST(SpillTorture, DelayedItemsComeOnceWhoeverIsKilledOverTheirGaps) {
  const std::uint64_t rounds = number_from("HEADPOND_TORTURE_ROUNDS", 300), seed = fresh_seed();
  SCOPED_TRACE("HEADPOND_TEST_SEED=" + std::to_string(seed));
  Options options;
  options.limit_bytes = 1 << 20, options.max_page_bytes = 4096, options.on_full = OnFull::spill;
  TestPond test(options);
  watchdog(std::chrono::seconds(300 + rounds / 5));
  Pond pond = test.open();
  Shared<Ledger> ledger;
  ledger->backlog = 12'000;
  Random random(seed);
  KilledWorkers<DelayedWorker> workers(test, *ledger, 5, seed);
  for (std::uint64_t round = 0; round < rounds && ledger->complaints == 0; round++) {
    ::usleep(static_cast<useconds_t>(1000 + random.below(9000)));
    constexpr int kKilled[] = {0, 1, 2, 2, 2, 3, 3, 3, 4, 4};
    workers.kill_and_replace(kKilled[random.below(std::size(kKilled))]);
  }
  std::printf("%lu items acked, %lu pages spilled\n", static_cast<unsigned long>(ledger->acked),
              static_cast<unsigned long>(ledger->left_memory));
  workers.stop();
  ASSERT_EQ(ledger->complaints, 0u) << ledger->complaint[0];
  EXPECT_GT(ledger->left_memory, rounds / 10);

  EXPECT_OK(pond.reap());
  EXPECT_TRUE(clean(pond));
  internal::sys::wall_ahead_ms = 3'600'000;
  ledger->take_the_rest(pond.scope("scope").queue("work"));
  internal::sys::wall_ahead_ms = 0;
  ASSERT_EQ(ledger->lost(), "");
  EXPECT_TRUE(clean(pond));
  EXPECT_OK(pond.scope("scope").queue("work").clear());
  expect_empty_tier(test);
}

TEST(SpillTorture, KilledSpillersAndRefillersLoseNothingAndBringNothingTwice) {
  const std::uint64_t rounds = number_from("HEADPOND_TORTURE_ROUNDS", 400), seed = fresh_seed();
  SCOPED_TRACE("HEADPOND_TEST_SEED=" + std::to_string(seed));
  Options options;
  options.limit_bytes = 1 << 20, options.max_page_bytes = 8192, options.on_full = OnFull::spill;
  TestPond test(options);
  watchdog(std::chrono::seconds(300 + rounds / 5));
  Pond pond = test.open();
  Shared<Ledger> ledger;
  ledger->backlog = 12'000;
  Random random(seed);
  constexpr int kRoles = 7;
  KilledWorkers<Worker> workers(test, *ledger, kRoles, seed);
  std::array<unsigned long, kRoles> killed{};
  for (std::uint64_t round = 0; round < rounds && ledger->complaints == 0; round++) {
    ::usleep(static_cast<useconds_t>(1000 + random.below(9000)));
    // Half of them to who spills and who brings back.
    constexpr int kKilled[] = {0, 1, 2, 2, 3, 3, 4, 4, 4, 4, 5, 6};
    int role = kKilled[random.below(std::size(kKilled))];
    if (rounds >= 2000 && round % 500 == 0)
      std::printf("%lu of %lu kills: %lu items acked, %lu pages spilled\n", static_cast<unsigned long>(round),
                  static_cast<unsigned long>(rounds), static_cast<unsigned long>(ledger->acked),
                  static_cast<unsigned long>(ledger->left_memory)),
          std::fflush(stdout);
    workers.kill_and_replace(role);
    killed[static_cast<std::size_t>(role)]++;
  }
  std::printf(
      "killed: %lu who spilled, %lu who brought back, %lu others; %lu items acked, %lu pages spilled\n",
      killed[4], killed[2] + killed[3], killed[0] + killed[1] + killed[5] + killed[6],
      static_cast<unsigned long>(ledger->acked), static_cast<unsigned long>(ledger->left_memory));
  workers.stop();
  ASSERT_EQ(ledger->complaints, 0u) << ledger->complaint[0];
  EXPECT_GT(ledger->left_memory, rounds / 10);

  EXPECT_OK(pond.reap());
  EXPECT_TRUE(clean(pond));
  ledger->take_the_rest(pond.scope("scope").queue("work"));
  ASSERT_EQ(ledger->lost(), "");
  EXPECT_TRUE(clean(pond));
  EXPECT_OK(pond.scope("log").log("audit").clear());
  expect_empty_tier(test);
}

}  // namespace
