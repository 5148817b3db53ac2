// Durable operations of threads that are several participants of one pond, over a durable tier in memory: pushers, workers that ack and move,
// flushers and trims at once. At the end what the journal brings back is what is in the queue. Small enough for ThreadSanitizer.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <map>
#include <set>

#include "src/group_commit.h"
#include "src/journal_trim.h"
#include "src/settings.h"
#include "support/pond_threads.h"

namespace {

using namespace support;
using internal::JournalEntry;

constexpr int kPushers = 3, kWorkers = 2;
constexpr std::uint64_t kEach = 300, kLeft = 100;
constexpr Durability kDurable = Durability::durable;

Options small() {
  Options options;
  options.limit_bytes = 4 << 20, options.max_page_bytes = 2048;
  options.durable_timeout = stretched(milliseconds(60'000));
  return options;
}

class DurableThreads : public PondThreads {
 protected:
  DurableThreads() : PondThreads(small()) {}

  static void expect_durable(const Status& status) {
    EXPECT_OK(status);
    EXPECT_EQ(status.durability(), kDurable) << status.text();
  }
};

TEST_F(DurableThreads, TheJournalBringsBackWhatIsInTheQueue) {
  Queue queue = pond->scope("scope").queue("work");
  std::atomic<std::uint64_t> taken{0};
  std::atomic<int> pushing{kPushers};
  for (std::uint64_t pusher = 0; pusher < kPushers; pusher++)
    add([&, pusher] {
      for (std::uint64_t i = 0; i < kEach; i++) {
        auto id = queue.push(patterned(pusher * kEach + i, 16),
                             {.priority = static_cast<int>(i % 2), .durability = kDurable});
        expect_durable(id.status());
      }
      pushing--;
    });
  auto may_take = [&] {  // who may not leaves the count alone: another may give an item back after that
    for (std::uint64_t count = taken; count < kPushers * kEach - kLeft;)
      if (taken.compare_exchange_weak(count, count + 1)) return true;
    return false;
  };
  for (int worker = 0; worker < kWorkers; worker++)
    add([&] {
      while (may_take()) {
        auto claim = must(queue.claim(stretched(60s)));
        std::uint64_t number = number_of(claim.payload());
        if (number % 7 == 0 && claim.attempts() == 1) {
          must(claim.nack({.delay = milliseconds(1)}));
          taken--;
        } else if (number % 3 == 0) {
          must(claim.ack());
        } else {
          expect_durable(claim.ack({.durability = kDurable}));
        }
      }
    });
  add([&] {  // another participant, that trims
    auto joined = join();
    while (pushing > 0) {
      internal::CommitLock lock;
      must(lock.take(*joined->thread(), internal::durable_deadline(*joined)));
      std::uint64_t kept = 0;
      must(internal::trim_journal(*joined->thread(), *tier, kept, internal::sys::precise_us() + 20'000'000));
      lock.release();
      must(internal::flush_posts(*joined->thread(), internal::durable_deadline(*joined)));
    }
  });
  run();
  expect_durable(pond->flush());

  std::set<std::uint64_t> in_journal, in_queue;
  std::set<std::pair<std::uint64_t, std::uint64_t>> acked;
  auto rows = tier->journal();
  for (const auto& row : rows)
    for (const auto& owned : row)
      for (std::uint64_t seq = owned.entry.birth_seq;
           owned.entry.kind == JournalEntry::Kind::ack && seq <= owned.entry.birth_last; seq++)
        acked.insert({owned.entry.birth_stream, seq});
  for (const auto& row : rows)
    for (const auto& owned : row) {
      if (owned.entry.kind != JournalEntry::Kind::push) continue;
      if (acked.count({owned.entry.birth_stream, owned.entry.birth_seq})) continue;
      Bytes payload = owned.payload;
      if ((owned.entry.stream & 15) == internal::kDelayedLane)
        payload.remove_prefix(sizeof(internal::DelayedPrefix));
      in_journal.insert(number_of(payload));
    }
  while (in_queue.size() < kLeft) in_queue.insert(number_of(must(queue.pop(stretched(60s)))));
  EXPECT_EQ(in_journal, in_queue);
}

// Cursors that are committed and dropped, settings that change, streams that are cleared and dropped, all at once: at the end the tier has what the names have.
TEST_F(DurableThreads, SettingsAndCursorsAgreeInBothTiers) {
  attachment->segment().header().tier_store = 1;  // the tier is the pond's
  constexpr int kReaders = 3;
  Scope scope = pond->scope("scope");
  std::atomic<int> reading{kReaders};
  for (int reader = 0; reader < kReaders; reader++)
    add([&, reader] {
      const std::string name = "reader " + std::to_string(reader);
      for (std::uint64_t n = 1; n <= kEach; n++) {
        auto place = scope.log("audit").commit(name, n, n % 4 ? kDurable : Durability::memory);
        EXPECT_EQ(must(place), n);
        if (n % 4) expect_durable(place.status());
        if (n % 3 == 0) must(scope.log("audit").commit("shared", n, kDurable));
      }
      reading--;
    });
  add([&] {
    while (reading > 0) {
      Status dropped = scope.log("audit").drop_cursor("shared");
      EXPECT_TRUE(dropped.ok() || dropped.code() == Code::not_found) << dropped.text();
    }
  });
  for (int setter = 0; setter < 2; setter++)
    add([&] {
      for (std::uint32_t n = 1; reading > 0; n++) {
        expect_durable(scope.queue("work").configure({.max_attempts = n % 60'000 + 1}));
        expect_durable(n % 2 ? scope.queue("work").pause() : scope.queue("work").resume());
        expect_durable(pond->scope("dropped").queue("q").configure({.max_attempts = n % 60'000 + 1}));
        if (n % 5 == 0) must(scope.queue("work").clear());
      }
    });
  add([&] {
    auto joined = join();
    while (reading > 0) {
      must(pond->scope("dropped").clear());
      must(internal::save_unsaved(*joined->thread(), internal::durable_deadline(*joined),
                                  internal::NoTier::leave_it));
    }
  });
  run();
  EXPECT_TRUE(clean(*pond));
  expect_durable(pond->flush());
  EXPECT_TRUE(clean(*pond));
  std::map<std::string, std::string> found;
  for (const auto& setting : must(tier->settings(0))) found[setting.cursor] = *setting.value;
  for (int reader = 0; reader < kReaders; reader++) {
    std::uint64_t place = 0;
    std::memcpy(&place, found["reader " + std::to_string(reader)].data(), sizeof place);
    EXPECT_EQ(place, kEach);
  }
}

TEST_F(DurableThreads, EveryWaiterOfACommitIsToldByIt) {
  Log log = pond->scope("scope").log("audit");
  std::atomic<std::uint64_t> highest{0};
  for (int thread = 0; thread < 4; thread++)
    add([&] {
      for (std::uint64_t i = 0; i < kEach; i++) {
        auto seq = log.append("record", {.durability = kDurable});
        expect_durable(seq.status());
        for (std::uint64_t seen = highest; seen < *seq && !highest.compare_exchange_weak(seen, *seq);) {
        }
      }
    });
  run();
  EXPECT_EQ(highest, 4 * kEach);
  std::set<std::uint64_t> seqs;
  for (const auto& row : tier->journal())
    for (const auto& owned : row) seqs.insert(owned.entry.seq);
  EXPECT_EQ(seqs.size(), 4 * kEach);
}

}  // namespace
