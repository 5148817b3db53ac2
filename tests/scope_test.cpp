// A scope owns queues, logs and cursors, and is cleared as one.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/test_pond.h"

namespace {

using namespace headpond;
using namespace support;

using Strings = std::vector<std::string>;

class ScopeTest : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_TRUE(clean(pond_)); }
  /// Seven things: four items, three records.
  void fill(Bytes name) {
    Scope scope = pond_.scope(name);
    must(scope.queue().push("default queue"));
    must(scope.queue("q").push("ready"));
    must(scope.queue("q").push("urgent", {.priority = 7}));
    must(scope.queue("q").push("delayed", {.delay = 1h}));
    must(scope.log("l").append("record"));
    must(scope.log("l", "k").append("record"));
    must(scope.log("").append("record"));
    must(scope.log("l").commit("cursor", 1));
  }
  bool full(Bytes name) {
    Scope scope = pond_.scope(name);
    return must(scope.queue().size()) == 1 && must(scope.queue("q").size()) == 2 &&
           must(scope.queue("q").stats()).delayed == 1 && read_all(scope.log("l")).size() == 1 &&
           read_all(scope.log("l", "k")).size() == 1 && read_all(scope.log("")).size() == 1 &&
           must(scope.log("l").committed("cursor")) == 1;
  }
  bool empty(Bytes name) {
    Scope scope = pond_.scope(name);
    return must(scope.queue().size()) == 0 && must(scope.queue("q").size()) == 0 &&
           must(scope.queue("q").stats()).delayed == 0 && read_all(scope.log("l")).empty() &&
           read_all(scope.log("l", "k")).empty() && read_all(scope.log("")).empty() &&
           must(scope.log("l").committed("cursor")) == 0;
  }

  TestPond test_;
  Pond pond_ = test_.open();
};

TEST_F(ScopeTest, ClearDropsEverythingOfTheScopeAndNothingElse) {
  const std::string zero("\0", 1);
  const Strings names = {"", "a", "ab", zero, "a" + zero, "b", std::string(2000, 'a')};
  for (const std::string& name : names) fill(name);
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(must(pond_.scope(names[i]).clear()), 7u);
    EXPECT_TRUE(empty(names[i]));
    for (std::size_t j = i + 1; j < names.size(); ++j)
      ASSERT_TRUE(full(names[j])) << "clear of scope " << i << " touched scope " << j;
  }
}

TEST_F(ScopeTest, ClearOfTheEmptyNameClearsTheScopeOfThatNameOnly) {
  fill("");
  fill("a");
  fill("b");
  EXPECT_EQ(must(pond_.scope("").clear()), 7u);
  EXPECT_TRUE(empty(""));
  EXPECT_TRUE(full("a"));
  EXPECT_TRUE(full("b"));
}

TEST_F(ScopeTest, ClearMayBeRepeated) {
  EXPECT_EQ(must(pond_.scope("never used").clear()), 0u);
  for (int round = 0; round < 20; ++round) {
    fill("a");
    EXPECT_TRUE(full("a"));
    EXPECT_EQ(must(pond_.scope("a").clear()), 7u);
    EXPECT_EQ(must(pond_.scope("a").clear()), 0u);
    EXPECT_TRUE(empty("a"));
  }
}

TEST_F(ScopeTest, IdsAreNotUsedAgainAfterClear) {
  Scope scope = pond_.scope("a");
  Queue queue = scope.queue("q");
  Log log = scope.log("l");
  std::uint64_t id = 0, seq = 0;
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < 3; ++i) {
      const std::uint64_t next_id = must(queue.push("x")).value, next_seq = must(log.append("x"));
      ASSERT_GT(next_id, id);
      ASSERT_GT(next_seq, seq);
      id = next_id, seq = next_seq;
    }
    ASSERT_EQ(must(scope.clear()), 6u);
  }
}

TEST_F(ScopeTest, HandlesStayGoodAfterClear) {
  Scope scope = pond_.scope("a");
  Queue queue = scope.queue("q");
  Log log = scope.log("l");
  must(queue.push("old"));
  must(log.append("old"));
  must(pond_.scope("a").clear());
  must(queue.push("new"));
  const std::uint64_t seq = must(log.append("new"));
  EXPECT_EQ(pop_all(pond_.scope("a").queue("q")), (Strings{"new"}));
  EXPECT_EQ(read_all(pond_.scope("a").log("l")),
            (std::vector<std::pair<std::uint64_t, std::string>>{{seq, "new"}}));
  EXPECT_EQ(read_all(log), read_all(pond_.scope("a").log("l")));
}

TEST_F(ScopeTest, ClaimsOfAClearedScopeAreFenced) {
  Scope scope = pond_.scope("a");
  must(scope.queue().push("x"));
  Claim claim = must(scope.queue().claim());
  EXPECT_EQ(must(scope.clear()), 1u);
  EXPECT_EQ(claim.payload(), "x");
  EXPECT_ANSWER(fenced, claim.ack());
}

TEST_F(ScopeTest, AFollowerOfAClearedScopeGoesOn) {
  Scope scope = pond_.scope("a");
  Follower follower = scope.log("l").follow();
  must(scope.log("l").append("old"));
  EXPECT_EQ(must(follower.next(0ms)).payload, "old");
  must(scope.clear());
  must(scope.log("l").append("new"));
  EXPECT_EQ(must(follower.next(stretched(60s))).payload, "new");
}

TEST_F(ScopeTest, ClearGivesTheMemoryBack) {
  const std::uint64_t before = must(pond_.stats()).page_bytes;
  for (int i = 0; i < 2000; ++i) {
    must(pond_.scope("a").queue(std::to_string(i % 10)).push(patterned(i, 1000)));
    must(pond_.scope("a").log(std::to_string(i % 10)).append(patterned(i, 1000)));
  }
  EXPECT_GE(must(pond_.stats()).page_bytes, 4'000'000u);
  EXPECT_EQ(must(pond_.scope("a").clear()), 4000u);
  EXPECT_OK(pond_.reap());
  EXPECT_LE(must(pond_.stats()).page_bytes, before + (256u << 10));
}

TEST_F(ScopeTest, TenThousandSmallScopesAreCheap) {
  constexpr int kScopes = 10'000;
  for (int i = 0; i < kScopes; ++i) must(pond_.scope("scope " + std::to_string(i)).queue().push("x"));
  const Stats stats = must(pond_.stats());
  EXPECT_EQ(stats.streams, static_cast<std::uint64_t>(kScopes));
  EXPECT_LE(stats.page_bytes, 32u << 20);
  for (int i = 0; i < kScopes; i += 7)
    EXPECT_EQ(shown(pond_.scope("scope " + std::to_string(i)).queue().pop()), "x");
  for (int i = 0; i < kScopes; ++i)
    ASSERT_EQ(must(pond_.scope("scope " + std::to_string(i)).clear()), i % 7 == 0 ? 0u : 1u);
}

TEST_F(ScopeTest, AScopesLimitIsTheSumOverItsQueues) {
  Scope scope = pond_.scope("a");
  EXPECT_OK(scope.configure({.max_items = 3}));
  must(scope.queue("1").push("x"));
  must(scope.queue("2").push("x"));
  must(scope.queue("1").push("x"));
  EXPECT_ANSWER(full, scope.queue("1").push("x"));
  EXPECT_ANSWER(full, scope.queue("2").push("x"));
  EXPECT_ANSWER(full, scope.queue("3").push("x"));
  EXPECT_OK(pond_.scope("b").queue("1").push("x")) << "other scopes have their own";
  must(scope.queue("2").pop());
  EXPECT_OK(scope.queue("3").push("x"));
  EXPECT_ANSWER(full, scope.queue("2").push("x"));
  EXPECT_OK(scope.configure({}));
  EXPECT_OK(scope.queue("2").push("x"));
}

TEST_F(ScopeTest, AScopesByteLimitIsTheSumOverItsQueues) {
  Scope scope = pond_.scope("a");
  EXPECT_OK(scope.configure({.max_bytes = 100}));
  must(scope.queue("1").push(std::string(60, 'x')));
  EXPECT_ANSWER(full, scope.queue("2").push(std::string(41, 'x')));
  EXPECT_OK(scope.queue("2").push(std::string(40, 'x')));
  EXPECT_ANSWER(full, scope.queue("1").push("x"));
}

}  // namespace
