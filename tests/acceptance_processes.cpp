// Limits, files, reboots and faults as the processes of a pond see them, each with the number of the contract's scenario. The others:
// acceptance_buffering_processes.cpp and acceptance_queue_processes.cpp.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "support/both_tiers.h"
#include "support/foreign.h"

namespace {

using namespace headpond;
using namespace support;

using Strings = std::vector<std::string>;

void expect_all_end_well(std::vector<Process>& processes) {
  for (std::size_t i = 0; i < processes.size(); ++i) EXPECT_EQ(processes[i].wait(), 0) << "process " << i;
}

// contract scenario 11
class HotTier : public BothTiers {
 protected:
  static constexpr std::uint64_t kLarge = 50, kItems = 100'050;
  /// Pushes from the first item that nobody is known to have pushed on; says before and after each.
  Process pusher(std::atomic<std::uint64_t>& begun, std::atomic<std::uint64_t>& pushed) {
    return Process([&] {
      Queue queue = test.queue();
      while (begun < kItems) {
        const std::uint64_t number = begun++;
        must(queue.push(patterned(number, number < kLarge ? 1 << 20 : 20)));
        pushed = number + 1;
      }
    });
  }
  /// All that were pushed, in order, each once; of those in doubt perhaps.
  void expect_all(const std::vector<std::uint64_t>& in_doubt) const {
    std::vector<std::uint64_t> expected, found = pop_numbers(test.queue());
    for (std::uint64_t number = 0; number < kItems; ++number) {
      bool doubtful = std::find(in_doubt.begin(), in_doubt.end(), number) != in_doubt.end();
      if (!doubtful || std::binary_search(found.begin(), found.end(), number)) expected.push_back(number);
    }
    EXPECT_TRUE(found == expected) << found.size() << " items, not " << expected.size()
                                   << ", or out of order";
  }
};
IN_BOTH_TIERS(HotTier);

TEST_P(HotTier, KeepsFiftyLargeAndAHundredThousandSmallItemsInOrder) {
  Pond pond = test.open();
  Shared<std::array<std::atomic<std::uint64_t>, 2>> count;
  Process pushing = pusher((*count)[0], (*count)[1]);
  EXPECT_EQ(pushing.wait(), 0);
  EXPECT_EQ(must(test.queue().size()), kItems);
  QueueStats stats = must(test.queue().stats());
  if (spills()) {
    EXPECT_GT(stats.spilled, kLarge / 2);
    EXPECT_LE(must(pond.stats()).page_bytes, 8u << 20);
  } else {
    EXPECT_EQ(stats.spilled, 0u);
  }
  expect_all({});
  EXPECT_TRUE(clean(pond));
}

TEST_P(HotTier, LosesNothingWhenThePusherIsKilledAtAnyMoment) {
  WITH_SEED(seed);
  Random random(seed);
  Pond pond = test.open();
  Shared<std::array<std::atomic<std::uint64_t>, 2>> count;
  auto &begun = (*count)[0], &pushed = (*count)[1];
  std::vector<std::uint64_t> in_doubt;
  for (int kill = 0; kill < 40 && begun < kItems; ++kill) {
    Process victim = pusher(begun, pushed);
    const std::uint64_t from = pushed;
    ASSERT_TRUE(eventually([&] { return pushed > from || begun >= kItems; }));
    timespec time{
        0, static_cast<long>(random.below(4'000'000))};  // most of them spill then, if the pond is small
    ::nanosleep(&time, nullptr);
    victim.kill();
    for (std::uint64_t number = pushed; number < begun; ++number) in_doubt.push_back(number);
    pushed = begun.load();
  }
  EXPECT_EQ(pusher(begun, pushed).wait(), 0);  // the rest, if any
  must(pond.reap());
  expect_all(in_doubt);
  EXPECT_TRUE(clean(pond));
}

TEST(Acceptance, EightMiBTakesWhatItTakesSaysFullAndKeepsAllOfIt) {
  TestPond test({.limit_bytes = 8 << 20, .on_full = OnFull::fail});
  Queue queue = test.queue();
  std::uint64_t pushed = 0;
  Process pusher([&] {
    Queue mine = test.queue();
    std::uint64_t number = 0;
    for (int i = 0; i < 50; ++i) {
      const Result<ItemId> id = mine.push(patterned(number, 1 << 20));
      if (!id) {
        EXPECT_ANSWER(full, id);
        break;
      }
      ++number;
    }
    EXPECT_GE(number, 4u);
    EXPECT_LE(number, 8u);
    for (int i = 0; i < 100'000; ++i) {
      const Result<ItemId> id = mine.push(patterned(number, 20));
      if (!id) {
        EXPECT_ANSWER(full, id);
        break;
      }
      ++number;
    }
  });
  EXPECT_EQ(pusher.wait(), 0);
  pushed = must(queue.stats()).pushed;
  const Strings items = pop_all(queue);
  EXPECT_EQ(items.size(), pushed);
  for (std::uint64_t i = 0; i < items.size(); ++i) ASSERT_EQ(number_of(items[i]), i);
  EXPECT_OK(queue.push(patterned(0, 1 << 20))) << "there is room again";
  EXPECT_TRUE(clean(test));
}

// contract scenario 14
class Reboot : public BothTiers {
 protected:
  /// A process that opens the pond, does that and is killed with the segment.
  template <class Body>
  void last_life(Body body) const {
    test.in_a_life([&](const Pond&) { body(); });
    test.lose_segment();
  }
};
IN_BOTH_TIERS(Reboot);

// What the documentation promises: what is durable, and what lies in the durable tier. The rest of what was in memory is gone.
TEST_P(Reboot, BringsBackWhatIsDurableOrSpilledAndExactlyThat) {
  constexpr std::uint64_t kItems = 2000;
  Shared<std::atomic<std::uint64_t>> spilled;
  last_life([&] {
    Queue queue = test.queue(), kept = test.queue("kept");
    for (std::uint64_t n = 0; n < kItems; ++n) must(queue.push(patterned(n, bytes(100, 20'000))));
    for (std::uint64_t n = 0; n < 100; ++n)
      EXPECT_EQ(must(kept.push(patterned(n, 100), {.durability = Durability::durable})).value, n + 1);
    for (std::uint64_t n = 0; n < 30; ++n) {
      Claim claim = must(kept.claim());
      EXPECT_OK(claim.ack({.durability = Durability::durable}));
    }
    *spilled = must(queue.stats()).spilled;
  });
  Process next([&] {
    Pond pond = test.open();
    EXPECT_EQ(pond.recovered().epoch, 2u);
    EXPECT_TRUE(clean(pond));
    const Strings items = pop_all(test.queue()), kept = pop_all(test.queue("kept"));
    EXPECT_EQ(items.size(), spilled->load());
    for (std::uint64_t i = 1; i < items.size(); ++i)
      ASSERT_EQ(number_of(items[i]), number_of(items[0]) + i) << "one gap, in order";
    ASSERT_EQ(kept.size(), 70u);
    for (std::uint64_t i = 0; i < 70; ++i) EXPECT_EQ(number_of(kept[i]), 30 + i);
    EXPECT_GT(must(test.queue().push("new")).seq(), 1ULL << 40) << "ids are not used again";
    EXPECT_TRUE(clean(pond));
  });
  EXPECT_EQ(next.wait(), 0);
  if (spills()) {
    EXPECT_GT(spilled->load(), kItems / 2);
  } else {
    EXPECT_EQ(spilled->load(), 0u);
  }
}

TEST_P(Reboot, TakesWhatWasInMemoryAlone) {
  last_life([&] { must(test.queue().push("in memory only")); });
  EXPECT_ANSWER(not_found, Pond::open_existing(test.name()));
  Process other([&] {
    Queue queue = test.queue();
    EXPECT_ANSWER(empty, queue.claim());
    EXPECT_OK(queue.push("new"));
  });
  EXPECT_EQ(other.wait(), 0);
  EXPECT_TRUE(clean(test));
}

TEST_P(Reboot, AForeignSegmentInThePondsPlaceIsAClearErrorAndTheTierIsKept) {
  constexpr std::uint64_t kItems = 100;
  last_life([&] {
    for (std::uint64_t n = 0; n < kItems; ++n)
      must(test.queue().push(patterned(n, 100), {.durability = Durability::durable}));
  });
  std::ofstream(test.segment_path(), std::ios::binary) << std::string(64 << 10, 'x');
  ASSERT_EQ(::chmod(test.segment_path().c_str(), 0600), 0);
  Process refused([&] {
    const auto result = Pond::open(test.name(), test.options());
    EXPECT_ANSWER(corruption, result);
    EXPECT_NE(result.status().text().find(test.segment_path()), std::string::npos) << result.status().text();
  });
  EXPECT_EQ(refused.wait(), 0);
  test.lose_segment();
  EXPECT_EQ(pop_all(test.queue()).size(), kItems);
}

// contract scenario 14; a foreign version: bad_segment_test.cpp
TEST(Acceptance, ADamagedSegmentIsAClearErrorForEveryProcess) {
  TestPond test;
  must(test.queue().push("x"));
  const auto size = std::filesystem::file_size(test.segment_path());
  std::filesystem::resize_file(test.segment_path(), size / 2);
  for (int i = 0; i < 3; ++i) {
    Process opener([&] {
      const auto result = Pond::open(test.name());
      EXPECT_ANSWER(corruption, result);
      EXPECT_NE(result.status().text().find(test.segment_path()), std::string::npos)
          << result.status().text();
    });
    EXPECT_EQ(opener.wait(), 0);
  }
  EXPECT_OK(Pond::remove(test.name()));
}

// contract scenario 15; each fault of SQLite: tier_faults_processes.cpp; folders and segments of others: bad_segment_test.cpp
class FailedBatch : public BothTiers {};
IN_BOTH_TIERS(FailedBatch);

TEST_P(FailedBatch, LeavesNoPartOfItAndNoHeldLock) {
  Options options = test.options();
  options.full_timeout = milliseconds(0);
  if (!spills()) options.on_full = OnFull::fail, options.limit_bytes = 16 << 20;
  Pond pond = must(Pond::open(test.name(), options));
  Queue queue = pond.scope("scope").queue("work");
  Log log = pond.scope("scope").log("log");
  for (std::uint64_t n = 0; n < 900; ++n) must(queue.push(patterned(n, bytes(8000, 20'000))));
  Strings texts;
  for (std::uint64_t n = 0; n < 10; ++n) texts.push_back(patterned(n, 100'000));
  const std::vector<Bytes> batch(texts.begin(), texts.end());
  std::optional<Foreign> other;
  if (spills()) other.emplace(test.folder() / "spill.db"), other->run("BEGIN IMMEDIATE");
  const Code expected = spills() ? Code::timeout : Code::full;
  std::uint64_t items = 900, records = 0;
  Status refused;
  for (int i = 0; i < 40 && refused; ++i)
    if (refused = queue.push_many(batch).status(); refused) items += batch.size();
  EXPECT_TRUE(answers(expected, refused));
  refused = {};
  for (int i = 0; i < 40 && refused; ++i)
    if (refused = log.append_many(batch).status(); refused) records += batch.size();
  EXPECT_TRUE(answers(expected, refused));
  EXPECT_EQ(must(queue.size()), items);
  EXPECT_EQ(must(log.stats()).records, records);
  Process elsewhere([&] {  // nothing is held that another would need
    EXPECT_EQ(number_of(must(test.queue().pop())), 0u);
    must(test.queue("small").push("x"));
    EXPECT_EQ(shown(test.queue("small").pop()), "x");
  });
  EXPECT_EQ(elsewhere.wait(), 0);
  if (other) other->run("ROLLBACK");
  other.reset();
  if (spills()) {
    EXPECT_OK(queue.push_many(batch));
  }
  EXPECT_EQ(pop_all(queue).size(), items - 1 + bytes(0, batch.size()));
  EXPECT_TRUE(clean(pond));
}

TEST_P(FailedBatch, FilesAreTheOwnersAlone) {
  Pond pond = test.open();
  must(test.queue().push("x", {.durability = Durability::durable}));
  auto mode = [](const std::filesystem::path& path) {
    struct stat info {};
    EXPECT_EQ(::lstat(path.c_str(), &info), 0) << path;
    return info.st_mode;
  };
  EXPECT_EQ(mode(test.segment_path()), S_IFREG | 0600u);
  EXPECT_EQ(mode(test.folder()), S_IFDIR | 0700u);
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(test.folder())) {
    EXPECT_EQ(mode(entry.path()), S_IFREG | 0600u) << entry.path();
    ++files;
  }
  EXPECT_GE(files, 5u);
}

TEST(Acceptance, ManyProcessesThatOpenAtOnceGetTheSamePond) {
  constexpr std::uint32_t kProcesses = 16;
  TestPond test;
  Shared<Barrier> start;
  std::vector<Process> openers;
  for (std::uint32_t i = 0; i < kProcesses; ++i) {
    openers.emplace_back([&, i] {
      start->meet(kProcesses);
      must(test.queue().push(std::to_string(i)));
    });
  }
  expect_all_end_well(openers);
  EXPECT_EQ(pop_all(test.queue()).size(), kProcesses);
  EXPECT_EQ(shared_memory_names(test.name()).size(), 1u);
  EXPECT_TRUE(clean(test));
}

TEST(Acceptance, OpeningAndRemovingMayRace) {
  WITH_SEED(seed);
  TestPond test({.limit_bytes = 1 << 20});
  std::vector<Process> processes;
  for (std::uint64_t p = 0; p < 4; ++p) {
    processes.emplace_back([&, p] {
      Random random(seed + p);
      for (int i = 0; i < 100; ++i) {
        if (random.one_in(3)) {
          const Status status = patiently([&] { return Pond::remove(test.name()); });
          EXPECT_TRUE(status == Code::ok || status == Code::not_found) << describe(status);
          continue;
        }
        const Result<Pond> pond = patiently([&] { return Pond::open(test.name(), test.options()); });
        if (!pond) {
          EXPECT_ANSWER(busy, pond);
          continue;
        }
        const Result<ItemId> id = pond->scope().queue().push("x");
        EXPECT_TRUE(id.code() == Code::ok || id.code() == Code::removed) << describe(id.status());
        const Result<std::string> item = pond->scope().queue().pop();
        EXPECT_TRUE(item.code() == Code::ok || item.code() == Code::empty || item.code() == Code::removed)
            << describe(item.status());
      }
    });
  }
  expect_all_end_well(processes);
  (void)Pond::remove(test.name());
  EXPECT_TRUE(shared_memory_names(test.name()).empty());
}

TEST(Acceptance, AClearInOneProcessHoldsInEveryOther) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope("a").queue("q");
  Log log = pond.scope("a").log("l");
  Queue other = pond.scope("").queue("q");
  must(queue.push("x"));
  must(log.append("x"));
  must(other.push("stays"));
  Process clearer([&] {
    EXPECT_EQ(must(test.open().scope("a").clear()), 2u);
    EXPECT_EQ(must(test.open().scope("a").clear()), 0u);
  });
  EXPECT_EQ(clearer.wait(), 0);
  EXPECT_ANSWER(empty, queue.claim());
  EXPECT_TRUE(read_all(log).empty());
  EXPECT_EQ(must(queue.push("new")).value, 2u);
  EXPECT_EQ(must(log.append("new")), 2u);
  EXPECT_EQ(shown(other.pop()), "stays");
  EXPECT_TRUE(clean(pond));
}

}  // namespace
