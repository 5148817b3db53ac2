// SIGKILL to whoever leads a commit, at random moments, while processes push, append, claim, move and ack durably; at the end everybody is killed, the
// segment is lost, and what the journal says, and then the pond that is rebuilt from it has, is compared with what was said: every item whose push
// said `durable` and whose ack was never begun, once, unharmed and in order; none whose ack said `durable`; none that nobody pushed.
//
// HEADPOND_TORTURE_ROUNDS: kills. HEADPOND_TEST_SEED: repeats the dice.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <map>
#include <vector>

#include "src/attachment.h"
#include "support/complaints.h"
#include "support/test_pond.h"
#include "support/test_tier.h"

namespace {

using namespace support;
using internal::Attachment;

constexpr std::uint64_t kMax = 1 << 21;
constexpr Durability kDurable = Durability::durable;
constexpr std::size_t kLarge = 40'000;  // has a commit of its own

enum Said : std::uint8_t { kPushBegun = 1, kPushed = 2, kAckBegun = 4, kAcked = 8, kMoved = 16 };

struct Ledger : Complaints {
  std::atomic<std::uint64_t> next{0}, pushed{0}, acked{0}, moved{0};
  std::atomic<bool> stop{false};
  std::atomic<std::uint8_t> said[kMax];
};

class Worker {
 public:
  Worker(const TestPond& test, Ledger& ledger, std::uint64_t seed)
      : ledger_(ledger), random_(seed), pond_(test.open()), queue_(pond_.scope("scope").queue("work")) {}

  void run() {
    while (!ledger_.stop) {
      if (random_.one_in(10))
        append();
      else if (random_.one_in(3) || ledger_.pushed < ledger_.acked + 20)
        push();
      else
        work();
    }
  }

 private:
  /// A commit that fails is none of this test's: nobody else uses the disk's files.
  bool expect_durable(const Status& status, const char* what) {
    if (status.ok() && status.durability() == kDurable) return true;
    ledger_.complain("%s answered %s, cause %s: %s", what, std::string(name(status.code())).c_str(),
                     std::string(name(status.cause())).c_str(), status.text().c_str());
    return false;
  }

  void push() {
    std::uint64_t count = random_.one_in(10) ? 5 : 1, first = ledger_.next.fetch_add(count);
    if (first + count > kMax) throw std::runtime_error("too many items for the ledger");
    std::vector<std::string> texts;
    for (std::uint64_t n = first; n < first + count; n++) {
      texts.push_back(patterned(n, count == 1 && random_.one_in(100) ? kLarge : 8 + random_.below(200)));
      ledger_.said[n] |= kPushBegun;
    }
    std::vector<Bytes> items(texts.begin(), texts.end());
    // What nobody takes out lives through every trim.
    Queue& queue = random_.one_in(20) ? kept_ : queue_;
    auto id = queue.push_many(items, {.delay = milliseconds(random_.one_in(20) ? 1 : 0),
                                      .priority = static_cast<int>(random_.below(3)),
                                      .durability = kDurable});
    if (!expect_durable(id.status(), "a push")) return;
    for (std::uint64_t n = first; n < first + count; n++) ledger_.said[n] |= kPushed;
    if (&queue == &queue_) ledger_.pushed += count;
  }

  void append() {
    std::uint64_t n = ledger_.next++;
    if (n >= kMax) throw std::runtime_error("too many items for the ledger");
    ledger_.said[n] |= kPushBegun;
    auto seq = log_.append(patterned(n, 8 + random_.below(200)), {.durability = kDurable});
    if (expect_durable(seq.status(), "an append")) ledger_.said[n] |= kPushed;
  }

  void work() {
    auto claim = queue_.claim(milliseconds(1));
    if (claim.code() == Code::empty || claim.code() == Code::timeout) return;
    if (!claim) return ledger_.complain("a claim answered %s", describe(claim.status()).c_str());
    std::uint64_t n = number_of(claim->payload());
    if (n >= kMax || !(ledger_.said[n] & kPushBegun)) return ledger_.complain("an item that nobody pushed");
    if (ledger_.said[n] & kAcked)
      return ledger_.complain("item %lu came after its ack", static_cast<unsigned long>(n));
    if (random_.one_in(5)) return move(*claim);
    ledger_.said[n] |= kAckBegun;
    Status acked = claim->ack({.durability = random_.one_in(4) ? Durability::memory : kDurable});
    if (!acked) return ledger_.complain("an ack answered %s", describe(acked).c_str());
    if (acked.durability() == kDurable) ledger_.said[n] |= kAcked;
    ledger_.acked++;
  }

  void move(Claim& claim) {
    ledger_.moved++;
    ledger_.said[number_of(claim.payload())] |= kMoved;
    Status moved;
    if (random_.one_in(4)) {
      moved = claim.bury("");
      if (moved) moved = queue_.redrive().status();
    } else {
      moved = claim.nack({.delay = milliseconds(1)});
    }
    if (!moved) ledger_.complain("a move answered %s", describe(moved).c_str());
  }

  Ledger& ledger_;
  Random random_;
  Pond pond_;
  Queue queue_, kept_ = pond_.scope("scope").queue("kept");
  Log log_ = pond_.scope("scope").log("audit");
};

/// The process that holds the commit lock, as the kernel knows robust mutexes: by the thread in the futex word; 0: nobody.
pid_t leader(Attachment& attachment) {
  auto* word = reinterpret_cast<std::atomic<std::uint32_t>*>(
      &attachment.segment().section(internal::kCommitSection).mutex);
  return static_cast<pid_t>(word->load() & FUTEX_TID_MASK);
}

/// What a rebuild would find: number -> how often.
std::map<std::uint64_t, int> brought_back(const TestPond& test, Ledger& ledger) {
  std::map<std::uint64_t, int> found;
  auto tier = must(try_tier(test.folder(), false));
  Status read = tier->survivors([](const internal::Tier::Acked&) { return Status(); },
                                [&](const internal::JournalEntry& entry) {
                                  std::string_view payload = entry.payload;
                                  int lane = static_cast<int>(entry.stream & 15);
                                  if (lane == internal::kDelayedLane)
                                    payload.remove_prefix(sizeof(internal::DelayedPrefix));
                                  if (lane == internal::kDeadLane)
                                    payload.remove_prefix(sizeof(internal::DeadPrefix));
                                  std::uint64_t number = number_of(payload);
                                  if (number >= ledger.next || !(ledger.said[number] & kPushBegun))
                                    ledger.complain("the journal has an item that nobody pushed");
                                  found[number]++;
                                  return Status();
                                },
                                soon());
  must(read);
  return found;
}

/// The next life: number -> how often it came out of the pond. What never moved comes in the order in which it went in.
std::map<std::uint64_t, int> rebuilt(const TestPond& test, Ledger& ledger) {
  std::map<std::uint64_t, int> found;
  Pond pond = test.open();
  EXPECT_EQ(pond.recovered().epoch, 2u);
  EXPECT_EQ(pond.recovered().damaged_rows, 0u);
  EXPECT_TRUE(clean(pond));
  for (const char* name : {"work", "kept"}) {
    Queue queue = pond.scope("scope").queue(name);
    (void)must(queue.redrive());
    std::map<int, ItemId> last;
    for (;;) {
      auto claim = queue.claim();
      if (!claim) {
        EXPECT_ANSWER(empty, claim);
        if (must(queue.stats()).delayed == 0) break;
        (void)queue.claim(5ms);  // given back at once
        continue;
      }
      std::uint64_t number = number_of(claim->payload());
      if (number >= ledger.next || !(ledger.said[number] & kPushBegun)) {
        ledger.complain("the pond has an item that nobody pushed");
      } else {
        found[number]++;
        if (!(ledger.said[number] & kMoved) && claim->id().lane() != internal::kDelayedLane) {
          ItemId& before = last[claim->id().lane()];
          EXPECT_LT(before, claim->id());
          before = claim->id();
        }
      }
      EXPECT_OK(claim->ack());
    }
  }
  for (const auto& [seq, record] : read_all(pond.scope("scope").log("audit"))) found[number_of(record)]++;
  EXPECT_TRUE(clean(pond));
  return found;
}

TEST(DurableTorture, AfterKilledLeadersAndALostSegmentThePondHasWhatWasSaid) {
  const std::uint64_t rounds = number_from("HEADPOND_TORTURE_ROUNDS", 100);
  WITH_SEED(seed);
  watchdog(std::chrono::seconds(300 + rounds));
  Options options;
  options.limit_bytes = 16 << 20;
  options.durable_timeout = stretched(milliseconds(60'000));
  TestPond test(options);
  Shared<Ledger> ledger;
  Random random(seed);
  std::uint64_t leaders = 0, in_memory = 0;
  {
    auto attachment = must(Attachment::open(test.name(), options, true));
    std::array<Process, 4> workers;
    std::uint64_t started = 0;
    auto start = [&](Process& worker) {
      std::uint64_t dice = seed + ++started;
      worker = Process([&, dice] { Worker(test, *ledger, dice).run(); });
    };
    for (Process& worker : workers) start(worker);
    for (std::uint64_t round = 0; round < rounds && ledger->complaints == 0; round++) {
      std::uint64_t before = ledger->pushed + ledger->acked;
      ASSERT_TRUE(eventually(
          [&] { return ledger->pushed + ledger->acked > before + 20 || ledger->complaints > 0; }, 60s))
          << "nobody goes on after a kill";
      ::usleep(static_cast<useconds_t>(random.below(3000)));
      // Mostly whoever leads, in whatever it is; the others are killed where they wait, or are at something else.
      Process* victim = &workers[random.below(workers.size())];
      if (!random.one_in(4)) {
        for (const auto until = Clock::now() + stretched(10s); Clock::now() < until;) {  // somebody will lead
          pid_t leads = leader(*attachment);
          auto found =
              std::find_if(workers.begin(), workers.end(), [&](auto& w) { return w.pid() == leads; });
          if (found == workers.end()) continue;
          for (std::uint64_t spin = random.below(20'000); spin > 0; spin--) internal::sys::relax();
          victim = &*found, leaders++;
          break;
        }
      }
      victim->kill();
      start(*victim);
    }
    for (Process& worker : workers) worker.kill();
    for (const char* name : {"work", "kept"}) {
      QueueStats stats = must(test.open().scope("scope").queue(name).stats());
      in_memory += stats.ready + stats.claimed + stats.delayed + stats.dead;
    }
    in_memory += must(test.open().scope("scope").log("audit").stats()).records;
    EXPECT_TRUE(clean(test));
  }
  ASSERT_EQ(ledger->complaints, 0u) << ledger->complaint[0];
  test.lose_segment();

  std::map<std::uint64_t, int> found = brought_back(test, *ledger);
  ASSERT_EQ(ledger->complaints, 0u) << ledger->complaint[0];
  std::uint64_t confirmed = 0, lost = 0, back = 0, twice = 0;
  for (std::uint64_t n = 0; n < ledger->next; n++) {
    std::uint8_t said = ledger->said[n];
    auto at = found.find(n);
    bool there = at != found.end();
    confirmed += (said & kPushed) != 0;
    lost += (said & kPushed) && !(said & kAckBegun) && !there;
    back += (said & kAcked) && there;
    twice += there && at->second != 1;
  }
  EXPECT_EQ(lost, 0u) << "of " << confirmed << " that were said to be durable";
  EXPECT_EQ(back, 0u) << "of " << ledger->acked.load() << " acks";
  EXPECT_EQ(twice, 0u);
  // Whoever is killed between its ack in memory and the post of it leaves one to be delivered again.
  EXPECT_LE(found.size(), in_memory + rounds + 4);
  EXPECT_EQ(rebuilt(test, *ledger), found);
  ASSERT_EQ(ledger->complaints, 0u) << ledger->complaint;
  EXPECT_GT(leaders, rounds / 4) << "whoever led was met too seldom";
  std::printf(
      "%llu kills, %llu of them of the leader; %llu durable pushes, %llu acks, %llu moves; at the "
      "end %llu items in memory, %llu in the journal\n",
      static_cast<unsigned long long>(rounds), static_cast<unsigned long long>(leaders),
      static_cast<unsigned long long>(confirmed), static_cast<unsigned long long>(ledger->acked.load()),
      static_cast<unsigned long long>(ledger->moved.load()), static_cast<unsigned long long>(in_memory),
      static_cast<unsigned long long>(found.size()));
}

}  // namespace
