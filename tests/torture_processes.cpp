// Rounds of SIGKILL at random moments to one of the processes that use a pond; the killed one is replaced, the others go on. Every item
// is accounted for in scratch memory that survives its processes: what was meant is noted before an operation, what it answered after.
//
// HEADPOND_TORTURE_ROUNDS: kills in each variant. HEADPOND_TEST_SEED: repeats the dice (the kernel's timing stays its own).
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "support/complaints.h"
#include "support/test_pond.h"

namespace {

using namespace headpond;
using namespace support;

struct Variant {
  const char* name;
  std::uint64_t rounds = 60;
  std::uint64_t limit_bytes = 64 << 20;
  std::uint64_t largest = 200;  // bytes of an item; one in 20 is up to 20 times as large
  bool priorities = false;
  bool delays = false;  // delayed pushes and nacks
  bool leases = false;  // and claims held for longer than theirs
  bool moves = false;   // bury, redrive, max_attempts
  bool clears = false;  // one more process clears the queue now and then
  bool churn = false;   // processes attach and detach all the time
  bool stops = false;   // SIGSTOP before some kills, and SIGCONT after others
  bool maintenance = false;
};
void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

enum Flag : std::uint32_t {
  kPushed = 1,   // its push returned an id
  kRefused = 2,  // its push answered that nothing happened
  kAcking = 4,   // somebody began to ack it
  kAcked = 8,    // an ack returned ok
  kSeen = 16,    // of a record: a scan found it
};

enum class Doing : std::uint32_t {
  nothing,
  push,
  claim,
  pop,
  settle,
  look,
  append,
  scan,
  trim,
  clear,
  attach
};
constexpr const char* kDoing[] = {"nothing", "push", "claim", "pop",   "settle", "look",
                                  "append",  "scan", "trim",  "clear", "attach"};

constexpr std::uint64_t kMaxItems = 1 << 21, kMaxRecords = 1 << 20, kNever = UINT64_MAX;
constexpr std::uint64_t kInFlight = 2000;  // items; a full pond comes by its limit
constexpr int kBatch = 8;
// us. A call that takes so long hangs. Time in which the machine stood still does not count: not more of it than a tick.
constexpr std::int64_t kHangs = 1'000'000, kTick = 50'000;

struct Worker {
  std::atomic<std::int64_t> since_us{0};  // when the operation began, as in `time_us`; 0: none
  std::atomic<Doing> doing{Doing::nothing};
  std::atomic<std::uint64_t> batch{0};  // items of a pop that are not yet noted
};

struct Ledger : Complaints {
  struct Thing {
    std::atomic<std::uint32_t> flags{0};
    std::atomic<std::uint32_t> deliveries{0};
    std::atomic<std::uint64_t> pushing_epoch{0};  // see clears below
    std::atomic<std::uint64_t> pushed_epoch{0};
  };
  std::atomic<std::uint64_t> items{0}, records{0}, settled{0}, refused{0}, fenced{0};
  std::atomic<std::uint64_t> round{0}, rounds{1};
  /// Of what has room here for all rounds, as many as may be there by now; some are always under way.
  std::uint64_t share(std::uint64_t most) const { return (most - 8 * kBatch) * (round + 1) / rounds; }
  std::atomic<std::uint64_t> scanned{0};  // all records up to this seq have been seen
  // Clears: begun and over (returned, or the clearer is dead); the last one that returned.
  std::atomic<std::uint64_t> clears_begun{0}, clears_over{0}, clears_done{0};
  std::atomic<std::int64_t> time_us{1};  // goes on by a tick at most with each look of who kills
  std::atomic<std::int64_t> slowest_us{0};
  std::atomic<Doing> slowest{Doing::nothing};
  std::atomic<bool> stop{false};
  Worker workers[8];
  Thing item[kMaxItems];
  Thing record[kMaxRecords];
  std::atomic<std::uint64_t> record_seq[kMaxRecords];
};

/// One process's use of the pond.
class Role {
 public:
  Role(const TestPond& test, const Variant& variant, Ledger& ledger, int number, std::uint64_t seed)
      : test_(test),
        variant_(variant),
        ledger_(ledger),
        me_(ledger.workers[number]),
        number_(number),
        random_(seed) {}

  void run() {
    for (std::uint64_t turn = 0; !ledger_.stop; ++turn) {
      if (!pond_ || (variant_.churn && random_.one_in(20))) attach();
      if (variant_.churn && random_.one_in(100)) break;
      switch (number_) {
        case 0:
        case 1: push(); break;
        case 2:
        case 3: claim(); break;
        case 4: append(); break;
        case 5: scan(); break;
        default: clear();
      }
    }
    me_.doing = Doing::nothing;
  }

  /// An item that was delivered, by a claim (or a pop: null). `before`: clears_done before it was asked for.
  void delivered(Bytes payload, Claim* claim, std::uint64_t before) {
    const std::uint64_t number = number_of(payload);
    if (number >= ledger_.items)
      return ledger_.complain("a payload of %zu bytes that nobody pushed", payload.size());
    Ledger::Thing& item = ledger_.item[number];
    const std::uint32_t flags = item.flags;
    if (flags & kRefused)
      ledger_.complain("item %lu was delivered though its push answered that nothing happened", number);
    if ((flags & kAcked) && (!variant_.leases || (claim != nullptr && claim->extend(1s).ok())))
      ledger_.complain("item %lu was delivered after its ack had returned", number);
    if ((flags & kPushed) && before != 0 && item.pushed_epoch < before)
      ledger_.complain("item %lu was delivered after a clear that began after its push had returned", number);
    const std::uint32_t deliveries = item.deliveries.fetch_add(1);
    if (claim != nullptr && !variant_.moves && !variant_.leases && claim->attempts() < deliveries + 1 &&
        deliveries < 60'000)
      ledger_.complain("item %lu: attempt %u at its delivery %u", number, claim->attempts(), deliveries + 1);
  }
  void acked(std::uint64_t number) {
    if (ledger_.item[number].flags.fetch_or(kAcked) & kAcked)
      ledger_.complain("item %lu was acked twice", number);
    ++ledger_.settled;
  }

 private:
  /// Notes what is being done, how long it took, and an answer that is none of those expected.
  template <class Operation>
  auto doing(Doing what, Operation operation, std::initializer_list<Code> expected) {
    const std::int64_t start = ledger_.time_us;
    me_.doing = what;
    me_.since_us = start;
    auto result = operation();
    const std::int64_t took = ledger_.time_us - start;
    me_.since_us = 0;
    if (what != Doing::pop) me_.doing = Doing::nothing;
    for (std::int64_t slowest = ledger_.slowest_us; took > slowest;) {
      if (ledger_.slowest_us.compare_exchange_weak(slowest, took)) ledger_.slowest = what;
    }
    const Code code = status_of(result).code();
    const bool known = code == Code::ok ||
                       std::find(expected.begin(), expected.end(), code) != expected.end() ||
                       (variant_.stops && code == Code::timeout);
    if (!known)
      ledger_.complain("%s answered %s", kDoing[static_cast<int>(what)], describe(status_of(result)).c_str());
    return result;
  }

  void attach() {
    queue_.reset(), log_.reset(), pond_.reset();
    auto pond = doing(Doing::attach,
                      [&] { return Pond::open(test_.name(), {.maintenance = variant_.maintenance}); }, {});
    if (!pond) return;
    pond_.emplace(std::move(*pond));
    queue_ = pond_->scope("scope").queue("work");
    log_ = pond_->scope("scope").log("log");
  }

  std::size_t size() {
    return 8 + random_.below(random_.one_in(20) ? variant_.largest * 20 : variant_.largest);
  }

  static void nap() {
    timespec time{0, 500'000};
    ::nanosleep(&time, nullptr);
  }

  void push() {
    if (!pond_) return;
    const std::uint64_t waiting = ledger_.items - ledger_.settled - ledger_.refused;
    if (waiting > kInFlight && !variant_.clears) {
      nap();
      if (waiting > kInFlight + 5000) return;
    }
    if (ledger_.items > ledger_.share(kMaxItems)) return nap();
    const bool many = random_.one_in(10);
    const std::uint64_t count = many ? 1 + random_.below(kBatch) : 1;
    const std::uint64_t first = ledger_.items.fetch_add(count);
    if (first + count >= kMaxItems) throw std::runtime_error("too many items for the ledger");
    std::vector<std::string> texts;
    const std::uint64_t over = ledger_.clears_over, epoch = ledger_.clears_begun;
    for (std::uint64_t i = 0; i < count; ++i) {
      texts.push_back(patterned(first + i, size()));
      ledger_.item[first + i].pushing_epoch = over == epoch ? epoch : kNever;
    }
    PushOptions options;
    if (variant_.priorities) options.priority = static_cast<int>(random_.below(8));
    if (variant_.delays && random_.one_in(3)) options.delay = milliseconds(1 + random_.below(12));
    Code code;
    if (many) {
      const std::vector<Bytes> items(texts.begin(), texts.end());
      code = doing(Doing::push, [&] { return queue_->push_many(items, options); }, {Code::full}).code();
    } else if (random_.one_in(8)) {
      auto reservation = doing(
          Doing::push, [&] { return queue_->reserve(texts[0].size(), options.priority); }, {Code::full});
      if (reservation) {
        std::memcpy(reservation->data().data(), texts[0].data(), texts[0].size());
        if (random_.one_in(4)) {
          ledger_.item[first].flags.fetch_or(kRefused);  // abandoned
          ++ledger_.refused;
          return;
        }
        reservation->commit();
      }
      code = reservation.code();
    } else {
      code = doing(Doing::push, [&] { return queue_->push(texts[0], options); }, {Code::full}).code();
    }
    const std::uint64_t pushed_epoch = ledger_.clears_begun;
    for (std::uint64_t i = 0; i < count; ++i) {
      ledger_.item[first + i].pushed_epoch = pushed_epoch;
      ledger_.item[first + i].flags.fetch_or(code == Code::ok ? kPushed : kRefused);
      ledger_.refused += code != Code::ok;
    }
  }

  void claim() {
    if (!pond_) return;
    const milliseconds wait(random_.one_in(2) ? 0 : 5);
    const std::uint64_t before = ledger_.clears_done;
    const std::initializer_list<Code> nothing = {Code::empty, Code::timeout};
    if (random_.one_in(16)) {
      me_.batch = 1;
      auto item = doing(
          Doing::pop, [&] { return queue_->pop(wait); }, nothing);
      if (item) {
        delivered(*item, nullptr, before);
        const std::uint64_t number = number_of(*item);
        if (number < kMaxItems) acked(number);
      }
      me_.doing = Doing::nothing;
    } else if (random_.one_in(16)) {
      me_.batch = kBatch;
      auto items = doing(
          Doing::pop, [&] { return queue_->pop_many(kBatch, wait); }, nothing);
      if (items) {
        for (const std::string& item : *items) {
          delivered(item, nullptr, before);
          const std::uint64_t number = number_of(item);
          if (number < kMaxItems) acked(number);
        }
      }
      me_.doing = Doing::nothing;
    } else if (random_.one_in(8)) {
      auto claims = doing(
          Doing::claim, [&] { return queue_->claim_many(1 + random_.below(20), wait); }, nothing);
      if (!claims) return;
      for (Claim& claim : *claims) delivered(claim.payload(), &claim, before);
      while (!claims->empty()) {
        const std::size_t at = random_.below(claims->size());
        settle((*claims)[at]);
        claims->erase(claims->begin() + static_cast<std::ptrdiff_t>(at));
      }
    } else {
      auto claim = doing(
          Doing::claim, [&] { return queue_->claim(wait); }, nothing);
      if (!claim) return;
      delivered(claim->payload(), &*claim, before);
      settle(*claim);
    }
    if (variant_.moves && random_.one_in(20))
      (void)doing(Doing::settle, [&] { return queue_->redrive(random_.below(30)); }, {Code::full});
    if (random_.one_in(40)) (void)doing(Doing::look, [&] { return queue_->peek(10); }, {Code::empty});
    if (random_.one_in(40)) (void)doing(Doing::look, [&] { return queue_->stats(); }, {});
  }

  void settle(Claim& claim) {
    const std::uint64_t number = number_of(claim.payload());
    if (number >= kMaxItems) return;  // complained already
    if (variant_.leases && random_.one_in(30)) {
      timespec nap{0, static_cast<long>(random_.below(25'000'000))};
      ::nanosleep(&nap, nullptr);
    }
    Status status;
    switch (random_.below(12)) {
      case 0: status = doing(Doing::settle, [&] { return claim.nack(); }, {Code::fenced}); break;
      case 1: return;  // dropped
      case 2:
        if (!variant_.delays) return;
        status =
            doing(Doing::settle, [&] { return claim.nack({.delay = milliseconds(1 + random_.below(10))}); },
                  {Code::fenced, Code::full});
        break;
      case 3:
        if (!variant_.moves) return;
        status = doing(Doing::settle, [&] { return claim.bury("torture"); }, {Code::fenced, Code::full});
        break;
      case 4:
        if (!variant_.leases) return;
        status = doing(Doing::settle, [&] { return claim.extend(milliseconds(1 + random_.below(30))); },
                       {Code::fenced});
        [[fallthrough]];
      default:
        ledger_.item[number].flags.fetch_or(kAcking);
        status = doing(Doing::settle, [&] { return claim.ack(); }, {Code::fenced});
        if (status.ok()) acked(number);
    }
    if (status == Code::fenced) {
      ++ledger_.fenced;
      if (!variant_.leases && !variant_.clears)
        ledger_.complain("a claim of item %lu was fenced without a reason", number);
    }
  }

  void append() {
    if (!pond_) return;
    if (ledger_.records > ledger_.share(kMaxRecords)) return nap();
    const bool many = random_.one_in(10);
    const std::uint64_t count = many ? 1 + random_.below(kBatch) : 1;
    const std::uint64_t first = ledger_.records.fetch_add(count);
    if (first + count >= kMaxRecords) throw std::runtime_error("too many records for the ledger");
    std::vector<std::string> texts;
    for (std::uint64_t i = 0; i < count; ++i) texts.push_back(patterned(first + i, size()));
    const std::vector<Bytes> records(texts.begin(), texts.end());
    const auto seq =
        doing(Doing::append, [&] { return many ? log_->append_many(records) : log_->append(records[0]); },
              {Code::full});
    if (seq && *seq <= last_appended_)
      ledger_.complain("record %lu got seq %lu after %lu", first, *seq, last_appended_);
    if (seq) last_appended_ = *seq + count - 1;
    for (std::uint64_t i = 0; i < count; ++i) {
      if (seq) ledger_.record_seq[first + i] = *seq + i;
      ledger_.record[first + i].flags.fetch_or(seq ? kPushed : kRefused);
    }
    if (random_.one_in(10)) {  // slower than its reader
      timespec nap{0, 200'000};
      ::nanosleep(&nap, nullptr);
    }
  }

 public:
  void scan() {
    if (!pond_) return;
    std::uint64_t position = ledger_.scanned;
    if (random_.one_in(10)) {
      Follower follower = log_->follow(static_cast<std::int64_t>(position));
      const auto record = doing(Doing::scan, [&] { return follower.next(5ms); }, {Code::timeout});
      if (record) position = read(*record, position);
    } else {
      Scan scan = log_->scan({.after = static_cast<std::int64_t>(position), .limit = 1 + random_.below(200)});
      const Status status = doing(Doing::scan,
                                  [&] {
                                    for (const Record& record : scan) position = read(record, position);
                                    return scan.status();
                                  },
                                  {});
    }
    ledger_.scanned = position;
    if (random_.one_in(5) && position > 20)
      (void)doing(Doing::trim, [&] { return log_->trim(position - 20); }, {});
  }

 private:
  std::uint64_t read(const Record& record, std::uint64_t after) {
    const std::uint64_t number = number_of(record.payload);
    if (number >= ledger_.records) {
      ledger_.complain("record with seq %lu is torn", record.seq);
      return record.seq;
    }
    if (record.seq <= after) ledger_.complain("seq %lu came after %lu", record.seq, after);
    const std::uint32_t flags = ledger_.record[number].flags.fetch_or(kSeen);
    if (flags & kRefused)
      ledger_.complain("record %lu was read though its append answered that nothing happened", number);
    const std::uint64_t seq = ledger_.record_seq[number];
    if ((flags & kPushed) && seq != record.seq)
      ledger_.complain("record %lu has seq %lu, and was told %lu", number, record.seq, seq);
    return record.seq;
  }

  void clear() {
    if (!pond_) return;
    timespec nap{0, static_cast<long>(random_.below(20'000'000))};
    ::nanosleep(&nap, nullptr);
    const std::uint64_t mine = ++ledger_.clears_begun;
    const auto cleared = doing(Doing::clear, [&] { return queue_->clear(); }, {});
    if (cleared) ledger_.clears_done = mine;
    ledger_.clears_over = mine;
  }

  const TestPond& test_;
  const Variant& variant_;
  Ledger& ledger_;
  Worker& me_;
  int number_;
  Random random_;
  std::optional<Pond> pond_;
  std::optional<Queue> queue_;
  std::optional<Log> log_;
  std::uint64_t last_appended_ = 0;
};

class Torture : public ::testing::TestWithParam<Variant> {};

TEST_P(Torture, LosesNothingAndHangsNobody) {
  const Variant& variant = GetParam();
  const std::uint64_t rounds = number_from("HEADPOND_TORTURE_ROUNDS", variant.rounds);
  WITH_SEED(seed);
  Random random(seed);
  // What goes over the disk is spill_processes.cpp: here nobody waits for one.
  TestPond test({.limit_bytes = variant.limit_bytes, .on_full = OnFull::fail});
  watchdog(std::chrono::seconds(300 + rounds / 5));
  {
    Queue queue = test.queue();
    QueueOptions options;
    if (variant.leases) options.lease = 12ms;
    if (variant.moves) options.max_attempts = 4;
    must(queue.configure(options));
  }
  Shared<Ledger> ledger;
  ledger->rounds = rounds;
  const int roles = variant.clears ? 7 : 6;
  std::uint64_t spawned = 0, kills = 0, popped_by_killed = 0, stops = 0;
  const auto spawn = [&](int number) {
    const std::uint64_t its_seed = seed + 1000 * ++spawned + static_cast<std::uint64_t>(number);
    return Process([&, number, its_seed] {
      watchdog(std::chrono::seconds(300 + rounds / 5));
      Role(test, variant, *ledger, number, its_seed).run();
    });
  };
  std::vector<Process> processes;
  for (int i = 0; i < roles; ++i) processes.push_back(spawn(i));

  const auto look_for_hangs = [&](int except) {
    for (int i = 0; i < roles; ++i) {
      const std::int64_t since = ledger->workers[i].since_us;
      if (i != except && since != 0 && ledger->time_us - since > stretched(kHangs))
        ledger->complain("process %d has been at %s for %ld ms", i,
                         kDoing[static_cast<int>(ledger->workers[i].doing.load())],
                         (ledger->time_us - since) / 1000);
    }
  };
  std::int64_t looked_us = now_us();
  const auto jitter = [&](std::uint64_t below_us) {
    timespec time{0, static_cast<long>(random.below(below_us) * 1000)};
    ::nanosleep(&time, nullptr);
    const std::int64_t now = now_us();
    ledger->time_us += std::min(now - looked_us, kTick);
    looked_us = now;
  };
  const auto after_death = [&](int number) {
    Worker& dead = ledger->workers[number];
    if (dead.doing == Doing::pop) popped_by_killed += dead.batch;
    if (number == 6) ledger->clears_over = ledger->clears_begun.load();
    dead.doing = Doing::nothing;
    dead.since_us = 0;
  };
  for (std::uint64_t round = 0; round < rounds && ledger->complaints == 0; ++round) {
    ledger->round = round;
    jitter(16'000);
    int victim = static_cast<int>(random.below(static_cast<std::uint64_t>(roles)));
    for (int i = 0; i < roles; ++i) {
      Process& process = processes[static_cast<std::size_t>(i)];
      if (!process.ended()) continue;
      const int code = process.wait();
      EXPECT_TRUE(code == 0 && variant.churn) << "process " << i << " ended with " << code;
      after_death(i);
      process = spawn(i);
    }
    Process& process = processes[static_cast<std::size_t>(victim)];
    if (variant.stops && random.one_in(2)) {
      ++stops;
      process.stop();
      jitter(30'000);
      look_for_hangs(victim);
      if (random.one_in(2)) {
        ledger->workers[victim].since_us = 0;
        process.go_on();
        continue;
      }
    }
    process.kill();
    ++kills;
    after_death(victim);
    process = spawn(victim);
    look_for_hangs(-1);
  }
  ledger->stop = true;
  for (int i = 0; i < roles; ++i) {
    const int code = processes[static_cast<std::size_t>(i)].wait();
    if (code != 0)
      ledger->complain("process %d ended with %d, at %s", i, code,
                       kDoing[static_cast<int>(ledger->workers[i].doing.load())]);
    after_death(i);
    processes[static_cast<std::size_t>(i)].kill();
  }

  // The survivor takes what is left.
  Pond pond = test.open();
  Queue queue = pond.scope("scope").queue("work");
  must(pond.reap());
  EXPECT_TRUE(clean(pond));
  must(queue.configure({}));
  Role survivor(test, variant, *ledger, 7, seed);
  const auto deadline = Clock::now() + stretched(60s);
  std::uint64_t left = 0;
  for (;;) {
    const std::uint64_t before = ledger->clears_done;
    if (Result<Claim> claim = queue.claim()) {
      survivor.delivered(claim->payload(), &*claim, before);
      const std::uint64_t number = number_of(claim->payload());
      must(claim->ack());
      if (number < kMaxItems) survivor.acked(number);
      ++left;
      continue;
    }
    must(queue.redrive());
    const QueueStats stats = must(queue.stats());
    if (stats.ready + stats.claimed + stats.delayed + stats.dead == 0) break;
    if (Clock::now() > deadline) {
      ADD_FAILURE() << "cannot be drained: " << stats.ready << " ready, " << stats.claimed << " claimed, "
                    << stats.delayed << " delayed, " << stats.dead << " dead";
      break;
    }
  }

  // Every item that was pushed has been acked, or its acker was killed in the act, or cleared.
  const std::uint64_t items = ledger->items, last_clear = ledger->clears_begun;
  std::uint64_t acked = 0, missing = 0, unknown = 0;
  for (std::uint64_t i = 0; i < items; ++i) {
    const Ledger::Thing& item = ledger->item[i];
    const std::uint32_t flags = item.flags;
    acked += (flags & kAcked) != 0;
    if ((flags & (kPushed | kAcked)) != kPushed) continue;
    if (flags & kAcking) {
      ++unknown;
      continue;
    }
    if (variant.clears && item.pushing_epoch != last_clear) continue;
    if (++missing > popped_by_killed)
      ledger->complain("item %lu is lost, delivered %u times; %lu missing, %lu may be", i,
                       item.deliveries.load(), missing, popped_by_killed);
  }
  if (!variant.clears && unknown > kills)
    ledger->complain("%lu items whose acks were cut short by %lu kills", unknown, kills);

  // Every record whose append returned has been read.
  Log log = pond.scope("scope").log("log");
  for (;;) {
    Scan scan = log.scan({.after = static_cast<std::int64_t>(ledger->scanned.load())});
    std::uint64_t position = ledger->scanned;
    for (const Record& record : scan) {
      const std::uint64_t number = number_of(record.payload);
      ASSERT_LT(number, ledger->records.load());
      EXPECT_GT(record.seq, position);
      position = record.seq;
      ledger->record[number].flags.fetch_or(kSeen);
    }
    EXPECT_OK(scan.status());
    if (position == ledger->scanned) break;
    ledger->scanned = position;
  }
  const std::uint64_t records = std::min(ledger->records.load(), kMaxRecords);
  std::uint64_t appended = 0;
  for (std::uint64_t i = 0; i < records; ++i) {
    const std::uint32_t flags = ledger->record[i].flags;
    appended += (flags & kPushed) != 0;
    if ((flags & kPushed) && !(flags & kSeen))
      ledger->complain("record %lu with seq %lu was never read", i, ledger->record_seq[i].load());
  }

  // And nothing leaked.
  EXPECT_TRUE(clean(pond));
  must(log.clear());
  must(pond.reap());
  const Stats stats = must(pond.stats());
  EXPECT_EQ(stats.participants, 1u);
  EXPECT_LE(stats.page_bytes, std::min<std::uint64_t>(variant.limit_bytes / 4, 256 << 10))
      << "memory that did not come back";
  EXPECT_TRUE(clean(pond));
  std::printf(
      "  %-12s %4lu kills %3lu stops %7lu items (%lu acked, %lu refused, %lu fenced, %lu left) %6lu records, "
      "slowest %s %.1f ms\n",
      variant.name, kills, stops, items, acked, ledger->refused.load(), ledger->fenced.load(), left, appended,
      kDoing[static_cast<int>(ledger->slowest.load())], static_cast<double>(ledger->slowest_us) / 1000.0);
  EXPECT_GT(acked, 0u);
  EXPECT_LT(ledger->slowest_us, stretched(kHangs)) << kDoing[static_cast<int>(ledger->slowest.load())];
  for (std::uint32_t i = 0; i < std::min<std::uint32_t>(ledger->complaints, 4); ++i)
    ADD_FAILURE() << ledger->complaint[i];
}

INSTANTIATE_TEST_SUITE_P(
    Kills, Torture,
    ::testing::Values(Variant{.name = "Plain", .rounds = 200},
                      Variant{.name = "Priorities", .priorities = true},
                      Variant{.name = "Delays", .delays = true}, Variant{.name = "Leases", .leases = true},
                      Variant{.name = "Moves", .moves = true},
                      Variant{.name = "LargeValues", .largest = 20'000},
                      Variant{.name = "Clears", .clears = true},
                      Variant{.name = "Tiny", .rounds = 100, .limit_bytes = 1 << 20, .largest = 2000},
                      Variant{.name = "Churn", .churn = true}, Variant{.name = "Stops", .stops = true},
                      Variant{.name = "Maintenance", .maintenance = true},
                      Variant{.name = "Everything",
                              .rounds = 150,
                              .limit_bytes = 2 << 20,
                              .largest = 1000,
                              .priorities = true,
                              .delays = true,
                              .leases = true,
                              .moves = true,
                              .clears = true,
                              .churn = true,
                              .stops = true,
                              .maintenance = true}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
