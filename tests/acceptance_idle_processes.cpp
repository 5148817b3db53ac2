// Contract scenario 13, over real processes, in memory and over both tiers: what nobody uses goes, what is only popped from or read stays, and a
// writer who races gc loses nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <set>
#include <string>
#include <vector>

#include "src/attachment.h"
#include "src/tier_side.h"
#include "support/both_tiers.h"

namespace {

using namespace support;
using namespace std::chrono_literals;

std::uint64_t now() { return internal::sys::precise_us(); }
std::uint64_t us(milliseconds time) { return static_cast<std::uint64_t>(time / 1us); }

/// Streams of which the durable tier has a row.
std::size_t rows_of(const TestPond& test) {
  auto attachment = must(internal::Attachment::open(test.name(), test.options(), false));
  auto* tier = must(attachment->tier_side().tier(*attachment->thread()));
  return must(tier->streams_with_rows(now() + 1'000'000)).size();
}

class Idle : public BothTiers {};
IN_BOTH_TIERS(Idle);

TEST_P(Idle, AScopePastItsTimeGoesWithItsItemsItsMemoryAndItsRows) {
  constexpr std::uint64_t kScopes = 20, kItems = 100, kRecords = 50;
  Pond pond = test.open();
  Process writer([&] {
    Pond mine = test.open();
    for (std::uint64_t s = 0; s < kScopes; ++s) {
      Scope scope = mine.scope(std::to_string(s));
      for (std::uint64_t n = 1; n <= kItems; ++n)
        must(scope.queue("work").push(patterned(n, bytes(20, 8000))));
      for (std::uint64_t n = 1; n <= kRecords; ++n) must(scope.log("audit").append(patterned(n, 20)));
      must(scope.log("audit").commit("reader", 3));
    }
  });
  ASSERT_EQ(writer.wait(), 0);
  EXPECT_EQ(must(pond.scopes()).size(), kScopes);
  const GcOptions how{.spill_idle = 5ms, .drop_idle = 20ms};
  std::uint64_t dropped = 0, items = 0;
  ASSERT_TRUE(eventually([&] {
    auto done = pond.gc(how);
    if (done) dropped += done->dropped, items += done->dropped_items;
    return dropped >= 2 * kScopes;
  }));
  EXPECT_EQ(dropped, 2 * kScopes);
  EXPECT_EQ(items, kScopes * (kItems + kRecords));
  EXPECT_TRUE(must(pond.scopes()).empty());
  EXPECT_OK(pond.reap());
  Stats stats = must(pond.stats());
  EXPECT_EQ(stats.streams, 0u);
  EXPECT_EQ(stats.page_bytes, 0u);
  EXPECT_EQ(rows_of(test), 0u);
  // The name comes again with ids that nobody had.
  EXPECT_GT(must(pond.scope("7").queue("work").push("again")).seq(), kItems);
  EXPECT_EQ(must(pond.scope("7").log("audit").committed("reader")), 0u);
  EXPECT_TRUE(clean(pond));
}

TEST_P(Idle, OneThatIsOnlyPoppedFromOrReadStays) {
  const milliseconds limit = stretched(200ms);
  constexpr std::uint64_t kItems = 400, kRounds = 4;
  struct Seen {
    std::atomic<std::uint64_t> pause{0};  // us, the longest that somebody kept away
    std::atomic<bool> stop{false};
  };
  bool calm = false;
  // Where the machine kept a user from running for as long as the limit, it was idle indeed: once more.
  for (int tries = 0; tries < 5 && !calm; ++tries) {
    Shared<Seen> seen;
    Pond pond = test.open();
    const std::string suffix = std::to_string(tries);
    Queue queue = pond.scope("popped" + suffix).queue("work");
    Log log = pond.scope("read" + suffix).log("audit");
    std::uint64_t filled = 0;  // not later than the last use of both before that of their users
    for (std::uint64_t n = 1; n <= kItems; ++n) {
      filled = now();
      must(queue.push(patterned(n, bytes(20, 30'000))));
      must(log.append(patterned(n, bytes(20, 10'000))));
    }
    auto use = [&](auto&& work) {
      std::uint64_t last = filled;
      for (bool more = true; more; ::usleep(2000)) {
        more = !seen->stop;  // once more behind the end: so long it was away at last
        std::uint64_t begun = now();
        work();
        std::uint64_t away = now() - last;
        last = begun;
        for (std::uint64_t most = seen->pause;
             most < away && !seen->pause.compare_exchange_weak(most, away);) {
        }
      }
    };
    Process popper([&] {
      Queue mine = test.open().scope("popped" + suffix).queue("work");
      std::uint64_t last = 0;
      use([&] {  // when it is empty, that is looked at: use, too
        auto item = mine.pop();
        if (item.ok()) {
          EXPECT_EQ(number_of(*item), ++last);
        }
      });
      for (const std::string& item : pop_all(mine)) EXPECT_EQ(number_of(item), ++last);
      EXPECT_EQ(last, kItems);
    });
    Process reader([&] {
      Log mine = test.open().scope("read" + suffix).log("audit");
      use([&] { EXPECT_EQ(read_all(mine, {.after = kItems - 3}).size(), 3u); });
      EXPECT_EQ(read_all(mine).size(), kItems);
    });
    // Each control was idle for the limit when it went: so much time has passed.
    std::uint64_t dropped = 0;
    bool held_up = false;  // by somebody who did not run: then gc does not say what it has dropped
    for (std::uint64_t round = 0; round < kRounds && !held_up; ++round) {
      must(pond.scope("control" + suffix + std::to_string(round)).queue("work").push("idle"));
      ASSERT_TRUE(eventually([&] {
        auto done = pond.gc({.drop_idle = limit});
        held_up = done.code() == Code::timeout;
        if (!held_up) dropped += must(std::move(done)).dropped;
        return held_up || dropped > round;
      }));
    }
    seen->stop = true;
    int popped = popper.wait(), read = reader.wait();
    calm = !held_up && seen->pause < us(limit) / 2;
    if (!calm) continue;
    EXPECT_EQ(popped, 0);
    EXPECT_EQ(read, 0);
    EXPECT_EQ(dropped, kRounds) << "what was in use went, too";
    EXPECT_TRUE(clean(pond));
  }
  if (!calm) GTEST_SKIP() << "this machine never let both users run for " << limit.count() << " ms";
}

/// What one writer knows of a scope of its own, where it keeps some items waiting.
class OwnScope {
 private:
  /// In use at some time since `begun_`, and by the end of the work. Between them it may have been idle for long enough to be dropped, with all that
  /// waited then.
  template <class Work>
  auto used(Work work) {
    std::uint64_t begun = now();
    auto done = patiently(work);  // others are at work on what it wants: at the disk, for instance
    if (now() - begun_ > limit_us_ / 2) drops_.insert(waiting_.size());
    begun_ = begun;
    return done;
  }
  void forget(std::size_t first) {
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(first));
    drops_.clear();
  }

 public:
  /// `sure` counts the items of which it is known that they had to come.
  OwnScope(Queue queue, std::uint64_t limit_us, std::atomic<std::uint64_t>& sure)
      : queue_(std::move(queue)), limit_us_(limit_us), sure_(sure) {}

  void push(std::uint64_t number, std::size_t size) {
    auto id = used([&] { return queue_.push(patterned(number, size)); });
    must(id.status());
    if (id->seq() <= last_id_) throw std::runtime_error("an id came twice");
    last_id_ = id->seq();
    waiting_.push_back(number);
  }
  void pop() {
    auto item = used([&] { return queue_.pop(); });
    if (item.code() == Code::empty) {
      if (!drops_.count(waiting_.size())) throw std::runtime_error("items are gone that were in use");
      return forget(waiting_.size());
    }
    must(item.status());
    std::uint64_t number = number_of(*item);
    std::size_t gone = 0;
    while (gone < waiting_.size() && waiting_[gone] != number) ++gone;
    if (gone == waiting_.size() || (gone > 0 && !drops_.count(gone)))
      throw std::runtime_error("item " + std::to_string(number) + " came, and " +
                               std::to_string(waiting_.front()) + " was next");
    forget(gone + 1);
    sure_++;
  }
  std::size_t waiting() const { return waiting_.size(); }

 private:
  Queue queue_;
  const std::uint64_t limit_us_;
  std::atomic<std::uint64_t>& sure_;
  std::deque<std::uint64_t> waiting_;
  std::set<std::size_t> drops_;  // so many of the first ones waiting may be gone, all of them
  std::uint64_t begun_ = now(), last_id_ = 0;
};

TEST_P(Idle, AWriterThatRacesGcLosesNothing) {
  WITH_SEED(seed);
  constexpr std::uint64_t kWriters = 4, kScopes = 12, kBacklog = 20, kDrops = 40;
  const milliseconds limit = stretched(40ms);
  struct Count {
    std::atomic<std::uint64_t> sure{0};
    std::atomic<bool> stop{false};
  };
  Shared<Count> count;
  Pond pond = test.open();
  std::vector<Process> writers;
  for (std::uint64_t w = 0; w < kWriters; ++w)
    writers.emplace_back([&, w] {
      Random random(seed + w);
      Pond mine = test.open();
      std::vector<OwnScope> scopes;
      for (std::uint64_t s = 0; s < kScopes; ++s)
        scopes.emplace_back(mine.scope(std::to_string(w) + "/" + std::to_string(s)).queue("work"), us(limit),
                            count->sure);
      for (std::uint64_t n = 1; !count->stop; ++n) {
        // Some are busy; the others rest until they are to go, and perhaps are about to.
        OwnScope& scope = scopes[random.one_in(50) ? random.below(kScopes) : random.below(2)];
        scope.push(n, bytes(40, 9000));
        while (scope.waiting() > random.below(kBacklog)) scope.pop();
        if (random.one_in(200)) ::usleep(static_cast<useconds_t>(random.below(us(limit) * 2)));
      }
      for (OwnScope& scope : scopes)
        while (scope.waiting()) scope.pop();
    });
  std::uint64_t dropped = 0, parked = 0;
  EXPECT_TRUE(eventually(
      [&] {
        auto done = pond.gc({.spill_idle = 2ms, .drop_idle = limit});
        EXPECT_TRUE(done.ok() || done.code() == Code::timeout) << describe(done.status());
        if (done) dropped += done->dropped, parked += done->parked;
        return dropped > kDrops && parked > kDrops && count->sure > 1000;
      },
      120s));
  count->stop = true;
  expect_all_end_well(writers);
  EXPECT_TRUE(clean(pond));
}

}  // namespace
