// Looking at what waits, item by item and in both tiers, and putting items back as they were.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <thread>

#include "src/sys.h"
#include "support/test_pond.h"

namespace {

using namespace support;
using namespace std::chrono_literals;
using Where = WaitingItem::Where;
using Moment = std::chrono::system_clock::time_point;

Options small() {
  Options options;
  options.limit_bytes = 1 << 20, options.max_page_bytes = 4096;
  return options;
}

/// A copy of what a visitor saw.
struct Seen {
  Where where = Where::ready;
  ItemId id;
  int priority = 0;
  std::uint32_t attempts = 0, crashes = 0;
  std::string payload, reason;
  Moment at;
  Cause cause = Cause::buried;
  int pid = 0, signal = 0;

  explicit Seen(const WaitingItem& item)
      : where(item.where),
        id(item.id),
        priority(item.priority),
        attempts(item.attempts),
        crashes(item.crashes),
        payload(item.payload),
        reason(item.reason),
        at(item.at),
        cause(item.cause),
        pid(item.pid),
        signal(item.signal) {}
  WaitingItem view() const {
    return {where, id, priority, attempts, crashes, payload, at, cause, reason, pid, signal};
  }
};
using Sights = std::vector<Seen>;

Sights all_of(const Queue& queue) {
  Sights out;
  EXPECT_OK(queue.for_each_item([&](const WaitingItem& item) { return out.emplace_back(item), true; }));
  return out;
}
std::vector<std::string> payloads(const Sights& sights, Where where) {
  std::vector<std::string> out;
  for (const Seen& seen : sights)
    if (seen.where == where) out.push_back(seen.payload);
  return out;
}
Moment milliseconds_now() { return std::chrono::floor<milliseconds>(std::chrono::system_clock::now()); }

using Payloads = std::vector<std::string>;

TEST(Waiting, ReadyItemsComeByPriorityWithClaimedOnesAtTheirPlaces) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope().queue("work");
  must(queue.push("a"));
  must(queue.push("b"));
  must(queue.push("first", {.priority = 5}));
  Claim high = must(queue.claim()), low = must(queue.claim());
  std::vector<std::pair<std::string, Where>> seen;
  EXPECT_OK(queue.for_each_ready(
      [&](const WaitingItem& item) { return seen.emplace_back(item.payload, item.where), true; }));
  EXPECT_EQ(seen, (decltype(seen){{"first", Where::claimed}, {"a", Where::claimed}, {"b", Where::ready}}));
  EXPECT_OK(low.nack());
  EXPECT_EQ(payloads(all_of(queue), Where::ready), (Payloads{"a", "b"})) << "it keeps its place";
  EXPECT_OK(high.ack());
}

TEST(Waiting, DelayedAndDeadItemsTellTheirTimeAndWhatIsKnownOfThem) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope().queue("work");
  const Moment before = milliseconds_now();
  ItemId later = must(queue.push("later", {.delay = 1h, .priority = 3}));
  ItemId bad = must(queue.push("bad", {.priority = 2}));
  EXPECT_OK(must(queue.claim()).bury("no \0 reason"));
  Sights seen = all_of(queue);
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].where, Where::delayed);
  EXPECT_EQ(seen[0].id, later);
  EXPECT_EQ(seen[0].priority, 3);
  EXPECT_GE(seen[0].at, before + 1h - 1s) << "but for the steps of the coarse clock";
  EXPECT_LE(seen[0].at, milliseconds_now() + 1h);
  EXPECT_EQ(seen[1].where, Where::dead);
  EXPECT_EQ(seen[1].id, bad);
  EXPECT_EQ(seen[1].priority, 2);
  EXPECT_EQ(seen[1].attempts, 1u);
  EXPECT_EQ(seen[1].reason, "no ");
  EXPECT_EQ(seen[1].cause, Cause::buried);
  EXPECT_EQ(seen[1].pid, ::getpid());
}

TEST(Waiting, AWalkGoesOverBothTiersAndMakesNothingResident) {
  TestPond test(small());
  Pond pond = test.open();
  Queue queue = pond.scope().queue("work");
  constexpr std::uint64_t kItems = 40'000;
  for (std::uint64_t n = 1; n <= kItems; n++) must(queue.push(patterned(n, 100)));
  const QueueStats before = must(queue.stats());
  ASSERT_GT(before.spilled, kItems / 2);
  std::uint64_t next = 1;
  EXPECT_OK(queue.for_each_ready([&](const WaitingItem& item) {
    EXPECT_EQ(number_of(item.payload), next);
    return item.id.seq() == next++;
  }));
  EXPECT_EQ(next, kItems + 1);
  EXPECT_EQ(must(queue.stats()).spilled, before.spilled);
  EXPECT_EQ(must(queue.stats()).page_bytes, before.page_bytes);
  EXPECT_TRUE(clean(pond));
}

TEST(Waiting, AVisitorEndsTheWalk) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope().queue("work");
  for (int n = 0; n < 10; n++) must(queue.push("item"));
  must(queue.push("later", {.delay = 1h}));
  int seen = 0;
  EXPECT_OK(queue.for_each_ready([&](const WaitingItem&) { return ++seen < 4; }));
  EXPECT_EQ(seen, 4);
  seen = 0;
  EXPECT_OK(queue.for_each_item([&](const WaitingItem&) { return ++seen < 1; }));
  EXPECT_EQ(seen, 1);
}

TEST(Waiting, AQueueThatIsNotThereHasNothingAndIsNotMade) {
  TestPond test;
  Pond pond = test.open();
  EXPECT_TRUE(all_of(pond.scope("s").queue("none")).empty());
  EXPECT_TRUE(must(pond.scopes()).empty());
}

/// Runs the step in another thread while the walk stands on the first item of that place.
Sights all_with_a_step(const Queue& queue, Where where, const std::function<void()>& step) {
  Sights out;
  bool done = false;
  EXPECT_OK(queue.for_each_item([&](const WaitingItem& item) {
    out.emplace_back(item);
    if (!done && item.where == where) done = true, std::thread(step).join();
    return true;
  }));
  EXPECT_TRUE(done);
  return out;
}
std::size_t times(const Sights& sights, const std::string& payload) {
  return static_cast<std::size_t>(
      std::count_if(sights.begin(), sights.end(), [&](const Seen& seen) { return seen.payload == payload; }));
}

TEST(Waiting, WhatIsRetriedLaterBehindTheWalkIsSeenAll) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope().queue("work");
  must(queue.push("head", {.priority = 1}));
  for (int n = 0; n < 300; n++) must(queue.push("item " + std::to_string(n)));
  const Sights seen = all_with_a_step(queue, Where::ready, [&] {
    std::vector<Claim> claims = must(queue.claim_many(10));
    for (Claim& claim : claims) EXPECT_OK(claim.nack({.delay = 1h}));
  });
  for (int n = 0; n < 300; n++) EXPECT_EQ(times(seen, "item " + std::to_string(n)), 1u) << n;
  EXPECT_EQ(times(seen, "head"), 2u) << "it was seen, then moved";
}

TEST(Waiting, WhatIsDueOrBuriedOrRedrivenMeanwhileIsSeen) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope().queue("work");
  must(queue.push("soon", {.delay = 1h}));
  must(queue.push("to bury", {.priority = 1}));
  must(queue.push("dead", {.priority = 2}));
  EXPECT_OK(must(queue.claim()).bury("reason"));
  const Sights seen = all_with_a_step(queue, Where::delayed, [&] {
    EXPECT_OK(must(queue.claim()).bury("another"));
    internal::sys::wall_ahead_ms = 2 * 3'600'000;
    while (must(queue.size()) == 0) (void)queue.claim(10ms);
  });
  internal::sys::wall_ahead_ms = 0;
  EXPECT_GE(times(seen, "soon"), 1u);
  EXPECT_GE(times(seen, "to bury"), 1u);
  const Sights again = all_with_a_step(queue, Where::dead, [&] { must(queue.redrive()); });
  EXPECT_EQ(times(again, "dead"), 2u) << "it was seen, then moved";
  EXPECT_EQ(times(again, "to bury"), 1u);
}

TEST(Waiting, AWalkIsRightWhileOthersConsumeUnderIt) {
  TestPond test(small());
  Pond pond = test.open();
  Queue queue = pond.scope().queue("work");
  constexpr std::uint64_t kItems = 20'000;
  for (std::uint64_t n = 1; n <= kItems; n++) must(queue.push(patterned(n, 100)));
  std::uint64_t last = 0, stands = 0;
  EXPECT_OK(queue.for_each_ready([&](const WaitingItem& item) {
    const std::uint64_t number = number_of(item.payload);
    EXPECT_GT(number, last) << "in order, each once";
    last = number;
    // Pages before, under and behind the walk come in, are spent and are recycled.
    if (++stands % 1000 == 0) std::thread([&] { must(queue.pop_many(1500)); }).join();
    return true;
  }));
  EXPECT_EQ(last, kItems);
  EXPECT_TRUE(clean(pond));
}

// ------------------------------------------------------------------------------------------------------------------ restore

void restore(Queue queue, const Sights& sights, const AppendOptions& options = {}) {
  for (const Seen& seen : sights) {
    const WaitingItem item = seen.view();
    must(queue.restore_many({&item, 1}, options));
  }
}
void expect_alike(const Sights& a, const Sights& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); i++) {
    SCOPED_TRACE(i);
    EXPECT_EQ(a[i].where, b[i].where);
    EXPECT_EQ(a[i].priority, b[i].priority);
    EXPECT_EQ(a[i].attempts, b[i].attempts);
    EXPECT_EQ(a[i].crashes, b[i].crashes);
    EXPECT_EQ(a[i].payload, b[i].payload);
    EXPECT_EQ(a[i].reason, b[i].reason);
    EXPECT_EQ(a[i].at, b[i].at);
    EXPECT_EQ(a[i].cause, b[i].cause);
    EXPECT_EQ(a[i].pid, b[i].pid);
    EXPECT_EQ(a[i].signal, b[i].signal);
  }
}

TEST(Restore, ItemsComeBackAsTheyWere) {
  TestPond test;
  Pond pond = test.open();
  Queue from = pond.scope().queue("from"), to = pond.scope().queue("to");
  EXPECT_OK(from.configure({.max_attempts = 2}));
  must(from.push(std::string("spent\0\xff", 7), {.priority = 7}));
  for (int n = 0; n < 2; n++) EXPECT_OK(must(from.claim()).nack());
  must(from.push("buried"));
  EXPECT_OK(must(from.claim()).bury(std::string("bad\0bytes\xfe", 10)));
  must(from.push("tried"));
  EXPECT_OK(must(from.claim()).nack());
  must(from.push("", {.priority = 3}));
  must(from.push("large " + std::string(300'000, 'x')));
  must(from.push("retried later"));
  Claim claim = must(from.claim());
  EXPECT_EQ(claim.priority(), 3);
  EXPECT_OK(claim.nack({.delay = 1h}));
  must(from.push("large and delayed " + std::string(100'000, 'y'), {.delay = 2h}));
  const Sights before = all_of(from);
  ASSERT_EQ(before.size(), 7u);
  restore(to, before);
  expect_alike(before, all_of(to));
  EXPECT_TRUE(clean(pond));
}

TEST(Restore, AttemptsGoOnCounting) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope().queue("work");
  EXPECT_OK(queue.configure({.max_attempts = 3}));
  const WaitingItem item = {.attempts = 2, .crashes = 1, .payload = "tried twice"};
  must(queue.restore_many({&item, 1}));
  Claim claim = must(queue.claim());
  EXPECT_EQ(claim.attempts(), 3u);
  EXPECT_EQ(claim.crashes(), 1u);
  EXPECT_OK(claim.nack());
  EXPECT_ANSWER(empty, queue.claim());
  EXPECT_EQ(must(queue.dead()).at(0).cause, Cause::max_attempts);
}

TEST(Restore, WhatIsDueAlreadyIsReadyAtOnceAndWhatIsNotWaits) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope().queue("work");
  const WaitingItem items[] = {
      {.where = Where::delayed, .payload = "later", .at = milliseconds_now() + 1h},
      {.where = Where::delayed, .priority = 4, .payload = "due", .at = milliseconds_now() - 1h},
      {.where = Where::delayed, .payload = "long ago", .at = Moment() - 1h},
  };
  must(queue.restore_many(items));
  EXPECT_EQ(must(queue.pop(stretched(60s))), "due");
  EXPECT_EQ(must(queue.pop(stretched(60s))), "long ago");
  EXPECT_ANSWER(empty, queue.pop());
  EXPECT_EQ(must(queue.stats()).delayed, 1u);
}

TEST(Restore, DeadLettersAreHeldUpByNoLimitAndCanBeRedrivenAndCancelled) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope().queue("work");
  EXPECT_OK(queue.configure({.max_items = 1}));
  must(queue.push("fills it"));
  const WaitingItem items[] = {
      {.where = Where::dead, .priority = 6, .attempts = 9, .payload = "one", .reason = "why"},
      {.where = Where::dead, .payload = "two", .cause = Cause::max_attempts, .pid = 7, .signal = 9},
      {.where = Where::dead, .payload = "three"},
  };
  const ItemId first = must(queue.restore_many(items));
  EXPECT_EQ(first.lane(), 9);
  EXPECT_EQ(must(queue.dead()).at(1).signal, 9);
  EXPECT_OK(queue.cancel(ItemId{first.value + 2}));
  EXPECT_EQ(must(queue.redrive()), 2u);
  EXPECT_EQ(pop_all(queue), (Payloads{"one", "fills it", "two"}));
  EXPECT_TRUE(clean(pond));
}

TEST(Restore, AnItemKeepsItsNewIdWhereverItGoes) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope().queue("work");
  const WaitingItem item = {.where = Where::dead, .payload = "letter"};
  const ItemId id = must(queue.restore_many({&item, 1}));
  must(queue.restore_many({&item, 1}));
  must(queue.redrive());
  Claim claim = must(queue.claim());
  EXPECT_EQ(claim.id(), id);
  EXPECT_OK(claim.bury("again"));
  EXPECT_EQ(must(queue.dead()).at(0).id, id);
}

TEST(Restore, WhatIsOutOfRangeIsRefusedAndNothingHappens) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope().queue("work");
  const auto refused = [&](WaitingItem item) {
    const WaitingItem items[] = {{.where = item.where, .priority = item.priority, .payload = "good"}, item};
    return answers(Code::invalid, queue.restore_many(items));
  };
  EXPECT_TRUE(refused({.priority = 8}));
  EXPECT_TRUE(refused({.priority = -1}));
  EXPECT_TRUE(refused({.attempts = 65'536}));
  EXPECT_TRUE(refused({.crashes = 256}));
  EXPECT_TRUE(refused({.where = Where::dead, .signal = 70'000}));
  EXPECT_TRUE(refused({.where = Where::delayed, .at = milliseconds_now() + 24h * 366}));
  EXPECT_ANSWER(invalid, queue.restore_many({}));
  const WaitingItem mixed[] = {{.payload = "a"}, {.where = Where::dead, .payload = "b"}};
  EXPECT_ANSWER(invalid, queue.restore_many(mixed));
  const WaitingItem priorities[] = {{.payload = "a"}, {.priority = 1, .payload = "b"}};
  EXPECT_ANSWER(invalid, queue.restore_many(priorities));
  EXPECT_TRUE(all_of(queue).empty());
}

TEST(Restore, AFullQueueTakesAllOrNothing) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope().queue("work");
  EXPECT_OK(queue.configure({.max_items = 2}));
  const WaitingItem items[] = {{.payload = "a"}, {.payload = "b"}, {.payload = "c"}};
  EXPECT_ANSWER(full, queue.restore_many(items, {.full_timeout = 0ms}));
  EXPECT_EQ(must(queue.size()), 0u);
  must(queue.restore_many(std::span(items).first(2)));
}

TEST(Restore, DurableOnesComeBackAfterTheSegmentIsGone) {
  TestPond test;
  {
    Pond pond = test.open();
    Queue queue = pond.scope().queue("work");
    const WaitingItem dead = {.where = Where::dead, .priority = 5, .payload = "dead", .reason = "reason"},
                      ready = {.priority = 2, .attempts = 3, .payload = "ready"},
                      delayed = {
                          .where = Where::delayed, .payload = "delayed", .at = milliseconds_now() + 1h};
    for (const WaitingItem& item : {dead, ready, delayed})
      EXPECT_EQ(queue.restore_many({&item, 1}, {.durability = Durability::durable}).durability(),
                Durability::durable);
  }
  EXPECT_OK(Pond::remove(test.name(), {.keep_state = true}));
  Pond pond = test.open();
  const Sights back = all_of(pond.scope().queue("work"));
  ASSERT_EQ(back.size(), 3u);
  EXPECT_EQ(payloads(back, Where::delayed), Payloads{"delayed"});
  EXPECT_EQ(payloads(back, Where::ready), Payloads{"ready"});
  EXPECT_EQ(payloads(back, Where::dead), Payloads{"dead"});
  EXPECT_EQ(back[2].reason, "reason");
  EXPECT_TRUE(clean(pond));
}

// -------------------------------------------------------------------------------------------------------------------- names

TEST(Names, AScopeListsItsQueuesLogsAndLogsOfWhichThereIsButACursor) {
  TestPond test;
  Pond pond = test.open();
  const std::string odd("\0\xff scope", 8);
  Scope scope = pond.scope(odd);
  must(scope.queue("q").push("x"));
  must(scope.queue().push("x"));
  must(scope.log("ns", "key").append("x"));
  must(scope.log("ns", "key").commit("reader", 1));
  must(scope.log("only", "cursor").commit("reader", 0));
  must(pond.scope("another").log("l").append("x"));
  using Kind = StreamName::Kind;
  EXPECT_EQ(must(scope.streams()), (std::vector<StreamName>{{Kind::queue, "", ""},
                                                            {Kind::queue, "q", ""},
                                                            {Kind::log, "ns", "key"},
                                                            {Kind::log, "only", "cursor"}}));
  EXPECT_EQ(must(pond.scopes()), (std::vector<std::string>{odd, "another"}));
  must(scope.clear());
  EXPECT_TRUE(must(scope.streams()).empty());
  EXPECT_EQ(must(pond.scopes()), std::vector<std::string>{"another"});
}

TEST(Names, AScopeThatIsSetToSomethingIsListedWithoutStreams) {
  TestPond test;
  Pond pond = test.open();
  EXPECT_OK(pond.scope("limited").configure({.max_items = 5}));
  EXPECT_OK(pond.scope("durable").configure({.durability = Durability::posted}));
  EXPECT_OK(pond.scope("undone").configure({.max_bytes = 5}));
  EXPECT_OK(pond.scope("undone").configure({}));
  EXPECT_EQ(must(pond.scopes()), (std::vector<std::string>{"durable", "limited"}));
  must(pond.scope("limited").clear());
  EXPECT_EQ(must(pond.scopes()), (std::vector<std::string>{"durable", "limited"}));
}

TEST(Names, ALogListsItsCursors) {
  TestPond test;
  Pond pond = test.open();
  Log log = pond.scope().log("ns", "key");
  EXPECT_TRUE(must(log.cursors()).empty());
  for (int n = 0; n < 5; n++) must(log.append("record"));
  must(log.commit("late", 4));
  must(log.commit(std::string("\xff\0", 2), 2));
  must(log.commit("", 0));
  must(pond.scope().log("ns", "other").commit("elsewhere", 1));
  const std::vector<CursorPlace> cursors = must(log.cursors());
  ASSERT_EQ(cursors.size(), 3u);
  EXPECT_EQ(cursors[0].name, "");
  EXPECT_EQ(cursors[0].seq, 0u);
  EXPECT_EQ(cursors[1].name, "late");
  EXPECT_EQ(cursors[1].seq, 4u);
  EXPECT_EQ(cursors[2].name, std::string("\xff\0", 2));
  EXPECT_EQ(cursors[2].seq, 2u);
}

}  // namespace
