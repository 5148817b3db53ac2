// Figures of what is on disk: of each stream, and of the durable tier as a whole.
#include <gtest/gtest.h>

#include <filesystem>

#include "support/test_pond.h"

namespace {

using namespace support;

Options small() {
  Options options;
  options.limit_bytes = 1 << 20, options.max_page_bytes = 4096;
  return options;
}
constexpr std::uint64_t kItems = 30'000, kBytes = 100;

TEST(Figures, APondInMemoryAloneOpensNoDurableTierForThem) {
  TestPond test;
  Pond pond = test.open();
  must(pond.scope().queue("work").push("item"));
  const Stats stats = must(pond.stats());
  EXPECT_FALSE(stats.durable.used);
  EXPECT_EQ(stats.durable.file_bytes, 0u);
  EXPECT_OK(stats.durable.trouble);
  EXPECT_FALSE(std::filesystem::exists(test.folder() / "spill.db"));
}

TEST(Figures, AStreamTellsWhatIsSpilledAndInHowManyGaps) {
  TestPond test(small());
  Pond pond = test.open();
  Queue queue = pond.scope().queue("work");
  Log log = pond.scope().log("audit");
  for (std::uint64_t n = 1; n <= kItems; n++) {
    must(queue.push(patterned(n, kBytes)));
    must(log.append(patterned(n, kBytes)));
  }
  const QueueStats q = must(queue.stats());
  EXPECT_EQ(q.ready, kItems);
  EXPECT_GT(q.spilled, kItems / 2);
  EXPECT_LT(q.spilled, kItems);
  EXPECT_EQ(q.spilled_bytes, q.spilled * kBytes);
  EXPECT_EQ(q.payload_bytes, kItems * kBytes);
  EXPECT_GE(q.gaps, 1u);
  const LogStats l = must(log.stats());
  EXPECT_GT(l.spilled, kItems / 2);
  EXPECT_EQ(l.spilled_bytes, l.spilled * kBytes);
  EXPECT_GE(l.gaps, 1u);
  pop_all(queue);
  EXPECT_EQ(must(queue.stats()).spilled_bytes, 0u);
  EXPECT_EQ(must(queue.stats()).gaps, 0u);
}

TEST(Figures, ThePondTellsTheSizesOfItsFilesAndWhatIsFreeInThem) {
  TestPond test(small());
  Pond pond = test.open();
  Queue queue = pond.scope().queue("work");
  for (std::uint64_t n = 1; n <= kItems; n++) must(queue.push(patterned(n, kBytes)));
  const DurableStats full = must(pond.stats()).durable;
  EXPECT_TRUE(full.used);
  EXPECT_GE(full.file_bytes, must(queue.stats()).spilled_bytes);
  EXPECT_LE(full.wal_bytes, full.file_bytes);
  EXPECT_OK(full.trouble);
  pop_all(queue);
  must(pond.reap());  // rows that can go, go
  const DurableStats empty = must(pond.stats()).durable;
  EXPECT_GT(empty.free_bytes, full.free_bytes + (1 << 20));
  EXPECT_LE(empty.free_bytes, empty.file_bytes);
}

TEST(Figures, ThePondTellsItsGroupCommits) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope().queue("work");
  for (int n = 0; n < 3; n++) must(queue.push("item", {.durability = Durability::durable}));
  const DurableStats before = must(pond.stats()).durable;
  EXPECT_GE(before.commits, 3u);
  EXPECT_GT(before.commit_time.count(), 0);
  EXPECT_EQ(before.last_commit, 1u);
  EXPECT_EQ(before.waiting, 0u);
  for (int n = 0; n < 5; n++) must(queue.push("item", {.durability = Durability::posted}));
  EXPECT_EQ(must(pond.stats()).durable.waiting, 5u);
  EXPECT_OK(pond.flush());
  const DurableStats after = must(pond.stats()).durable;
  EXPECT_EQ(after.waiting, 0u);
  EXPECT_EQ(after.commits, before.commits + 1);
  EXPECT_EQ(after.last_commit, 5u);
}

}  // namespace
