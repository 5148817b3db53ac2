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

#include "src/attachment.h"
#include "src/leftovers.h"
#include "src/tier_side.h"
#include "support/test_pond.h"

namespace {

using namespace support;
using namespace std::chrono_literals;
using internal::Attachment;

constexpr std::uint64_t kMax = 1 << 19, kScopes = 60, kBacklog = 3000;
constexpr int kPushers = 2;

struct Ledger {
  std::atomic<std::uint64_t> begun[kPushers], pushed[kPushers];
  std::atomic<std::uint64_t> acked{0}, appended{0}, read{0}, parked{0};
  std::atomic<std::uint32_t> complaints{0};
  std::atomic<bool> stop{false};
  std::atomic<std::uint8_t> state[kPushers][kMax];  // 1: confirmed, 2: being acked, 4: acked
  char complaint[400];

  template <class... Args>
  void complain(const char* format, Args... args) {
    if (complaints++ == 0) std::snprintf(complaint, sizeof complaint, format, args...);
  }
};

constexpr std::uint64_t named(int pusher, std::uint64_t n) {
  return static_cast<std::uint64_t>(pusher) << 32 | n;
}

class Worker {
 public:
  Worker(const TestPond& test, Ledger& ledger, int role, std::uint64_t seed)
      : test_(test), ledger_(ledger), role_(role), random_(seed), pond_(test.open()) {}

  void run() {
    while (!ledger_.stop) switch (role_) {
        case 0:
        case 1: push(role_); break;
        case 2:
        case 3: work(); break;
        case 4:
        case 5: gc(); break;
        case 6: append(); break;
        default: read();
      }
  }

  /// An item's scope follows from its number: some are busy, most rest for long.
  static std::uint64_t scope_of(std::uint64_t n) { return n % 7 ? n % 5 : n / 7 % kScopes; }

 private:
  void nap() { ::usleep(200); }
  bool known(const Status& status) {
    Code code = status.code();
    if (code == Code::ok) return true;
    if (code != Code::empty && code != Code::timeout && code != Code::full && code != Code::busy)
      ledger_.complain("role %d: answered %s", role_, describe(status).c_str());
    return false;
  }
  Queue queue(std::uint64_t scope) { return pond_.scope(std::to_string(scope)).queue("work"); }

  void push(int pusher) {
    std::uint64_t waiting = ledger_.pushed[0] + ledger_.pushed[1] - ledger_.acked;
    if (waiting > kBacklog && waiting < kMax) return nap();
    std::uint64_t n = ledger_.begun[pusher]++;
    if (n >= kMax) throw std::runtime_error("too many items for the ledger");
    auto id = queue(scope_of(n)).push(patterned(named(pusher, n), 8 + random_.below(200)));
    if (known(id.status())) ledger_.state[pusher][n].fetch_or(1), ledger_.pushed[pusher]++;
  }

  void work() {
    std::uint64_t scope = random_.one_in(2) ? random_.below(5) : random_.below(kScopes);
    auto claim = queue(scope).claim();
    if (!known(claim.status())) return;
    std::uint64_t number = number_of(claim->payload()), n = number & 0xffffffff;
    auto pusher = number >> 32;
    if (pusher >= kPushers || n >= ledger_.begun[pusher] || scope_of(n) != scope)
      return ledger_.complain("an item that nobody pushed there: %lx", static_cast<unsigned long>(number));
    if (ledger_.state[pusher][n] & 4)
      ledger_.complain("item %lu of pusher %lu came after its ack", static_cast<unsigned long>(n),
                       static_cast<unsigned long>(pusher));
    // First in, first out: what was never claimed before comes in its pusher's order.
    if (claim->attempts() == 1) {
      auto& last = last_[pusher][scope];
      if (static_cast<std::int64_t>(n) <= last)
        ledger_.complain("item %lu of pusher %lu came after %ld", static_cast<unsigned long>(n),
                         static_cast<unsigned long>(pusher), static_cast<long>(last));
      last = static_cast<std::int64_t>(n);
    }
    if (random_.one_in(20)) return;  // nacked
    ledger_.state[pusher][n].fetch_or(2);
    Status acked = claim->ack();
    if (!acked) return ledger_.complain("an ack answered %s", describe(acked).c_str());
    ledger_.state[pusher][n].fetch_or(4), ledger_.acked++;
  }

  void gc() {
    auto result = pond_.gc({.spill_idle = milliseconds(1 + random_.below(6))});
    if (known(result.status())) ledger_.parked += result->parked;
    if (random_.one_in(3)) nap();
  }

  void append() {
    if (ledger_.appended > ledger_.read + kBacklog) return nap();
    auto seq = log_.append(patterned(7, 8 + random_.below(300)));
    if (known(seq.status())) ledger_.appended = *seq;
    if (random_.one_in(40)) ::usleep(12000);  // long enough to be idle
  }

  /// From the first record that is there: every seq, none twice, up to what was confirmed.
  void read() {
    std::uint64_t sure = ledger_.appended, next = ledger_.read;
    {
      Scan scan = log_.scan({.after = static_cast<std::int64_t>(next)});
      while (scan.next()) {
        if (scan.record().seq <= next)
          ledger_.complain("a scan went back to %lu", static_cast<unsigned long>(scan.record().seq));
        if (number_of(scan.record().payload) != 7)
          ledger_.complain("record %lu is not as it was appended",
                           static_cast<unsigned long>(scan.record().seq));
        next = scan.record().seq;
      }
      if (known(scan.status()) && next < sure)
        ledger_.complain("a scan ended at %lu, and %lu was confirmed", static_cast<unsigned long>(next),
                         static_cast<unsigned long>(sure));
    }
    if (next > kBacklog / 2 && random_.one_in(3)) known(log_.trim(next - kBacklog / 2).status());
    ledger_.read = next;
    ::usleep(random_.one_in(4) ? 15000 : 200);
  }

  const TestPond& test_;
  Ledger& ledger_;
  int role_;
  Random random_;
  Pond pond_;
  Log log_ = pond_.scope("log").log("audit");
  std::array<std::map<std::uint64_t, std::int64_t>, kPushers> last_ = [] {
    std::array<std::map<std::uint64_t, std::int64_t>, kPushers> none;
    for (auto& of : none)
      for (std::uint64_t scope = 0; scope < kScopes; scope++) of[scope] = -1;
    return none;
  }();
};

/// Where nobody runs for long, somebody holds a section or the disk for longer than a call waits.
template <class Work>
auto patiently(Work work) {
  auto done = work();
  for (std::uint64_t until = internal::sys::precise_us() + 20'000'000;
       done.code() == Code::timeout && internal::sys::precise_us() < until;)
    done = work();
  return done;
}

TEST(ParkTorture, WhoParksIsKilledAndNothingIsLostTwiceOrOutOfOrder) {
  const std::uint64_t rounds = number_from("HEADPOND_TORTURE_ROUNDS", 300), seed = fresh_seed();
  SCOPED_TRACE("HEADPOND_TEST_SEED=" + std::to_string(seed));
  Options options;
  options.limit_bytes = 1 << 20, options.max_page_bytes = 4096;
  TestPond test(options);
  Pond pond = test.open();
  Shared<Ledger> ledger;
  Random random(seed);
  constexpr int kRoles = 8;
  std::array<Process, kRoles> workers;
  std::uint64_t started = 0;
  auto start = [&](int role) {
    std::uint64_t dice = seed + ++started;
    workers[static_cast<std::size_t>(role)] =
        Process([&, role, dice] { Worker(test, *ledger, role, dice).run(); });
  };
  for (int role = 0; role < kRoles; role++) start(role);
  for (std::uint64_t round = 0; round < rounds && ledger->complaints == 0; round++) {
    ::usleep(static_cast<useconds_t>(1000 + random.below(9000)));
    // Two thirds of them to who parks.
    constexpr int kKilled[] = {4, 5, 4, 5, 4, 5, 4, 5, 0, 2, 6, 7};
    int role = kKilled[random.below(std::size(kKilled))];
    workers[static_cast<std::size_t>(role)].kill();
    start(role);
  }
  ledger->stop = true;
  for (Process& worker : workers) EXPECT_EQ(worker.wait(), 0);
  ASSERT_EQ(ledger->complaints, 0u) << ledger->complaint;
  EXPECT_GT(ledger->parked, rounds / 10);
  std::printf("%lu streams parked, %lu items acked\n", static_cast<unsigned long>(ledger->parked),
              static_cast<unsigned long>(ledger->acked));

  EXPECT_OK(pond.reap());
  EXPECT_TRUE(clean(pond));
  for (std::uint64_t scope = 0; scope < kScopes; scope++)
    for (const std::string& item : pop_all(pond.scope(std::to_string(scope)).queue("work"))) {
      std::uint64_t number = number_of(item);
      auto& state = ledger->state[number >> 32][number & 0xffffffff];
      EXPECT_EQ(state & 4, 0) << "came after its ack";
      state |= 4;
    }
  std::string lost;
  for (int pusher = 0; pusher < kPushers; pusher++)
    for (std::uint64_t n = 0; n < ledger->begun[pusher]; n++)
      if (ledger->state[pusher][n] == 1)  // confirmed, and not acked by one who was killed in the ack
        lost += " " + std::to_string(n) + " of pusher " + std::to_string(pusher) + " in scope " +
                std::to_string(Worker::scope_of(n)) + ";";
  ASSERT_EQ(lost, "") << "are lost; pushed: " << ledger->begun[0] << " and " << ledger->begun[1];
  EXPECT_TRUE(clean(pond));
  EXPECT_OK(pond.scope("log").log("audit").clear());
  // A page that is all done, and the last one, keeps its row: not in a parked stream.
  for (int tries = 0; tries < 1000 && must(pond.stats()).streams > 0; tries++) {
    ::usleep(2000);
    EXPECT_OK(pond.gc({.drop_idle = 1ms}));
  }
  EXPECT_EQ(must(pond.stats()).page_bytes, 0u);

  // Nothing is left over in the tier.
  auto attachment = must(Attachment::open(test.name(), options, false));
  attachment->tier_side().erase_forgotten(*attachment->thread(), true);
  EXPECT_OK(internal::erase_leftovers(*attachment->thread()));
  auto tier = must(attachment->tier_side().tier(*attachment->thread()));
  EXPECT_EQ(must(tier->streams_with_rows(internal::sys::precise_us() + 1'000'000)).size(), 0u);
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
                  .push(patterned(scope * kItems + n, 900), {.full_timeout = stretched(20s)});
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
          if (auto item = queue.pop(stretched(20s)); !item || number_of(*item) != order[i] * kItems + n)
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
  for (std::uint64_t i = 0; i < 3000; i++) {
    std::uint64_t scope = i % 40, begun = internal::sys::precise_us();
    Queue queue = pond.scope(std::to_string(scope)).queue("work");
    auto id = patiently([&] { return queue.push(patterned(i, 40)); });
    ASSERT_OK(id);
    EXPECT_GT(id->seq(), last[scope]) << "an id came twice";
    last[scope] = id->seq();
    auto item = patiently([&] { return queue.pop(); });
    // Whoever does not run for so long while his item waits has left it idle.
    if (internal::sys::precise_us() - begun > 10'000) continue;
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
