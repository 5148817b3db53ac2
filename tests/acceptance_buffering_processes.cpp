// Table buffering over real processes, in memory and over both tiers: workers process batches, one combines, others finalize. The numbers are
// those of the contract's scenarios.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <numeric>
#include <string>
#include <vector>

#include "support/both_tiers.h"

namespace {

using namespace support;

class Buffering : public BothTiers {
 protected:
  static Log log_of(const Pond& pond, Bytes ns, Bytes key = {}) {
    return pond.scope("execution").log(ns, key);
  }
  static Queue queue_of(const Pond& pond, Bytes name) { return pond.scope("execution").queue(name); }

  /// The numbers of a log's records, one at a time as finalize reads them.
  static std::vector<std::uint64_t> numbers_in(const Log& log, std::int64_t after = 0) {
    std::vector<std::uint64_t> numbers;
    for (;;) {
      Scan scan = log.scan({.after = after, .limit = 1});
      if (!scan.next()) {
        EXPECT_OK(scan.status());
        return numbers;
      }
      const auto seq = static_cast<std::int64_t>(scan.record().seq);
      EXPECT_GT(seq, after);
      after = seq;
      numbers.push_back(number_of(scan.record().payload));
    }
  }
};
IN_BOTH_TIERS(Buffering);

// contract scenario 1
TEST_P(Buffering, FourWorkersAppendAndAnotherReplaysThemOneByOne) {
  constexpr std::uint64_t kWorkers = 4, kEach = 500, kBytes = 64 << 10;
  Pond pond = test.open();
  std::vector<Process> workers;
  for (std::uint64_t w = 0; w < kWorkers; ++w)
    workers.emplace_back([&, w] {
      Log log = log_of(test.open(), "batches");
      std::uint64_t last = 0;
      for (std::uint64_t i = 0; i < kEach; ++i) {
        const std::uint64_t seq = must(log.append(patterned(w * kEach + i, kBytes)));
        EXPECT_GT(seq, last);
        last = seq;
      }
    });
  expect_all_end_well(workers);
  expect_spilled(log_of(pond, "batches"));
  for (const std::int64_t start : {0, -1}) {
    Process reader([&, start] {
      std::vector<std::uint64_t> next(kWorkers, 0),
          numbers = numbers_in(log_of(test.open(), "batches"), start);
      ASSERT_EQ(numbers.size(), kWorkers * kEach);
      for (const std::uint64_t number : numbers) {
        ASSERT_LT(number, kWorkers * kEach) << "intact";
        ASSERT_EQ(next[number / kEach]++, number % kEach) << "each worker's are in its order";
      }
    });
    EXPECT_EQ(reader.wait(), 0);
  }
  EXPECT_TRUE(clean(pond));
}

// contract scenario 2
TEST_P(Buffering, AReaderThatRacesLargeAppendsSeesNoTornValueAndSkipsNone) {
  constexpr std::uint64_t kWriters = 2, kEach = 60;
  Pond pond = test.open();
  Shared<Event> done;
  std::vector<Process> processes;
  for (std::uint64_t w = 0; w < kWriters; ++w)
    processes.emplace_back([&, w] {
      Log log = log_of(test.open(), "batches");
      for (std::uint64_t i = 0; i < kEach; ++i) {
        must(log.append(patterned(w * kEach + i, (1 << 20) + i)));
        if (i % 3 == 0) must(log.append(patterned(1'000'000 + w * kEach + i, 100)));
      }
      done->raise();
    });
  for (int reader = 0; reader < 2; ++reader)
    processes.emplace_back([&, reader] {
      Log log = log_of(test.open(), "batches");
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
  expect_all_end_well(processes);
  expect_spilled(log_of(pond, "batches"));
  EXPECT_TRUE(clean(pond));
}

// contract scenario 3
TEST_P(Buffering, AGlobalSortGivesTheInputsExactOrder) {
  constexpr std::uint64_t kWorkers = 4, kBatches = 2000;
  Pond pond = test.open();
  WITH_SEED(seed);
  std::vector<std::uint64_t> order(kBatches);  // in which the batches come to the workers
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937_64(seed));
  std::vector<Process> workers;
  for (std::uint64_t w = 0; w < kWorkers; ++w)
    workers.emplace_back([&, w] {
      Log staged = log_of(test.open(), "staged");
      for (std::uint64_t i = w; i < kBatches; i += kWorkers)
        must(staged.append(patterned(order[i], bytes(200, 16'000) + order[i] % 100)));
    });
  expect_all_end_well(workers);
  expect_spilled(log_of(pond, "staged"));
  Process combine([&] {
    Pond mine = test.open();
    Log staged = log_of(mine, "staged"), sorted = log_of(mine, "sorted");
    std::vector<std::pair<std::uint64_t, std::uint64_t>> index;  // batch, seq
    for (const Record& record : staged.scan()) index.emplace_back(number_of(record.payload), record.seq);
    std::sort(index.begin(), index.end());
    for (const auto& [batch, seq] : index) {
      Scan scan = staged.scan({.after = static_cast<std::int64_t>(seq) - 1, .limit = 1});
      ASSERT_TRUE(scan.next()) << describe(scan.status());
      must(sorted.append(scan.record().payload));
    }
    must(staged.clear());
  });
  EXPECT_EQ(combine.wait(), 0);
  Process finalize([&] {
    const std::vector<std::uint64_t> numbers = numbers_in(log_of(test.open(), "sorted"));
    ASSERT_EQ(numbers.size(), kBatches);
    for (std::uint64_t i = 0; i < kBatches; ++i) ASSERT_EQ(numbers[i], i);
  });
  EXPECT_EQ(finalize.wait(), 0);
  expect_spilled(log_of(pond, "sorted"));
  EXPECT_TRUE(clean(pond));
}

// contract scenario 5
TEST_P(Buffering, ShuffledAndRepeatedStatesBecomeSixteenPartsEachDrainedOnceInOrder) {
  constexpr std::uint64_t kStates = 48, kEach = 25, kParts = 16;
  Pond pond = test.open();
  WITH_SEED(seed);
  std::vector<Process> workers;
  for (std::uint64_t w = 0; w < 4; ++w)
    workers.emplace_back([&, w] {
      Pond mine = test.open();
      for (std::uint64_t state = w; state < kStates; state += 4) {
        Log buffer = log_of(mine, "state", std::to_string(state));
        for (std::uint64_t i = 0; i < kEach; ++i)
          must(buffer.append(patterned(state * kEach + i, bytes(300, 20'000))));
      }
    });
  expect_all_end_well(workers);
  if (spills()) {
    EXPECT_GT(must(log_of(pond, "state", "0").stats()).spilled, 0u);
  }

  std::vector<std::uint64_t> ids;  // each state once, some again, in any order
  for (std::uint64_t state = 0; state < kStates; ++state) ids.insert(ids.end(), 1 + state % 3, state);
  std::shuffle(ids.begin(), ids.end(), std::mt19937_64(seed));
  Process combine([&] {
    Pond mine = test.open();
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    for (const std::uint64_t state : ids) {
      Log buffer = log_of(mine, "state", std::to_string(state));
      Scan scan = buffer.scan();
      for (const Record& record : scan)
        must(queue_of(mine, "part " + std::to_string(state % kParts)).push(record.payload));
      EXPECT_OK(scan.status());
      EXPECT_EQ(must(buffer.clear()), kEach);
    }
    for (std::uint64_t part = 0; part < kParts; ++part)
      must(queue_of(mine, "parts").push(std::to_string(part)));
  });
  EXPECT_EQ(combine.wait(), 0);

  Shared<std::array<std::atomic<std::uint32_t>, kStates * kEach>> drained;
  std::vector<Process> producers;
  for (int p = 0; p < 4; ++p)
    producers.emplace_back([&] {
      Pond mine = test.open();
      while (Result<std::string> part = patiently([&] { return queue_of(mine, "parts").pop(); })) {
        std::uint64_t last = 0;
        for (Queue queue = queue_of(mine, "part " + *part);;) {
          Result<std::string> item = patiently([&] { return queue.pop(); });  // others are at the disk, too
          if (!item) {
            ASSERT_ANSWER(empty, item);
            break;
          }
          const std::uint64_t number = number_of(*item);
          ASSERT_LT(number, kStates * kEach);
          ASSERT_EQ(std::to_string(number / kEach % kParts), *part);
          ASSERT_TRUE(last == 0 || number > last) << "order is kept";
          last = number;
          (*drained)[number].fetch_add(1);
        }
      }
    });
  expect_all_end_well(producers);
  for (std::uint64_t i = 0; i < kStates * kEach; ++i) ASSERT_EQ((*drained)[i].load(), 1u) << "item " << i;
  EXPECT_EQ(must(pond.scope("execution").clear()), 0u) << "everything of the execution is gone";
  EXPECT_TRUE(clean(pond));
}

// contract scenario 8
TEST_P(Buffering, AWorkerKilledBetweenProcessAndFinalizeLosesNoAppendThatReturned) {
  constexpr std::uint64_t kWorkers = 3, kEach = 400;
  Pond pond = test.open();
  Shared<std::array<std::atomic<std::uint64_t>, kWorkers>> returned;
  Shared<Event> progress;
  std::vector<Process> workers;
  for (std::uint64_t w = 0; w < kWorkers; ++w)
    workers.emplace_back([&, w] {
      Log log = log_of(test.open(), "state");
      for (std::uint64_t i = 0; w == 0 || i < kEach; ++i) {
        must(log.append(patterned(w * 1'000'000 + i, 8 + (i * 977) % bytes(20'000, 60'000))));
        (*returned)[w] = i + 1;
        if (i == kEach) progress->raise();
      }
    });
  ASSERT_TRUE(progress->wait(1, 60s));
  workers[0].kill();
  workers.erase(workers.begin());
  expect_all_end_well(workers);
  expect_spilled(log_of(pond, "state"));
  Process combine([&] {
    Pond mine = test.open();
    std::vector<std::uint64_t> next(kWorkers, 0);
    Log sorted = log_of(mine, "sorted");
    Scan scan = log_of(mine, "state").scan();
    for (const Record& record : scan) {
      const std::uint64_t number = number_of(record.payload);
      ASSERT_NE(number, UINT64_MAX);
      ASSERT_EQ(next[number / 1'000'000]++, number % 1'000'000);
      must(sorted.append(record.payload));
    }
    EXPECT_OK(scan.status());
    EXPECT_GE(next[0], (*returned)[0].load());
    EXPECT_LE(next[0], (*returned)[0].load() + 1) << "at most the one whose append had not returned";
    EXPECT_EQ(next[1], kEach);
    EXPECT_EQ(next[2], kEach);
  });
  EXPECT_EQ(combine.wait(), 0);
  Process finalize([&] {
    EXPECT_GE(numbers_in(log_of(test.open(), "sorted")).size(), (*returned)[0].load() + 2 * kEach);
  });
  EXPECT_EQ(finalize.wait(), 0);
  EXPECT_TRUE(clean(pond));
}

}  // namespace
