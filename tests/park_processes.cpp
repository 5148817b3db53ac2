// Idle streams leave the segment and come back among processes, with the real durable tier: SIGKILL to who parks, pushes, takes and reads, at random moments; many more scopes
// than a small pond has room for; a writer that races one who drops.
//
// HEADPOND_TORTURE_ROUNDS: kills. HEADPOND_TEST_SEED: repeats the dice.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <numeric>
#include <vector>

#include "support/killed_workers.h"

namespace {

using namespace support;
using namespace std::chrono_literals;

constexpr std::uint64_t kScopes = 60;

class Worker : public KilledWorker {
 public:
  Worker(const TestPond& test, Ledger& ledger, int role, std::uint64_t seed)
      : KilledWorker(test, ledger, role, seed) {
    may_be_busy_ = true;
  }

  void run() {
    while (!ledger_.stop) switch (role_) {
        case 0:
        case 1:
          if (auto n = next_item()) push(queue(scope_of(*n)), *n, 200);
          break;
        case 2:
        case 3: work(); break;
        case 4:
        case 5: gc(); break;
        case 6:
          if (append() && random_.one_in(40)) ::usleep(12000);  // long enough to be idle
          break;
        default: read();
      }
  }

 private:
  /// An item's scope follows from its number: some are busy, most rest for long.
  static std::uint64_t scope_of(std::uint64_t n) { return n % 7 ? n % 5 : n / 7 % kScopes; }
  Queue queue(std::uint64_t scope) { return pond_.scope(std::to_string(scope)).queue("work"); }

  void work() {
    std::uint64_t scope = random_.one_in(2) ? random_.below(5) : random_.below(kScopes);
    auto claim = queue(scope).claim();
    if (!known(claim.status())) return;
    std::uint64_t number = number_of(claim->payload());
    if (scope_of(number & 0xffffffff) != scope)
      return ledger_.complain("an item that nobody pushed there: %lx", static_cast<unsigned long>(number));
    settle(*claim, order_[scope]);
  }

  void gc() {
    auto result = pond_.gc({.spill_idle = milliseconds(1 + random_.below(6))});
    if (known(result.status())) ledger_.left_memory += result->parked;
    if (random_.one_in(3)) nap();
  }

  void read() {
    std::optional<Scan> scan;
    std::uint64_t next = read_on(scan);
    scan.reset();  // it is use
    trim_behind(next);
    ::usleep(random_.one_in(4) ? 15000 : 200);
  }

  std::array<Order, kScopes> order_;
};

TEST(ParkTorture, WhoParksIsKilledAndNothingIsLostTwiceOrOutOfOrder) {
  const std::uint64_t rounds = number_from("HEADPOND_TORTURE_ROUNDS", 300), seed = fresh_seed();
  SCOPED_TRACE("HEADPOND_TEST_SEED=" + std::to_string(seed));
  Options options;
  options.limit_bytes = 1 << 20, options.max_page_bytes = 4096;
  TestPond test(options);
  Pond pond = test.open();
  Shared<Ledger> ledger;
  ledger->backlog = 3000;
  Random random(seed);
  KilledWorkers<Worker> workers(test, *ledger, 8, seed);
  for (std::uint64_t round = 0; round < rounds && ledger->complaints == 0; round++) {
    ::usleep(static_cast<useconds_t>(1000 + random.below(9000)));
    // Two thirds of them to who parks.
    constexpr int kKilled[] = {4, 5, 4, 5, 4, 5, 4, 5, 0, 2, 6, 7};
    workers.kill_and_replace(kKilled[random.below(std::size(kKilled))]);
  }
  workers.stop();
  ASSERT_EQ(ledger->complaints, 0u) << ledger->complaint[0];
  EXPECT_GT(ledger->left_memory, rounds / 10);
  std::printf("%lu streams parked, %lu items acked\n", static_cast<unsigned long>(ledger->left_memory),
              static_cast<unsigned long>(ledger->acked));

  EXPECT_OK(pond.reap());
  EXPECT_TRUE(clean(pond));
  for (std::uint64_t scope = 0; scope < kScopes; scope++)
    ledger->take_the_rest(pond.scope(std::to_string(scope)).queue("work"));
  ASSERT_EQ(ledger->lost(), "") << "are lost; pushed: " << ledger->begun[0] << " and " << ledger->begun[1];
  EXPECT_TRUE(clean(pond));
  EXPECT_OK(pond.scope("log").log("audit").clear());
  // A page that is all done, and the last one, keeps its row: not in a parked stream.
  for (int tries = 0; tries < 1000 && must(pond.stats()).streams > 0; tries++) {
    ::usleep(2000);
    EXPECT_OK(pond.gc({.drop_idle = 1ms}));
  }
  EXPECT_EQ(must(pond.stats()).page_bytes, 0u);

  expect_empty_tier(test);
}

TEST(ParkScale, ThreeThousandIdleScopesLiveInEightMiB) {
  constexpr std::uint64_t kMany = 3000, kItems = 10;
  constexpr int kProcesses = 4;
  Options options;
  options.limit_bytes = 8 << 20;
  TestPond test(options);
  Pond pond = test.open();
  {
    std::vector<Process> pushers;
    for (int p = 0; p < kProcesses; p++)
      pushers.emplace_back([&test, p] {
        Pond mine = test.open();
        for (std::uint64_t scope = static_cast<std::uint64_t>(p); scope < kMany; scope += kProcesses)
          for (std::uint64_t n = 0; n < kItems; n++) {
            auto id = patiently([&] {
              return mine.scope(std::to_string(scope))
                  .queue("work")
                  .push(patterned(scope * kItems + n, 900), {.full_timeout = stretched(60s)});
            });
            if (!id) throw std::runtime_error(describe(id.status()));
          }
      });
    for (Process& pusher : pushers) EXPECT_EQ(pusher.wait(), 0);
  }
  EXPECT_TRUE(clean(pond));
  Stats stats = must(pond.stats());
  EXPECT_EQ(stats.streams, kMany);
  EXPECT_GT(stats.parked, kMany / 2) << "30 MB of items, and they stayed in 8 MiB";
  std::vector<std::uint64_t> order(kMany);
  std::iota(order.begin(), order.end(), 0);
  Random random(fresh_seed());
  for (std::size_t i = kMany - 1; i > 0; i--) std::swap(order[i], order[random.below(i + 1)]);
  std::vector<Process> poppers;
  for (std::size_t p = 0; p < kProcesses; p++)
    poppers.emplace_back([&, p] {
      Pond mine = test.open();
      for (std::size_t i = p; i < kMany; i += kProcesses) {
        Queue queue = mine.scope(std::to_string(order[i])).queue("work");
        for (std::uint64_t n = 0; n < kItems; n++)
          if (auto item = queue.pop(stretched(60s)); !item || number_of(*item) != order[i] * kItems + n)
            throw std::runtime_error("scope " + std::to_string(order[i]) + ", item " + std::to_string(n) +
                                     ": " + describe(item.status()));
      }
    });
  for (Process& popper : poppers) EXPECT_EQ(popper.wait(), 0);
  EXPECT_TRUE(clean(pond));
  EXPECT_OK(pond.gc({.drop_idle = 1ms}));
}

TEST(ParkRace, AWriterWhoRacesOneWhoDropsLosesNothing) {
  Options options;
  options.limit_bytes = 4 << 20;
  TestPond test(options);
  Pond pond = test.open();
  Shared<std::atomic<bool>> stop;
  Process collector([&] {
    Pond mine = test.open();
    while (!*stop)
      if (auto done = mine.gc({.spill_idle = 2ms, .drop_idle = 20ms}); !done && done.code() != Code::timeout)
        throw std::runtime_error(describe(done.status()));
  });
  std::uint64_t sure = 0;
  std::map<std::uint64_t, std::uint64_t> last;  // id in each scope
  for (std::uint64_t i = 0; i < 3000 || (sure <= 100 && i < 100'000); i++) {
    std::uint64_t scope = i % 40, begun = internal::sys::precise_us();
    Queue queue = pond.scope(std::to_string(scope)).queue("work");
    auto id = patiently([&] { return queue.push(patterned(i, 40)); });
    ASSERT_OK(id);
    EXPECT_GT(id->seq(), last[scope]) << "an id came twice";
    last[scope] = id->seq();
    auto item = patiently([&] { return queue.pop(); });
    // Whoever does not run for so long while his item waits has left it idle: the pond's clock may tick in steps of 10 ms.
    if (internal::sys::precise_us() - begun > 8'000) continue;
    ASSERT_OK(item);
    ASSERT_EQ(number_of(*item), i);
    sure++;
    if (i % 40 == 0) ::usleep(25'000);
  }
  *stop = true;
  EXPECT_EQ(collector.wait(), 0);
  EXPECT_GT(sure, 100u);
  EXPECT_TRUE(clean(pond));
}

}  // namespace
