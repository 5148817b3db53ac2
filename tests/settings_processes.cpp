// What queues and scopes are set to, and where the readers of logs are, after the segment is lost: as it was said to be durable, or as it was saved at
// last; never a place that nobody committed, never what was dropped.
#include <gmock/gmock.h>

#include <algorithm>

#include "src/layout.h"
#include "support/deadly_disk.h"
#include "support/foreign.h"
#include "support/test_pond.h"
#include "support/test_tier.h"

namespace {

using namespace support;
using testing::HasSubstr;

constexpr Durability kMemory = Durability::memory, kPosted = Durability::posted,
                     kDurable = Durability::durable;

Options small() {
  Options options;
  options.limit_bytes = 1 << 20, options.max_page_bytes = 4096;
  options.durable_timeout = stretched(milliseconds(60'000));
  return options;
}

class SavedSettings : public ::testing::Test {
 protected:
  /// A process that does that and is killed.
  template <class Body>
  void in_a_life(Body body) const {
    pond.in_a_life([&](const Pond& opened) {
      body(opened);
      EXPECT_TRUE(clean(opened));
    });
  }
  /// A life, and the next one behind a reboot.
  template <class Body>
  Pond after(Body body) {
    in_a_life(body);
    pond.lose_segment();
    return reopened();
  }
  Pond reopened() const {
    Pond opened = pond.open();
    EXPECT_TRUE(clean(opened));
    return opened;
  }
  static void make_tier(const Pond& opened) {
    must(opened.scope("else").queue("where").push("on disk", {.durability = kDurable}));
  }
  /// Whatever is idle is parked, until that stream is.
  static void park(const Pond& opened, Bytes scope, Bytes name) {
    EXPECT_TRUE(eventually([&] {
      must(opened.gc({.spill_idle = milliseconds(1)}));
      return info_of(opened, name, scope).parked;
    }));
  }
  static Log audit(const Pond& opened) { return opened.scope("scope").log("audit"); }
  static Queue work(const Pond& opened) { return opened.scope("scope").queue("work"); }
  static std::uint64_t place(const Pond& opened, Bytes cursor = "reader") {
    return must(audit(opened).committed(cursor));
  }
  /// Rows of settings and cursors on disk, seen by another program.
  int rows(const std::string& where = "1") const {
    return Foreign(pond.folder() / "journal.db").number("SELECT count(*) FROM setting WHERE " + where);
  }

  TestPond pond{small()};
};

void expect_durable(const Status& answer) {
  EXPECT_OK(answer);
  EXPECT_EQ(answer.durability(), kDurable) << answer.text();
  EXPECT_EQ(answer.cause(), Code::ok);
}

// ---------------------------------------------------------------------------------------------------------------- settings

const QueueOptions kLimits{
    .lease = milliseconds(5000), .max_attempts = 3, .max_items = 100, .max_bytes = 100'000};

void expect_limits(const Queue& queue) {
  QueueOptions found = must(queue.options());
  EXPECT_EQ(found.lease, kLimits.lease);
  EXPECT_EQ(found.max_attempts, kLimits.max_attempts);
  EXPECT_EQ(found.max_items, kLimits.max_items);
  EXPECT_EQ(found.max_bytes, kLimits.max_bytes);
}

TEST_F(SavedSettings, OfAQueueAreOnDiskWhenTheCallReturns) {
  Pond opened = after([&](const Pond& first) {
    make_tier(first);
    must(work(first).push("waits", {.durability = kDurable}));
    expect_durable(work(first).configure(kLimits));
    expect_durable(work(first).pause());
  });
  EXPECT_EQ(opened.recovered().settings, 1u);
  expect_limits(work(opened));
  EXPECT_ANSWER(paused, work(opened).pop());
  EXPECT_OK(work(opened).resume());
  EXPECT_EQ(must(work(opened).pop()), "waits");
  std::vector<Claim> held;
  for (int i = 0; i < 100; i++) must(work(opened).push("x"));
  EXPECT_ANSWER(full, work(opened).push("one too many", {.full_timeout = milliseconds(0)}));
}

TEST_F(SavedSettings, OfAQueueWithoutItemsComeBackAndItsIdsGoOn) {
  Pond opened = after([&](const Pond& first) {
    make_tier(first);
    EXPECT_OK(work(first).configure(kLimits));
    EXPECT_ANSWER(ok, work(first).drain(milliseconds(0)));
  });
  expect_limits(work(opened));
  EXPECT_TRUE(must(work(opened).stats()).draining);
  EXPECT_ANSWER(draining, work(opened).push("no"));
  EXPECT_OK(work(opened).resume());
  EXPECT_EQ(must(work(opened).push("yes")).seq(), (2ULL << 40) + 1);
  EXPECT_EQ(must(work(opened).pop()), "yes");
}

TEST_F(SavedSettings, AreThoseOfTheLastCall) {
  Pond opened = after([&](const Pond& first) {
    make_tier(first);
    for (const char* name : {"paused", "resumed", "changed"}) {
      Queue queue = first.scope("scope").queue(name);
      EXPECT_OK(queue.pause());
      if (name[0] != 'p') {
        EXPECT_OK(queue.resume());
      }
      QueueOptions more = kLimits;
      if (name[0] != 'c') continue;
      more.max_attempts = 9;
      EXPECT_OK(queue.configure(kLimits));
      EXPECT_OK(queue.configure(more));
    }
  });
  EXPECT_EQ(opened.recovered().settings, 2u);
  EXPECT_TRUE(must(opened.scope("scope").queue("paused").stats()).paused);
  EXPECT_FALSE(must(opened.scope("scope").queue("resumed").stats()).paused);
  EXPECT_EQ(must(opened.scope("scope").queue("changed").options()).max_attempts, 9u);
}

// Defaults are of who creates the pond: a queue that was never configured has those of the next one.
TEST_F(SavedSettings, OfAQueueThatWasOnlyPausedLeaveItTheDefaults) {
  in_a_life([&](const Pond& first) {
    make_tier(first);
    EXPECT_OK(work(first).pause());
  });
  pond.lose_segment();
  Options other = pond.options();
  other.queue.max_attempts = 7;
  Pond opened = must(Pond::open(pond.name(), other));
  EXPECT_EQ(must(work(opened).options()).max_attempts, 7u);
  EXPECT_TRUE(must(work(opened).stats()).paused);
}

TEST_F(SavedSettings, OfAScopeComeBackWithOrWithoutStreams) {
  Pond opened = after([&](const Pond& first) {
    make_tier(first);
    expect_durable(
        first.scope("empty").configure({.max_items = 3, .max_bytes = 1000, .durability = kDurable}));
    EXPECT_OK(first.scope("scope").configure({.max_items = 2, .durability = kPosted}));
    EXPECT_OK(first.scope("undone").configure({.max_items = 2}));
    EXPECT_OK(first.scope("undone").configure({}));
    must(work(first).push("waits", {.durability = kDurable}));
  });
  EXPECT_EQ(opened.recovered().settings, 2u);
  ScopeOptions empty = must(opened.scope("empty").options()), scope = must(opened.scope("scope").options());
  EXPECT_EQ(empty.max_items, 3u);
  EXPECT_EQ(empty.max_bytes, 1000u);
  EXPECT_EQ(empty.durability, kDurable);
  EXPECT_EQ(scope.max_items, 2u);
  EXPECT_EQ(scope.durability, kPosted);
  EXPECT_EQ(must(opened.scope("undone").options()).max_items, 0u);
  must(work(opened).push("second"));
  EXPECT_ANSWER(full, work(opened).push("third", {.full_timeout = milliseconds(0)}));
  expect_durable(opened.scope("empty").queue("q").push("x").status());
}

TEST_F(SavedSettings, OfAPondWithoutADurableTierMakeNone) {
  Pond opened = after([&](const Pond& first) {
    Status paused = work(first).pause();
    EXPECT_OK(paused);
    EXPECT_EQ(paused.durability(), kMemory);
    EXPECT_OK(first.scope("scope").configure({.max_items = 2}));
    must(audit(first).commit("reader", 7));
    EXPECT_FALSE(std::filesystem::exists(pond.folder() / "journal.db"));
  });
  EXPECT_FALSE(must(work(opened).stats()).paused);
  EXPECT_EQ(opened.recovered().epoch, 0u);
}

// Each way in which a pond gets its durable tier takes the settings along that it had before.
TEST_F(SavedSettings, FollowATierThatComesLater) {
  const std::function<void(const Pond&)> ways[] = {
      [](const Pond& first) { make_tier(first); },
      [](const Pond& first) {
        must(first.scope("else").queue("large").push(std::string(30'000, 'x'), {.durability = kDurable}));
      },
      [](const Pond& first) {
        for (int i = 0; i < 3000; i++) must(first.scope("else").queue("big").push(std::string(500, 'x')));
      },
      [](const Pond& first) {
        must(first.scope("else").queue("idle").push("x"));
        park(first, "else", "idle");
      },
      [](const Pond& first) { EXPECT_OK(first.flush()); },
  };
  for (const auto& way : ways) {
    {
      Pond opened = after([&](const Pond& first) {
        EXPECT_OK(work(first).configure(kLimits));
        EXPECT_OK(first.scope("limited").configure({.max_items = 5}));
        must(audit(first).commit("reader", 7));
        way(first);
      });
      EXPECT_EQ(opened.recovered().settings, 2u) << "way " << &way - ways;
      expect_limits(work(opened));
      EXPECT_EQ(must(opened.scope("limited").options()).max_items, 5u);
      EXPECT_EQ(place(opened), 7u);
    }
    EXPECT_OK(Pond::remove(pond.name()));
  }
}

TEST_F(SavedSettings, OfParkedAndClearedQueuesStay) {
  Pond opened = after([&](const Pond& first) {
    for (const char* name : {"parked", "cleared"}) {
      must(first.scope("scope").queue(name).push("x", {.durability = kDurable}));
      EXPECT_OK(first.scope("scope").queue(name).configure(kLimits));
    }
    must(first.scope("scope").queue("cleared").clear());
    for (const char* name : {"parked", "cleared"}) park(first, "scope", name);
    must(first.scope("scope").queue("cleared").clear());
  });
  expect_limits(opened.scope("scope").queue("parked"));
  expect_limits(opened.scope("scope").queue("cleared"));
  EXPECT_EQ(pop_all(opened.scope("scope").queue("parked")), std::vector<std::string>{"x"});
  EXPECT_EQ(must(opened.scope("scope").queue("cleared").size()), 0u);
}

TEST_F(SavedSettings, OfADroppedScopeGoButForItsLimits) {
  Pond opened = after([&](const Pond& first) {
    make_tier(first);
    EXPECT_OK(first.scope("scope").configure({.max_items = 50}));
    for (const char* name : {"empty", "hot", "parked"}) {
      Queue queue = first.scope("scope").queue(name);
      EXPECT_OK(queue.configure(kLimits));
      EXPECT_OK(queue.pause());
      if (name[0] != 'e') must(queue.push("x"));
      if (name[0] == 'p') park(first, "scope", name);
    }
    must(audit(first).append("x"));
    must(audit(first).commit("reader", 1, kDurable));
    EXPECT_EQ(rows("scope = x'73636f7065'"), 5);
    must(first.scope("scope").clear());
    EXPECT_EQ(rows("scope = x'73636f7065'"), 1);
    must(first.scope("scope").queue("hot").push("of another life", {.durability = kDurable}));
  });
  EXPECT_EQ(must(opened.scope("scope").options()).max_items, 50u);
  EXPECT_EQ(must(opened.scope("scope").queue("hot").options()).max_attempts, 0u);
  EXPECT_EQ(must(opened.scope("scope").queue("hot").pop()), "of another life");
  EXPECT_EQ(must(audit(opened).cursors()).size(), 0u);
}

TEST_F(SavedSettings, OfWhatGcDropsGo) {
  Pond opened = after([&](const Pond& first) {
    make_tier(first);
    EXPECT_OK(work(first).configure(kLimits));
    must(audit(first).append("x"));
    must(audit(first).commit("reader", 1, kDurable));
    must(first.scope("scope").log("kept").commit("alone", 5, kDurable));
    EXPECT_TRUE(eventually([&] {
      must(first.gc({.drop_idle = milliseconds(1)}));
      return must(first.scope("scope").streams()).empty();
    }));
    EXPECT_EQ(rows(), 0);
  });
  EXPECT_EQ(opened.recovered().settings + opened.recovered().cursors, 0u);
}

// ---------------------------------------------------------------------------------------------------------------- cursors

TEST_F(SavedSettings, ADurableCommitOfACursorSurvives) {
  Pond opened = after([&](const Pond& first) {
    for (int i = 0; i < 10; i++) must(audit(first).append("x", {.durability = kDurable}));
    auto committed = audit(first).commit("reader", 4, kDurable);
    EXPECT_EQ(must(committed), 4u);
    expect_durable(committed.status());
    expect_durable(audit(first).commit("reader", 3, kDurable).status());
    expect_durable(audit(first).commit("at the beginning", 0, kDurable).status());
  });
  EXPECT_EQ(opened.recovered().cursors, 2u);
  EXPECT_EQ(place(opened), 4u);
  EXPECT_EQ(must(audit(opened).cursors()).size(), 2u);
  EXPECT_EQ(must(audit(opened).trim_committed()), 1u);  // the one at the beginning holds it
  EXPECT_EQ(read_all(audit(opened), {.after = 4}).size(), 6u);
}

TEST_F(SavedSettings, TheScopesDefaultIsThatOfCursors) {
  Pond opened = after([&](const Pond& first) {
    EXPECT_OK(first.scope("scope").configure({.durability = kDurable}));
    expect_durable(audit(first).commit("reader", 4).status());
    EXPECT_OK(first.scope("scope").configure({.durability = kPosted}));
    must(audit(first).commit("posted", 5));
    EXPECT_EQ(audit(first).commit("posted", 5, kMemory).status().durability(), kMemory);
    EXPECT_OK(first.flush());
  });
  EXPECT_EQ(place(opened), 4u);
  EXPECT_EQ(place(opened, "posted"), 5u);
}

// In memory alone: back to where it was saved at last, and no further.
TEST_F(SavedSettings, ACommitInMemoryIsAsFarAsItWasSaved) {
  const std::function<void(const Pond&)> savers[] = {
      [](const Pond&) {},
      [](const Pond& first) { EXPECT_OK(first.flush()); },
      [](const Pond& first) { must(first.gc({.spill_idle = std::chrono::hours(1)})); },
  };
  for (const auto& saver : savers) {
    Pond opened = after([&](const Pond& first) {
      make_tier(first);
      must(audit(first).commit("reader", 4, kDurable));
      auto committed = audit(first).commit("reader", 9);
      EXPECT_EQ(must(committed), 9u);
      EXPECT_EQ(committed.status().durability(), kMemory);
      must(audit(first).commit("other", 6));
      saver(first);
    });
    const bool saved = &saver != savers;
    EXPECT_EQ(place(opened), saved ? 9u : 4u) << &saver - savers;
    EXPECT_EQ(place(opened, "other"), saved ? 6u : 0u) << &saver - savers;
    must(opened.scope("scope").clear());
  }
}

TEST_F(SavedSettings, AProcessThatEndsInOrderSavesItsCursors) {
  in_a_life([&](const Pond& first) { make_tier(first); });
  Process reader([&] { must(audit(pond.open()).commit("reader", 9)); });
  ASSERT_EQ(reader.wait(), 0);
  pond.lose_segment();
  EXPECT_EQ(place(reopened()), 9u);
}

TEST_F(SavedSettings, AMaintenanceThreadSavesCursorsOfOthers) {
  Shared<Event> committed, saved;
  {
    Process reader([&] {
      Pond opened = pond.open();
      make_tier(opened);
      must(audit(opened).commit("reader", 9));
      committed->raise();
      pause_forever();
    });
    ASSERT_TRUE(committed->wait());
    Process maintainer([&] {
      Options options = pond.options();
      options.maintenance = true;
      Pond opened = must(Pond::open(pond.name(), options));
      EXPECT_TRUE(eventually([&] { return rows() == 1; }));
      saved->raise();
      pause_forever();
    });
    ASSERT_TRUE(saved->wait());
    reader.kill(), maintainer.kill();
  }
  pond.lose_segment();
  EXPECT_EQ(place(reopened()), 9u);
}

// What its committer, killed, has not said anybody saves who reaps it, and looks.
TEST_F(SavedSettings, WhatADeadProcessCommittedIsSavedByOthers) {
  in_a_life([&](const Pond& first) {
    make_tier(first);
    must(audit(first).commit("reader", 9));
  });
  in_a_life([&](const Pond& second) { EXPECT_OK(second.flush()); });
  pond.lose_segment();
  EXPECT_EQ(place(reopened()), 9u);
}

TEST_F(SavedSettings, ADroppedCursorDoesNotComeBack) {
  Pond opened = after([&](const Pond& first) {
    must(audit(first).commit("dropped", 100, kDurable));
    must(audit(first).commit("again", 100, kDurable));
    must(audit(first).commit("posted", 100, kPosted));
    for (const char* name : {"dropped", "again", "posted"}) EXPECT_OK(audit(first).drop_cursor(name));
    EXPECT_ANSWER(not_found, audit(first).drop_cursor("dropped"));
    must(audit(first).commit("again", 5));  // in memory
    EXPECT_EQ(place(first, "again"), 5u);
  });
  EXPECT_EQ(must(audit(opened).cursors()).size(), 0u);
}

TEST_F(SavedSettings, AClearOfTheLogLeavesItsCursors) {
  Pond opened = after([&](const Pond& first) {
    for (int i = 0; i < 10; i++) must(audit(first).append("x", {.durability = kDurable}));
    must(audit(first).commit("reader", 4, kDurable));
    must(audit(first).clear());
    EXPECT_EQ(place(first), 4u);
  });
  EXPECT_EQ(place(opened), 4u);
  EXPECT_EQ(read_all(audit(opened)).size(), 0u);
}

TEST_F(SavedSettings, AnyBytesAreANameAndLongOnesAreCommittedAlone) {
  const std::string odd("\0'\"\xff", 4), lengthy(60'000, 'n'), most(65'535, 'm');
  Pond opened = after([&](const Pond& first) {
    make_tier(first);
    for (const std::string& name : {odd, lengthy, most, std::string()}) {
      EXPECT_OK(first.scope(name).configure({.max_items = 1 + name.size()}));
      EXPECT_OK(first.scope(name).queue(name).pause());
      expect_durable(first.scope(name).log(name, name).commit(name, 3 + name.size(), kDurable).status());
    }
  });
  for (const std::string& name : {odd, lengthy, most, std::string()}) {
    EXPECT_EQ(must(opened.scope(name).options()).max_items, 1 + name.size());
    EXPECT_TRUE(must(opened.scope(name).queue(name).stats()).paused);
    EXPECT_EQ(must(opened.scope(name).log(name, name).committed(name)), 3 + name.size());
  }
}

TEST_F(SavedSettings, GoThroughManyReboots) {
  for (std::uint64_t life = 1; life <= 4; life++) {
    in_a_life([&](const Pond& opened) {
      make_tier(opened);
      EXPECT_EQ(place(opened), life - 1);
      EXPECT_EQ(must(work(opened).options()).max_attempts, life - 1);
      must(audit(opened).commit("reader", life, kDurable));
      QueueOptions options = must(work(opened).options());
      options.max_attempts = static_cast<std::uint32_t>(life);
      EXPECT_OK(work(opened).configure(options));
    });
    pond.lose_segment();
  }
  EXPECT_EQ(must(work(reopened()).options()).max_attempts, 4u);
}

TEST_F(SavedSettings, MoreThanTheDirectoryHoldsAreFullUntilTheLimitIsLarger) {
  in_a_life([&](const Pond& first) {
    make_tier(first);
    for (int i = 0; i < 200; i++) EXPECT_OK(first.scope("s").queue(std::to_string(i)).pause());
  });
  pond.lose_segment();
  {
    auto tier = must(try_tier(pond.folder(), false));
    std::vector<TierSetting> many;
    TierSetting one = must(tier->settings(soon())).front();
    for (int i = 0; i < 40'000; i++) one.ns = "more " + std::to_string(i), many.push_back(one);
    must(tier->commit({}, many, 0, soon()));
  }
  auto refused = Pond::open(pond.name(), pond.options());
  EXPECT_ANSWER(full, refused);
  EXPECT_THAT(refused.status().text(), HasSubstr("larger limit_bytes"));
  Options larger = pond.options();
  larger.limit_bytes = 256 << 20;
  Pond opened = must(Pond::open(pond.name(), larger));
  EXPECT_TRUE(must(opened.scope("s").queue("more 39999").stats()).paused);
}

// ------------------------------------------------------------------------------------------------------------------- faults

TEST_F(SavedSettings, ALockedJournalLeavesTheChangeInMemoryAndSaysSo) {
  Options hasty = pond.options();
  hasty.durable_timeout = milliseconds(100);
  Shared<Event> done;
  Process life([&] {
    {
      Pond opened = pond.open();
      make_tier(opened);
      expect_durable(audit(opened).commit("dropped", 3, kDurable).status());
    }
    Pond opened = must(Pond::open(pond.name(), hasty));
    EXPECT_TRUE(eventually([&] { return opened.flush().ok(); }));  // its files are open
    {
      Foreign other(pond.folder() / "journal.db");
      other.run("BEGIN IMMEDIATE");
      Status paused = work(opened).pause();
      EXPECT_OK(paused);
      EXPECT_EQ(paused.durability(), kMemory);
      EXPECT_EQ(paused.cause(), Code::timeout) << paused.text();
      EXPECT_ANSWER(paused, work(opened).pop());
      Queue left = opened.scope("scope").queue("left");
      must(left.push("x", {.durability = kMemory}));
      Status drained = left.drain(milliseconds(0));
      EXPECT_ANSWER(timeout, drained);
      EXPECT_EQ(drained.durability(), kMemory);
      EXPECT_EQ(drained.cause(), Code::timeout);
      EXPECT_THAT(drained.text(), HasSubstr("drains in memory alone"));
      auto committed = audit(opened).commit("reader", 9, kDurable);
      EXPECT_EQ(must(committed), 9u);
      EXPECT_EQ(committed.status().cause(), Code::timeout);
      EXPECT_ANSWER(timeout, audit(opened).drop_cursor("dropped"));
      EXPECT_EQ(place(opened, "dropped"), 3u);
      EXPECT_ANSWER(timeout, opened.flush());
      other.run("ROLLBACK");
    }
    EXPECT_TRUE(eventually([&] { return opened.flush().ok(); }));  // a slow disk may need longer than that
    EXPECT_EQ(rows(), 4);
    EXPECT_TRUE(clean(opened));
    if (::testing::Test::HasFailure()) std::_Exit(1);
    done->raise();
    pause_forever();
  });
  ASSERT_TRUE(done->wait(1, 60s));
  life.kill();
  pond.lose_segment();
  Pond opened = reopened();
  EXPECT_TRUE(must(work(opened).stats()).paused);
  EXPECT_EQ(place(opened), 9u);
  EXPECT_EQ(place(opened, "dropped"), 3u);
}

TEST_F(SavedSettings, ADamagedOneRefusesTheRebuildAndNamesItsScope) {
  in_a_life([&](const Pond& first) {
    make_tier(first);
    EXPECT_OK(work(first).pause());
  });
  pond.lose_segment();
  auto run = [&](const char* sql) { Foreign(pond.folder() / "journal.db").run(sql); };
  run("UPDATE setting SET checksum = checksum + 1");
  auto refused = Pond::open(pond.name(), pond.options());
  EXPECT_ANSWER(corruption, refused);
  EXPECT_THAT(refused.status().text(), HasSubstr("scope \"scope\" (\"work\")"));
  EXPECT_FALSE(pond.exists());
  run("UPDATE setting SET checksum = checksum - 1");
  EXPECT_TRUE(must(work(reopened()).stats()).paused);
}

TEST_F(SavedSettings, OneThatIsNoneRefusesTheRebuild) {
  in_a_life([&](const Pond& first) { make_tier(first); });
  pond.lose_segment();
  for (auto [kind, value] :
       {std::pair<int, std::string>{1, "short"}, {2, std::string(40, '\xff')}, {9, "?"}, {4, ""}}) {
    TierSetting nonsense{static_cast<std::uint8_t>(kind), "scope", "work", "", "", value};
    must(must(try_tier(pond.folder(), false))->commit({}, {&nonsense, 1}, 0, soon()));
    EXPECT_ANSWER(corruption, Pond::open(pond.name(), pond.options())) << kind;
    nonsense.value.reset();
    must(must(try_tier(pond.folder(), false))->commit({}, {&nonsense, 1}, 0, soon()));
  }
  EXPECT_EQ(reopened().recovered().settings, 0u);
}

// A store of before there were settings: all is there, and it has a place for them from then on.
TEST_F(SavedSettings, AStoreOfTheLayoutBeforeIsTakenOver) {
  in_a_life([&](const Pond& first) { make_tier(first); });
  pond.lose_segment();
  Foreign(pond.folder() / "journal.db").run("DROP TABLE setting; PRAGMA user_version = 1");
  {
    Pond opened = after([&](const Pond& second) {
      EXPECT_EQ(must(second.scope("else").queue("where").pop()), "on disk");
      expect_durable(work(second).pause());
    });
    EXPECT_TRUE(must(work(opened).stats()).paused);
  }
  Foreign(pond.folder() / "journal.db").run("PRAGMA user_version = 3");
  pond.lose_segment();
  auto newer = Pond::open(pond.name(), pond.options());
  EXPECT_ANSWER(unsupported, newer);
  EXPECT_THAT(newer.status().text(), HasSubstr("newer headpond"));
}

// -------------------------------------------------------------------------------------------------------------------- killed

struct Ledger {
  std::atomic<std::uint64_t> begun{0}, told{0}, attempts_begun{0}, attempts_told{0};
  std::atomic<std::uint64_t> drops{0};
};

// At any write to the disk: what was told is there, and nothing beyond what was begun.
TEST_F(SavedSettings, KilledAtAnyWriteLeaveTheOldOrTheNew) {
  Shared<DeadlyDisk::Calls> calls;
  Shared<Ledger> ledger;
  auto live = [&](std::uint64_t moment) {
    Process life([&] {
      DeadlyDisk::arm(*calls, moment);
      Pond opened = pond.open();
      make_tier(opened);
      for (std::uint64_t n = 1; n <= 6; n++) {
        ledger->begun = n;
        must(audit(opened).commit("reader", n, kDurable));
        ledger->told = n;
        ledger->attempts_begun = n;
        EXPECT_OK(work(opened).configure({.max_attempts = static_cast<std::uint32_t>(n)}));
        ledger->attempts_told = n;
      }
      ledger->drops = 1;
      EXPECT_OK(audit(opened).drop_cursor("reader"));
      ledger->drops = 2;
      must(opened.scope("scope").clear());
      ledger->drops = 3;
    });
    life.wait();
  };
  live(DeadlyDisk::never);
  ASSERT_EQ(ledger->drops, 3u);
  const std::uint64_t moments = 2 * *calls;
  ASSERT_GT(moments, 40u);
  WITH_SEED(seed);
  Random random(seed);
  const std::uint64_t most = std::min(moments, number_from("HEADPOND_REBUILD_KILLS", 60));
  for (std::uint64_t i = 0; i < most && !HasFailure(); i++) {
    const std::uint64_t moment = most == moments ? i : random.below(moments);
    EXPECT_OK(Pond::remove(pond.name()));
    *calls = 0;
    ledger->begun = ledger->told = ledger->attempts_begun = ledger->attempts_told = ledger->drops = 0;
    live(moment);
    // Every other time somebody comes by before the segment is lost.
    if (random.one_in(2)) {
      EXPECT_TRUE(clean(pond.open()));
    }
    ::unlink(pond.segment_path().c_str());
    Pond opened = reopened();
    const std::uint64_t reader = place(opened);
    const std::uint32_t attempts = must(work(opened).options()).max_attempts;
    const std::uint64_t drops = ledger->drops;
    if (drops == 0) {
      EXPECT_GE(reader, ledger->told) << "moment " << moment;
    }
    if (drops == 1) {
      EXPECT_TRUE(reader == 0 || reader == 6) << reader << ", moment " << moment;
    }
    if (drops >= 2) {
      EXPECT_EQ(reader, 0u) << "moment " << moment;
    }
    EXPECT_LE(reader, ledger->begun) << "moment " << moment;
    if (drops < 2) {
      EXPECT_GE(attempts, ledger->attempts_told) << "moment " << moment;
    }
    if (drops == 2) {
      EXPECT_TRUE(attempts == 0 || attempts == 6) << attempts << ", moment " << moment;
    }
    if (drops == 3) {
      EXPECT_EQ(attempts, 0u) << "moment " << moment;
    }
    EXPECT_LE(attempts, ledger->attempts_begun) << "moment " << moment;
  }
}

// Readers that commit, drop and are killed at random, beside settings that change: after each reboot no place is below what was told to be durable, or above
// what was begun, and the two tiers agree whoever was killed where.
TEST_F(SavedSettings, OfManyKilledReadersAgreeWithWhatTheyWereTold) {
  constexpr int kReaders = 4;
  struct Place {
    std::atomic<std::uint64_t> begun{0}, told{0};
  };
  Shared<std::array<Place, kReaders>> places;
  WITH_SEED(seed);
  Random random(seed);
  for (int round = 0; round < 6 && !HasFailure(); round++) {
    Shared<Event> going;
    std::vector<std::unique_ptr<Process>> readers;
    for (int i = 0; i < kReaders; i++)
      readers.push_back(std::make_unique<Process>([&, i] {
        Pond opened = pond.open();
        Log log = audit(opened);
        Place& mine = (*places)[static_cast<std::size_t>(i)];
        const std::string name = "reader " + std::to_string(i);
        Random dice(seed + static_cast<std::uint64_t>(i));
        for (std::uint64_t n = mine.begun + 1;; n++) {
          mine.begun = n;
          auto at = log.commit(name, n, dice.one_in(3) ? kMemory : kDurable);
          if (at.status().durability() == kDurable) mine.told = n;
          if (dice.one_in(8)) must(log.commit("shared " + std::to_string(dice.below(3)), 1, kDurable));
          if (dice.one_in(8)) (void)log.drop_cursor("shared " + std::to_string(dice.below(3)));
          if (dice.one_in(8)) {
            EXPECT_OK(dice.one_in(2) ? work(opened).pause() : work(opened).resume());
          }
          if (n % 20 == 0) going->raise();
        }
      }));
    ASSERT_TRUE(going->wait(1 + static_cast<std::uint32_t>(random.below(8)), 60s));
    for (auto& reader : readers) {
      reader->kill();
      if (random.one_in(2)) {
        EXPECT_TRUE(clean(pond.open()));
      }
    }
    readers.clear();
    pond.lose_segment();
    Pond opened = reopened();
    for (int i = 0; i < kReaders; i++) {
      Place& theirs = (*places)[static_cast<std::size_t>(i)];
      const std::uint64_t found = place(opened, "reader " + std::to_string(i));
      EXPECT_GE(found, theirs.told) << "reader " << i << ", round " << round;
      EXPECT_LE(found, theirs.begun) << "reader " << i << ", round " << round;
    }
  }
}

}  // namespace
