// Rounds of SIGKILL at random moments to one of the processes that push, pop, spill, append and read in a pond that is much smaller than what goes
// through it; the killed one is replaced. Each item is accounted for in memory that survives them, and nothing but what a killed process had in
// hand may be in doubt. The durable tier is the real one.
//
// HEADPOND_TORTURE_ROUNDS: kills. HEADPOND_TEST_SEED: repeats the dice.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <vector>

#include "src/attachment.h"
#include "src/leftovers.h"
#include "src/spill.h"
#include "src/tier_side.h"
#include "support/complaints.h"
#include "support/test_pond.h"

namespace {

using namespace support;
using internal::Attachment;
using internal::Spilled;

constexpr std::uint64_t kMax = 1 << 20, kBacklog = 12'000;
constexpr int kPushers = 2;

struct Ledger : Complaints {
  std::atomic<std::uint64_t> begun[kPushers], pushed[kPushers];  // items of that pusher: asked for, confirmed
  std::atomic<std::uint64_t> acked{0};
  std::atomic<std::uint64_t> appended{0}, read{0};
  std::atomic<std::uint64_t> spilled{0};
  std::atomic<bool> stop{false};
  std::atomic<std::uint8_t> state[kPushers][kMax];  // 1: confirmed, 2: being acked, 4: acked
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
        case 4: spill(); break;
        case 5: append(); break;
        default: read();
      }
  }

 private:
  void nap() { ::usleep(200); }
  bool known(const Status& status) {
    Code code = status.code();
    if (code == Code::ok) return true;
    if (code != Code::empty && code != Code::timeout && code != Code::full)
      ledger_.complain("role %d: answered %s", role_, describe(status).c_str());
    return false;
  }

  void push(int pusher) {
    std::uint64_t waiting = ledger_.pushed[0] + ledger_.pushed[1] - ledger_.acked;
    if (waiting > kBacklog && waiting < kMax) return nap();
    std::uint64_t n = ledger_.begun[pusher]++;
    if (n >= kMax) throw std::runtime_error("too many items for the ledger");
    auto id = queue_.push(patterned(named(pusher, n), 8 + random_.below(300)));
    if (known(id.status())) ledger_.state[pusher][n].fetch_or(1), ledger_.pushed[pusher]++;
  }

  void work() {
    auto claim = queue_.claim(milliseconds(random_.below(3)));
    if (!known(claim.status())) return;
    std::uint64_t number = number_of(claim->payload()), n = number & 0xffffffff;
    auto pusher = number >> 32;
    if (pusher >= kPushers || n >= ledger_.begun[pusher])
      return ledger_.complain("an item that nobody pushed: %lx", static_cast<unsigned long>(number));
    if (ledger_.state[pusher][n] & 4)
      ledger_.complain("item %lu of pusher %lu came after its ack", static_cast<unsigned long>(n),
                       static_cast<unsigned long>(pusher));
    // First in, first out: what was never claimed before comes in its pusher's order.
    if (claim->attempts() == 1) {
      if (static_cast<std::int64_t>(n) <= last_[pusher])
        ledger_.complain("item %lu of pusher %lu came after %ld", static_cast<unsigned long>(n),
                         static_cast<unsigned long>(pusher), static_cast<long>(last_[pusher]));
      last_[pusher] = static_cast<std::int64_t>(n);
    }
    if (random_.one_in(20)) return;  // nacked
    ledger_.state[pusher][n].fetch_or(2);
    Status acked = claim->ack();
    if (!acked) return ledger_.complain("an ack answered %s", describe(acked).c_str());
    ledger_.state[pusher][n].fetch_or(4), ledger_.acked++;
  }

  void spill() {
    if (!attachment_) attachment_ = must(Attachment::open(test_.name(), test_.options(), false));
    Spilled out;
    known(internal::spill_some(*attachment_->thread(), 1 << (12 + random_.below(6)), out));
    ledger_.spilled += out.pages;
    if (random_.one_in(50)) known(internal::erase_leftovers(*attachment_->thread()).status());
    if (random_.one_in(4)) nap();
  }

  void append() {
    if (ledger_.appended > ledger_.read + kBacklog) return nap();
    auto seq = log_.append(patterned(7, 8 + random_.below(300)));
    if (known(seq.status())) ledger_.appended = *seq;
  }

  /// From the first record that is there: every seq, none twice, up to what was confirmed.
  void read() {
    std::uint64_t sure = ledger_.appended, next = ledger_.read;
    Scan scan = log_.scan({.after = static_cast<std::int64_t>(next)});
    while (scan.next()) {
      if (scan.record().seq <= next)
        ledger_.complain("a scan went back to %lu", static_cast<unsigned long>(scan.record().seq));
      if (number_of(scan.record().payload) != 7) ledger_.complain("a record is not as it was appended");
      next = scan.record().seq;
    }
    if (known(scan.status()) && next < sure)
      ledger_.complain("a scan ended at %lu, and %lu was confirmed", static_cast<unsigned long>(next),
                       static_cast<unsigned long>(sure));
    if (next > kBacklog / 2 && random_.one_in(3)) known(log_.trim(next - kBacklog / 2).status());
    ledger_.read = next;
    nap();
  }

  const TestPond& test_;
  Ledger& ledger_;
  int role_;
  Random random_;
  Pond pond_;
  Queue queue_ = pond_.scope("scope").queue("work");
  Log log_ = pond_.scope("scope").log("audit");
  std::shared_ptr<Attachment> attachment_;
  std::array<std::int64_t, kPushers> last_{-1, -1};
};

TEST(SpillTorture, KilledSpillersAndRefillersLoseNothingAndBringNothingTwice) {
  const std::uint64_t rounds = number_from("HEADPOND_TORTURE_ROUNDS", 400), seed = fresh_seed();
  SCOPED_TRACE("HEADPOND_TEST_SEED=" + std::to_string(seed));
  Options options;
  options.limit_bytes = 1 << 20, options.max_page_bytes = 8192, options.on_full = OnFull::spill;
  TestPond test(options);
  watchdog(std::chrono::seconds(100 + rounds / 5));
  Pond pond = test.open();
  Shared<Ledger> ledger;
  Random random(seed);
  constexpr int kRoles = 7;
  std::array<Process, kRoles> workers;
  std::array<unsigned long, kRoles> killed{};
  std::uint64_t started = 0;
  auto start = [&](int role) {
    std::uint64_t dice = seed + ++started;
    workers[static_cast<std::size_t>(role)] =
        Process([&, role, dice] { Worker(test, *ledger, role, dice).run(); });
  };
  for (int role = 0; role < kRoles; role++) start(role);
  for (std::uint64_t round = 0; round < rounds && ledger->complaints == 0; round++) {
    ::usleep(static_cast<useconds_t>(1000 + random.below(9000)));
    // Half of them to who spills and who brings back.
    constexpr int kKilled[] = {0, 1, 2, 2, 3, 3, 4, 4, 4, 4, 5, 6};
    int role = kKilled[random.below(std::size(kKilled))];
    if (rounds >= 2000 && round % 500 == 0)
      std::printf("%lu of %lu kills: %lu items acked, %lu pages spilled\n", static_cast<unsigned long>(round),
                  static_cast<unsigned long>(rounds), static_cast<unsigned long>(ledger->acked),
                  static_cast<unsigned long>(ledger->spilled)),
          std::fflush(stdout);
    workers[static_cast<std::size_t>(role)].kill();
    killed[static_cast<std::size_t>(role)]++;
    start(role);
  }
  std::printf(
      "killed: %lu who spilled, %lu who brought back, %lu others; %lu items acked, %lu pages spilled\n",
      killed[4], killed[2] + killed[3], killed[0] + killed[1] + killed[5] + killed[6],
      static_cast<unsigned long>(ledger->acked), static_cast<unsigned long>(ledger->spilled));
  ledger->stop = true;
  for (Process& worker : workers) EXPECT_EQ(worker.wait(), 0);
  ASSERT_EQ(ledger->complaints, 0u) << ledger->complaint[0];
  EXPECT_GT(ledger->spilled, rounds / 10);

  EXPECT_OK(pond.reap());
  EXPECT_TRUE(clean(pond));
  Queue queue = pond.scope("scope").queue("work");
  for (const std::string& item : pop_all(queue)) {
    std::uint64_t number = number_of(item);
    auto& state = ledger->state[number >> 32][number & 0xffffffff];
    EXPECT_EQ(state & 4, 0) << "came after its ack";
    state |= 4;
  }
  for (int pusher = 0; pusher < kPushers; pusher++)
    for (std::uint64_t n = 0; n < ledger->begun[pusher]; n++)
      // confirmed, and not acked by one who was killed in the ack
      ASSERT_NE(ledger->state[pusher][n], 1) << "item " << n << " of pusher " << pusher << " is lost";
  EXPECT_TRUE(clean(pond));
  EXPECT_OK(pond.scope("scope").log("audit").clear());

  // Nothing is left over in the tier.
  auto attachment = must(Attachment::open(test.name(), options, false));
  attachment->tier_side().erase_forgotten(*attachment->thread(), true);
  EXPECT_OK(internal::erase_leftovers(*attachment->thread()));
  auto tier = must(attachment->tier_side().tier(*attachment->thread()));
  EXPECT_EQ(must(tier->streams_with_rows(internal::sys::precise_us() + 1'000'000)).size(), 0u);
}

}  // namespace
