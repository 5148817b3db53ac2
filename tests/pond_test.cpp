// Opening, attaching, looking at and removing a pond; damaged and foreign files; forks.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "src/layout.h"
#include "support/test_pond.h"

namespace {

using namespace headpond;
using namespace support;
using nlohmann::json;
namespace fs = std::filesystem;

using Strings = std::vector<std::string>;

// ------------------------------------------------------------------------------------------------- open, attach, remove

TEST(Opening, CreatesThePondOrAttachesToIt) {
  TestPond test;
  EXPECT_ANSWER(not_found, Pond::open_existing(test.name()));
  EXPECT_FALSE(test.exists());
  Pond created = must(Pond::open(test.name()));
  EXPECT_TRUE(test.exists());
  EXPECT_EQ(created.name(), test.name());
  must(created.scope("s").queue("q").push("x"));
  Pond attached = must(Pond::open_existing(test.name()));
  EXPECT_EQ(shown(attached.scope("s").queue("q").pop()), "x");
}

TEST(Opening, PondsOfANameInOneProcessShareOneAttachment) {
  TestPond test;
  Pond first = test.open();
  Pond second = test.open();
  const Stats stats = must(first.stats());
  EXPECT_EQ(stats.participants, 1u);
  ASSERT_EQ(stats.workers.size(), 1u);
  EXPECT_EQ(stats.workers[0].pid, ::getpid());
  EXPECT_TRUE(stats.workers[0].alive);
  EXPECT_EQ(mappings_of("headpond."), mappings_of(test.name()));
}

TEST(Opening, WhatIsInAPondStaysWhenNobodyIsAttached) {
  TestPond test;
  must(test.queue().push("kept"));
  must(test.log().append("kept"));
  EXPECT_EQ(mappings_of(test.name()), 0u);
  EXPECT_EQ(shown(test.queue().pop()), "kept");
  EXPECT_EQ(read_all(test.log()).size(), 1u);
  EXPECT_TRUE(clean(test));
}

TEST(Opening, NamesHave1To128HarmlessCharacters) {
  TestHome home;
  for (const std::string& name :
       {std::string(), std::string(".hidden"), std::string("a/b"), std::string(".."), std::string("a b"),
        std::string("a\0b", 3), std::string("\xc3\xa4"), std::string(129, 'a'), std::string("a\n")}) {
    EXPECT_ANSWER(invalid, Pond::open(name)) << name;
    EXPECT_ANSWER(invalid, Pond::open_existing(name)) << name;
    EXPECT_ANSWER(invalid, Pond::remove(name)) << name;
  }
  const std::string longest = "longest-" + std::to_string(::getpid()) + "-" + std::string(100, 'n');
  for (const std::string& name :
       {(longest + std::string(28, '_')).substr(0, 128), "A.b_c-" + std::to_string(::getpid())}) {
    EXPECT_OK(Pond::open(name)) << name;
    EXPECT_OK(Pond::remove(name)) << name;
  }
}

TEST(Opening, OptionsOutOfRangeAreInvalid) {
  TestPond test;
  const std::vector<Options> bad = {
      {.limit_bytes = 0},
      {.limit_bytes = (1 << 20) - 1},
      {.limit_bytes = (1 << 20) + 1},
      {.limit_bytes = (64ULL << 30) + (1 << 20)},
      {.max_participants = 0},
      {.max_participants = 4096},
      {.min_page_bytes = 512},
      {.min_page_bytes = 3000},
      {.max_page_bytes = 131'072},
      {.min_page_bytes = 8192, .max_page_bytes = 4096},
      {.queue = {.lease = -1ms}},
      {.queue = {.lease = 24h * 31}},
      {.queue = {.max_attempts = 65'536}},
      {.spin = std::chrono::microseconds(-1)},
      {.spin = 11ms},
      {.full_timeout = -1ms},
  };
  for (std::size_t i = 0; i < bad.size(); ++i)
    EXPECT_ANSWER(invalid, Pond::open(test.name(), bad[i])) << "options " << i;
  EXPECT_FALSE(test.exists());
}

TEST(Opening, WhatTheCreatorFixedCannotBeAskedForDifferently) {
  TestPond test;
  const Options fixed = {
      .limit_bytes = 8 << 20, .max_participants = 100, .min_page_bytes = 2048, .max_page_bytes = 16'384};
  Pond pond = must(Pond::open(test.name(), fixed));
  const std::vector<Options> different = {{.limit_bytes = 9 << 20},
                                          {.max_participants = 99},
                                          {.min_page_bytes = 1024},
                                          {.max_page_bytes = 32'768}};
  for (const Options& options : different) {
    const auto result = Pond::open(test.name(), options);
    EXPECT_ANSWER(exists, result);
    EXPECT_NE(result.status().text().find(test.name()), std::string::npos) << result.status().text();
    EXPECT_ANSWER(exists, Pond::open_existing(test.name(), options));
  }
  EXPECT_OK(Pond::open(test.name(), fixed));
  EXPECT_OK(Pond::open(test.name()));
  EXPECT_OK(Pond::open(test.name(), {.limit_bytes = 8 << 20}));
  const Stats stats = must(pond.stats());
  EXPECT_EQ(stats.limit_bytes, 8u << 20);
  EXPECT_EQ(stats.max_participants, 100u);
}

TEST(Opening, AnotherProcessIsToldTheSame) {
  TestPond test;
  Pond pond = must(Pond::open(test.name(), {.limit_bytes = 8 << 20}));
  Process other([&] {
    EXPECT_ANSWER(exists, Pond::open(test.name(), {.limit_bytes = 16 << 20}));
    EXPECT_OK(Pond::open(test.name(), {.limit_bytes = 8 << 20}));
    EXPECT_OK(Pond::open(test.name()));
  });
  EXPECT_EQ(other.wait(), 0);
}

TEST(Opening, DefaultsAreAsDocumented) {
  TestPond test;
  const Stats stats = must(test.open().stats());
  EXPECT_EQ(stats.limit_bytes, 256u << 20);
  EXPECT_GE(stats.max_participants, 4000u);
}

TEST(Opening, EveryPageGeometryWorks) {
  for (const auto& [smallest, largest] : std::vector<std::pair<std::uint32_t, std::uint32_t>>{
           {1024, 1024}, {1024, 65'536}, {65'536, 65'536}, {4096, 8192}}) {
    TestPond test({.limit_bytes = 16 << 20, .min_page_bytes = smallest, .max_page_bytes = largest});
    Pond pond = test.open();
    Queue queue = pond.scope("s").queue("q");
    for (std::uint64_t i = 0; i < 3000; ++i) must(queue.push(patterned(i, 8 + i % 700)));
    for (std::uint64_t i = 0; i < 3000; ++i)
      ASSERT_EQ(number_of(must(queue.pop())), i) << smallest << " to " << largest;
    EXPECT_TRUE(clean(pond));
  }
}

TEST(Opening, TheStateHomeMayBeChosen) {
  TestPond test;
  const fs::path elsewhere = test.home() / "deep" / "er";
  {
    Pond pond = must(Pond::open(test.name(), {.state_home = elsewhere}));
    EXPECT_TRUE(fs::is_directory(elsewhere / test.name()));
    EXPECT_FALSE(fs::exists(test.folder()));
  }
  EXPECT_OK(Pond::remove(test.name(), {.state_home = elsewhere}));
  EXPECT_FALSE(fs::exists(elsewhere / test.name()));
}

TEST(Opening, AnotherStateFolderThanTheCreatorsIsRefused) {
  TestPond test;
  Pond pond = test.open();
  Process other([&] {
    const auto result = Pond::open(test.name(), {.state_home = test.home() / "other"});
    EXPECT_FALSE(result.ok());
    EXPECT_ANSWER(unsupported, result);
  });
  EXPECT_EQ(other.wait(), 0);
}

TEST(Opening, SaysItsVersion) {
  EXPECT_STREQ(version(), "0.1.0");
  EXPECT_EQ(layout_version(), internal::kLayoutVersion);
}

TEST(Removing, TakesTheNameAtOnceAndTellsWhoIsAttached) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope("s").queue("q");
  Log log = pond.scope("s").log("l");
  must(queue.push("1"));
  must(queue.push("2"));
  must(log.append("r"));
  {
    Claim claim = must(queue.claim());
    EXPECT_OK(Pond::remove(test.name()));
    EXPECT_FALSE(test.exists());
    EXPECT_FALSE(fs::exists(test.folder()));
    EXPECT_EQ(claim.payload(), "1") << "what is mapped stays readable";
    EXPECT_ANSWER(removed, claim.ack());
  }
  EXPECT_ANSWER(removed, queue.push("3"));
  EXPECT_ANSWER(removed, queue.claim());
  EXPECT_ANSWER(removed, queue.claim(100ms));
  EXPECT_ANSWER(removed, queue.size());
  EXPECT_ANSWER(removed, queue.clear());
  EXPECT_ANSWER(removed, log.append("r"));
  EXPECT_ANSWER(removed, log.follow().next(100ms));
  EXPECT_ANSWER(removed, log.scan().status().ok() ? Status(log.last_seq().status()) : Status(Code::removed));
  EXPECT_ANSWER(removed, pond.stats());
  EXPECT_ANSWER(not_found, Pond::remove(test.name()));
}

TEST(Removing, TheNameMayBeUsedAgainWhileOthersAreStillAttached) {
  TestPond test;
  Shared<Event> attached, renewed;
  Process old([&] {
    Pond pond = test.open();
    must(pond.scope().queue().push("old"));
    attached->raise();
    renewed->await();
    EXPECT_ANSWER(removed, pond.scope().queue().push("old"));
  });
  ASSERT_TRUE(attached->wait());
  EXPECT_OK(Pond::remove(test.name()));
  Pond pond = test.open();
  EXPECT_ANSWER(empty, pond.scope().queue().claim());
  must(pond.scope().queue().push("new"));
  renewed->raise();
  EXPECT_EQ(old.wait(), 0);
  EXPECT_EQ(pop_all(pond.scope().queue()), (Strings{"new"}));
}

TEST(Removing, AProcessThatWasAttachedMayOpenTheNewOne) {
  TestPond test;
  Pond old = test.open();
  must(old.scope().queue().push("old"));
  EXPECT_OK(Pond::remove(test.name()));
  Pond renewed = test.open();
  EXPECT_ANSWER(empty, renewed.scope().queue().claim());
  must(renewed.scope().queue().push("new"));
  EXPECT_ANSWER(removed, old.scope().queue().push("x"));
  EXPECT_EQ(shown(renewed.scope().queue().pop()), "new");
}

TEST(Removing, WakesWhoWaits) {
  TestPond test;
  Shared<Event> about;
  Process waiter([&] {
    Queue queue = test.queue();
    must(queue.push("x"));
    must(queue.pop());
    about->raise();
    EXPECT_ANSWER(removed, queue.claim(stretched(60s)));
  });
  ASSERT_TRUE(about->wait());
  ASSERT_TRUE(asleep(waiter.pid()));
  const auto start = Clock::now();
  EXPECT_OK(Pond::remove(test.name()));
  EXPECT_EQ(waiter.wait(), 0);
  EXPECT_LT(since(start), stretched(10s)) << "much sooner than who waits gives up";
}

TEST(Removing, OfNothingIsNotFound) {
  TestPond test;
  EXPECT_ANSWER(not_found, Pond::remove(test.name()));
}

// ------------------------------------------------------------------------------------------------- what it leaves and takes

TEST(Resources, OpeningAndClosingLeaksNothing) {
  TestPond test;
  test.open();
  const std::size_t descriptors = open_descriptors();
  for (int i = 0; i < 100; ++i) {
    Pond pond = test.open();
    must(pond.scope("s").queue("q").push("x"));
    must(pond.scope("s").queue("q").pop());
    Scan scan = pond.scope("s").log("l").scan();
    scan.next();
  }
  EXPECT_EQ(open_descriptors(), descriptors);
  EXPECT_EQ(mappings_of("headpond."), 0u);
  EXPECT_EQ(shared_memory_names(test.name()).size(), 1u);
  EXPECT_EQ(must(test.open().stats()).participants, 1u);
}

TEST(Resources, AMaintenanceThreadEndsWithItsPond) {
  TestPond test;
  test.open();
  const auto threads = [] {
    return std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator());
  };
  const auto before = threads();
  const std::size_t descriptors = open_descriptors();
  for (int i = 0; i < 5; ++i) {
    Pond pond = must(Pond::open(test.name(), {.maintenance = true}));
    must(pond.scope().queue().push("x"));
  }
  EXPECT_TRUE(eventually([&] { return threads() == before; }));
  EXPECT_EQ(open_descriptors(), descriptors);
}

TEST(Resources, ThreadsComeAndGo) {
  TestPond test({.limit_bytes = 4 << 20});
  Pond pond = test.open();
  Queue queue = pond.scope("s").queue("q");
  for (int i = 0; i < 300; ++i) {
    std::thread([&] {
      must(queue.push("x"));
      EXPECT_EQ(shown(queue.pop()), "x");
    }).join();
  }
  EXPECT_TRUE(clean(pond));
}

TEST(Resources, TheSegmentAndTheFolderAreTheOwnersOnly) {
  const mode_t mask = ::umask(0);
  TestPond test;
  Pond pond = test.open();
  ::umask(mask);
  struct stat segment, folder, lock;
  ASSERT_EQ(::lstat(test.segment_path().c_str(), &segment), 0);
  EXPECT_EQ(segment.st_mode, S_IFREG | 0600u);
  EXPECT_EQ(segment.st_uid, ::getuid());
  EXPECT_EQ(segment.st_nlink, 1u);
  ASSERT_EQ(::lstat(test.folder().c_str(), &folder), 0);
  EXPECT_EQ(folder.st_mode, S_IFDIR | 0700u);
  for (const auto& entry : fs::directory_iterator(test.folder())) {
    ASSERT_EQ(::lstat(entry.path().c_str(), &lock), 0);
    EXPECT_EQ(lock.st_mode & 077, 0u) << entry.path();
  }
}

TEST(Resources, AnEmptyPondTakesLittleMemory) {
  TestPond test;
  Pond pond = test.open();
  EXPECT_LE(must(pond.stats()).segment_bytes, 1u << 20);
  EXPECT_EQ(must(pond.stats()).page_bytes, 0u);
}

TEST(Resources, AFullSharedMemoryFileSystemIsFullAndNoBusError) {
  TestPond test({.on_full = OnFull::fail});
  Process limited([&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", "/dev/shm", "tmpfs", 0, "size=4m") != 0) {
      return 77;
    }
    Pond pond = test.open();
    Queue queue = pond.scope("s").queue("q");
    std::uint64_t pushed = 0;
    for (;; ++pushed) {
      const Result<ItemId> id = queue.push(patterned(pushed, 1000));
      if (id) continue;
      EXPECT_ANSWER(full, id);
      break;
    }
    EXPECT_GT(pushed, 1500u);
    EXPECT_LT(pushed, 4200u);
    EXPECT_ANSWER(full, queue.push(std::string(8 << 20, 'x')));
    for (std::uint64_t i = 0; i < pushed; ++i) EXPECT_EQ(number_of(must(queue.pop())), i);
    EXPECT_OK(queue.push("room again"));
    EXPECT_TRUE(clean(pond));
    return 0;
  });
  const int code = limited.wait();
  if (code == 77) GTEST_SKIP() << "needs the right to mount";
  EXPECT_EQ(code, 0);
}

TEST(Resources, NoRoomForEvenTheTablesIsFull) {
  TestPond test;
  Process limited([&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", "/dev/shm", "tmpfs", 0, "size=16k") != 0) {
      return 77;
    }
    const auto result = Pond::open(test.name());
    EXPECT_ANSWER(full, result);
    EXPECT_NE(result.status().text().find("/dev/shm"), std::string::npos) << result.status().text();
    EXPECT_TRUE(shared_memory_names(test.name()).empty());
    return 0;
  });
  const int code = limited.wait();
  if (code == 77) GTEST_SKIP() << "needs the right to mount";
  EXPECT_EQ(code, 0);
}

// ------------------------------------------------------------------------------------------------- participants

TEST(Participants, AFullTableIsFullUntilOneLeavesOrDies) {
  TestPond test({.max_participants = 2});
  Shared<Event> attached, leave;
  Pond pond = test.open();
  Process second([&] {
    Pond mine = test.open();
    attached->raise();
    leave->await();
  });
  ASSERT_TRUE(attached->wait());
  const auto third = [&](Code expected) {
    return Process([&, expected] { EXPECT_EQ(Pond::open(test.name()).code(), expected); }).wait();
  };
  EXPECT_EQ(third(Code::full), 0);
  leave->raise();
  EXPECT_EQ(second.wait(), 0);
  EXPECT_EQ(third(Code::ok), 0);
  Process doomed([&] {
    Pond mine = test.open();
    attached->raise();
    pause_forever();
  });
  ASSERT_TRUE(attached->wait(2));
  EXPECT_EQ(third(Code::full), 0);
  doomed.kill();
  EXPECT_EQ(third(Code::ok), 0) << "a dead participant's place is free at once";
  EXPECT_TRUE(clean(pond));
}

TEST(Participants, StatsListThemWithTheirClaims) {
  TestPond test;
  Shared<Event> claimed, leave;
  Queue queue = test.queue();
  for (int i = 0; i < 5; ++i) must(queue.push("x"));
  Claim mine = must(queue.claim());
  Process worker([&] {
    Queue mine = test.queue();
    std::vector<Claim> claims = must(mine.claim_many(3));
    claimed->raise();
    leave->await();
  });
  ASSERT_TRUE(claimed->wait());
  Pond pond = test.open();
  const Stats stats = must(pond.stats());
  EXPECT_EQ(stats.participants, 2u);
  ASSERT_EQ(stats.workers.size(), 2u);
  for (const WorkerInfo& info : stats.workers) {
    EXPECT_TRUE(info.alive);
    EXPECT_TRUE(info.pid == ::getpid() || info.pid == worker.pid());
    EXPECT_EQ(info.claims, info.pid == worker.pid() ? 3u : 1u);
  }
  leave->raise();
  EXPECT_EQ(worker.wait(), 0);
  EXPECT_EQ(must(queue.size()), 4u) << "claims that go out of scope are nacked";
  EXPECT_EQ(must(pond.stats()).participants, 1u);
  EXPECT_OK(mine.ack());
}

TEST(Participants, ReapCountsTheDead) {
  TestPond test;
  Shared<Event> claimed;
  Pond pond = test.open();
  Queue queue = test.queue();
  for (int i = 0; i < 3; ++i) must(queue.push("x"));
  std::vector<Process> doomed;
  for (int i = 0; i < 3; ++i) {
    doomed.emplace_back([&] {
      Queue mine = test.queue();
      Claim claim = must(mine.claim());
      claimed->raise();
      pause_forever();
    });
  }
  ASSERT_TRUE(claimed->wait(3));
  EXPECT_EQ(must(pond.reap()), 0u);
  for (Process& process : doomed) process.kill();
  EXPECT_EQ(must(pond.reap()), 3u);
  EXPECT_EQ(must(pond.reap()), 0u);
  EXPECT_EQ(must(queue.size()), 3u);
  EXPECT_EQ(must(queue.claim()).crashes(), 1u);
  EXPECT_TRUE(clean(pond));
}

TEST(Participants, ComingAndGoingLeavesNoTrace) {
  TestPond test;
  Pond pond = test.open();
  for (int i = 0; i < 40; ++i) {
    Process visitor([&, i] {
      Queue queue = test.queue();
      must(queue.push("x"));
      must(queue.pop());
      if (i % 2 == 0) ::kill(::getpid(), SIGKILL);
    });
    EXPECT_EQ(visitor.wait(), i % 2 == 0 ? 128 + SIGKILL : 0);
  }
  must(pond.reap());
  EXPECT_EQ(must(pond.stats()).participants, 1u);
  EXPECT_TRUE(clean(pond));
}

TEST(Participants, AnotherPidNamespaceIsRefused) {
  TestPond test;
  Pond pond = test.open();
  Process outer([&] {
    if (::unshare(CLONE_NEWPID) != 0) return 77;
    Process inner([&] { EXPECT_ANSWER(unsupported, Pond::open(test.name())); });
    return inner.wait();
  });
  const int code = outer.wait();
  if (code == 77) GTEST_SKIP() << "needs the right to make a pid namespace";
  EXPECT_EQ(code, 0);
}

// ------------------------------------------------------------------------------------------------- figures

TEST(Figures, StatsListEveryStream) {
  TestPond test;
  Pond pond = test.open();
  must(pond.scope("a").queue("q").push("12345"));
  must(pond.scope("a").queue("q").push("x", {.priority = 3}));
  must(pond.scope("b").log("ns", "key").append("record"));
  const Stats stats = must(pond.stats());
  EXPECT_EQ(stats.pond, test.name());
  EXPECT_EQ(stats.streams, 2u);
  EXPECT_GE(stats.page_bytes, 3u * 1024);
  EXPECT_GE(stats.segment_bytes, stats.page_bytes);
  EXPECT_LE(stats.largest_free_bytes, stats.limit_bytes);
  ASSERT_EQ(stats.details.size(), 2u);
  for (const StreamInfo& info : stats.details) {
    if (info.kind == StreamInfo::Kind::queue) {
      EXPECT_EQ(info.scope, "a");
      EXPECT_EQ(info.name, "q");
      EXPECT_EQ(info.queue.ready, 2u);
      EXPECT_EQ(info.queue.payload_bytes, 6u);
    } else {
      EXPECT_EQ(info.scope, "b");
      EXPECT_EQ(info.name, "ns");
      EXPECT_EQ(info.key, "key");
      EXPECT_EQ(info.log.records, 1u);
      EXPECT_EQ(info.log.last_seq, 1u);
    }
  }
}

TEST(Figures, JsonParsesWhateverTheNamesAre) {
  TestPond test;
  Pond pond = test.open();
  const Strings names = {"plain",
                         "",
                         "\"quoted\"\\",
                         "new\nline\t",
                         std::string("zero\0zero", 9),
                         "\xff\xfe not utf-8",
                         "gr\xc3\xbc\xc3\x9f",
                         std::string(2000, 'n')};
  for (const std::string& name : names) {
    must(pond.scope(name).queue(name).push("x"));
    must(pond.scope(name).log(name, name).append("x"));
  }
  const std::string text = must(pond.stats()).json();
  const json parsed = json::parse(text, nullptr, false);
  ASSERT_FALSE(parsed.is_discarded()) << text.substr(0, 2000);
  EXPECT_EQ(parsed.at("pond"), test.name());
  EXPECT_EQ(parsed.at("streams"), 2 * names.size());
  EXPECT_NE(text.find("base64"), std::string::npos);
}

TEST(Figures, VerifyOfAUsedPondLooksAtAllOfIt) {
  TestPond test;
  Pond pond = test.open();
  for (int i = 0; i < 1000; ++i) must(pond.scope("s").queue(std::to_string(i % 7)).push(patterned(i, 100)));
  const Findings findings = must(pond.verify());
  EXPECT_TRUE(findings.clean());
  EXPECT_EQ(findings.streams, 7u);
  EXPECT_GE(findings.records, 1000u);
  EXPECT_GE(findings.pages, 7u);
}

// ------------------------------------------------------------------------------------------------- forks

TEST(Forks, TheChildsOldHandlesAnswerForked) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope("s").queue("q");
  Log log = pond.scope("s").log("l");
  must(log.append("r"));
  for (int i = 0; i < 3; ++i) must(queue.push(std::to_string(i)));
  Claim claim = must(queue.claim());
  Process child([&] {
    EXPECT_ANSWER(forked, queue.push("x"));
    EXPECT_ANSWER(forked, queue.push("x", {.delay = 1s}));
    EXPECT_ANSWER(forked, queue.claim());
    EXPECT_ANSWER(forked, queue.claim(1s));
    EXPECT_ANSWER(forked, queue.pop());
    EXPECT_ANSWER(forked, queue.size());
    EXPECT_ANSWER(forked, queue.stats());
    EXPECT_ANSWER(forked, queue.peek());
    EXPECT_ANSWER(forked, queue.clear());
    EXPECT_ANSWER(forked, queue.reserve(1));
    EXPECT_ANSWER(forked, queue.pause());
    EXPECT_ANSWER(forked, claim.ack());
    EXPECT_ANSWER(forked, claim.nack());
    EXPECT_ANSWER(forked, log.append("x"));
    EXPECT_ANSWER(forked, log.last_seq());
    EXPECT_ANSWER(forked, log.follow().next(1s));
    EXPECT_ANSWER(forked, pond.stats());
    EXPECT_ANSWER(forked, pond.verify());
    EXPECT_ANSWER(forked, pond.reap());
    EXPECT_ANSWER(forked, pond.scope("t").clear());
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_OK(claim.ack());
  EXPECT_EQ(pop_all(queue), (Strings{"1", "2"}));
  EXPECT_TRUE(clean(pond));
}

TEST(Forks, TheChildAttachesAnew) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope("s").queue("q");
  Claim held = [&] {
    must(queue.push("held"));
    return must(queue.claim());
  }();
  must(queue.push("for the child"));
  Process child([&] {
    Pond mine = test.open();
    EXPECT_EQ(must(mine.stats()).participants, 2u);
    EXPECT_EQ(shown(mine.scope("s").queue("q").pop()), "for the child");
    must(mine.scope("s").queue("q").push("from the child"));
    EXPECT_ANSWER(forked, queue.push("x"));
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(shown(queue.pop()), "from the child");
  EXPECT_OK(held.ack());
  EXPECT_TRUE(clean(pond));
}

TEST(Forks, DestructorsInTheChildDoNothing) {
  TestPond test;
  std::optional<Pond> pond = test.open();
  std::optional<Queue> queue = pond->scope("s").queue("q");
  must(queue->push("claimed"));
  std::optional<Claim> claim = must(queue->claim());
  std::optional<Reservation> reservation = must(queue->reserve(4));
  must(pond->scope("s").log("l").append("record"));
  std::optional<Scan> scan = pond->scope("s").log("l").scan();
  ASSERT_TRUE(scan->next());
  Process child([&] {
    claim.reset();
    reservation.reset();
    scan.reset();
    queue.reset();
    pond.reset();
    Pond mine = test.open();  // with the old one gone
    EXPECT_ANSWER(empty, mine.scope("s").queue("q").claim()) << "the parent's claim is still the parent's";
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(scan->record().payload, "record");
  std::memcpy(reservation->data().data(), "room", 4);
  reservation->commit();
  EXPECT_EQ(shown(queue->pop()), "room");
  EXPECT_OK(claim->ack());
  EXPECT_TRUE(clean(*pond));
}

TEST(Forks, AChildThatLivesOnDoesNotHideItsParentsDeath) {
  TestPond test;
  Shared<Event> forked, release;
  Queue queue = test.queue();
  must(queue.push("x"));
  Process parent([&] {
    Queue mine = test.queue();
    Claim claim = must(mine.claim());
    const pid_t grandchild = ::fork();
    if (grandchild == 0) {
      ::prctl(PR_SET_PDEATHSIG, 0);
      forked->raise();
      (void)release->wait(1, 120s);
      ::_exit(0);
    }
    pause_forever();
  });
  ASSERT_TRUE(forked->wait());
  EXPECT_ANSWER(empty, queue.claim());
  parent.kill();
  const auto start = Clock::now();
  const Result<Claim> again = queue.claim(stretched(60s));
  EXPECT_EQ(shown(again), "x");
  EXPECT_LT(since(start), stretched(10s)) << "much sooner than who waits gives up";
  release->raise();
}

TEST(Forks, AChildForkedByAThreadOfABusyProcessAttachesAnew) {
  TestPond test;
  Pond pond = test.open();
  Queue queue = pond.scope("s").queue("q");
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) {
      must(queue.push("x"));
      must(queue.pop());
    }
  });
  for (int i = 0; i < 20; ++i) {
    Process child([&] {
      EXPECT_ANSWER(forked, queue.push("y"));
      Queue mine = test.queue("other");
      must(mine.push("mine"));
      EXPECT_EQ(shown(mine.pop()), "mine");
    });
    ASSERT_EQ(child.wait(), 0);
  }
  stop = true;
  busy.join();
  EXPECT_TRUE(clean(pond));
}

// ------------------------------------------------------------------------------------------------- bad files

class BadSegment : public ::testing::Test {
 protected:
  BadSegment() {
    Pond pond = test_.open();
    for (int i = 0; i < 100; ++i) must(pond.scope("s").queue("q").push(patterned(i, 100)));
    for (int i = 0; i < 100; ++i) must(pond.scope("s").log("l").append(patterned(i, 100)));
    std::ifstream file(path(), std::ios::binary);
    good_.resize(64 << 10);
    file.read(good_.data(), static_cast<std::streamsize>(good_.size()));
  }
  ~BadSegment() override {
    ::unlink(path().c_str());
    ::unlink(aside().c_str());
  }
  std::string path() const { return test_.segment_path(); }
  std::string aside() const { return test_.segment_path() + ".aside"; }
  void write(std::size_t offset, const std::string& bytes) {
    const int file = ::open(path().c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_GE(file, 0);
    EXPECT_EQ(::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(bytes.size()));
    ::close(file);
  }
  template <class T>
  void write_number(std::size_t offset, T value) {
    write(offset, std::string(reinterpret_cast<const char*>(&value), sizeof value));
  }
  /// Opening answers that code, with a text that names the file; in a process of its own, since it must not crash either.
  void expect_open(Code expected) {
    Process opener([&] {
      const auto result = Pond::open_existing(test_.name());
      EXPECT_TRUE(answers(expected, result));
      EXPECT_NE(result.status().text().find(test_.name()), std::string::npos) << result.status().text();
      EXPECT_TRUE(answers(expected, Pond::open(test_.name()))) << "nor is a new one put in its place";
    });
    EXPECT_EQ(opener.wait(), 0);
  }

  std::string all_bytes() const {
    std::ifstream file(path(), std::ios::binary);
    std::string bytes(fs::file_size(path()), '\0');
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return bytes;
  }
  internal::TableInfo table(internal::Table which) const {
    internal::TableInfo info;
    std::memcpy(&info,
                good_.data() + offsetof(internal::Header, table) + static_cast<int>(which) * sizeof info,
                sizeof info);
    return info;
  }
  /// Where an element of a table stands in the file.
  std::size_t place(internal::Table which, std::size_t element) const {
    return table(which).offset + element * internal::element_bytes(which);
  }
  /// Every page says that it has so many units.
  void resize_pages(std::uint64_t units) {
    const std::string bytes = all_bytes();
    for (std::size_t i = 0; i < table(internal::Table::lives).capacity; ++i) {
      const std::size_t offset = place(internal::Table::lives, i) + offsetof(internal::LifeEntry, units);
      if (bytes.compare(offset, 8, std::string(8, '\0')) != 0) write_number(offset, units);
    }
  }
  /// Another pond in the place of what is left of this one.
  Pond open_afresh() {
    ::unlink(path().c_str());
    std::error_code ignored;
    fs::remove_all(test_.folder(), ignored);
    return test_.open();
  }
  /// In a process of its own, since it must not crash.
  template <class Body>
  void in_a_process(Body body) {
    Process user([&] { body(must(Pond::open_existing(test_.name()))); });
    EXPECT_EQ(user.wait(), 0);
  }

  /// The table that this offset is in, with the element and the byte in that.
  std::string where(std::size_t offset) const {
    internal::Header header{};
    std::memcpy(static_cast<void*>(&header), good_.data(), offsetof(internal::Header, removed));
    constexpr const char* names[] = {"sections", "floors",  "bitmap", "participants", "pins",
                                     "lives",    "streams", "slots",  "buckets",      "pages"};
    for (int i = internal::kTables - 1; i >= 0; --i) {
      if (offset < header.table[i].offset) continue;
      const std::size_t inside = offset - header.table[i].offset;
      const std::size_t size = internal::element_bytes(static_cast<internal::Table>(i));
      return std::string(names[i]) + "[" + std::to_string(inside / size) + "] + " +
             std::to_string(inside % size);
    }
    return "header + " + std::to_string(offset);
  }

  TestPond test_{Options{.limit_bytes = 1 << 20}};
  std::string good_;
};

TEST_F(BadSegment, ATruncatedOneIsCorruption) {
  const auto size = fs::file_size(path());
  for (const std::uintmax_t kept :
       {size - 1, size / 2, std::uintmax_t{4096}, std::uintmax_t{100}, std::uintmax_t{0}}) {
    fs::resize_file(path(), kept);
    expect_open(Code::corruption);
  }
}

TEST_F(BadSegment, AnotherFileIsCorruption) {
  WITH_SEED(seed);
  Random random(seed);
  std::string bytes(fs::file_size(path()), '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.below(256));
  write(0, bytes);
  expect_open(Code::corruption);
  write(0, std::string(bytes.size(), '\0'));
  expect_open(Code::corruption);
  write(0, "SQLite format 3");
  expect_open(Code::corruption);
}

TEST_F(BadSegment, ANewerLayoutIsUnsupported) {
  write_number(offsetof(internal::Header, version), internal::kLayoutVersion + 1);
  expect_open(Code::unsupported);
}

TEST_F(BadSegment, AnotherLayoutIsUnsupported) {
  write_number(offsetof(internal::Header, layout_hash), std::uint64_t{12345});
  expect_open(Code::unsupported);
}

TEST_F(BadSegment, AnotherBootIsNotThisOne) {
  write(offsetof(internal::Header, boot_id), "00000000-0000-0000-0000-000000000000");
  Process opener([&] { EXPECT_FALSE(Pond::open_existing(test_.name()).ok()); });
  EXPECT_EQ(opener.wait(), 0);
}

TEST_F(BadSegment, OneThatOthersMayReadIsRefused) {
  for (const mode_t mode : {0644, 0660, 0777, 0400}) {
    ASSERT_EQ(::chmod(path().c_str(), mode), 0);
    expect_open(Code::permission);
  }
  ASSERT_EQ(::chmod(path().c_str(), 0600), 0);
  EXPECT_OK(Pond::open_existing(test_.name()));
}

TEST_F(BadSegment, OneOfAnotherOwnerIsRefused) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root to give files away";
  ASSERT_EQ(::chown(path().c_str(), 12'345, 12'345), 0);
  expect_open(Code::permission);
}

TEST_F(BadSegment, ASymbolicLinkIsRefused) {
  fs::rename(path(), aside());
  fs::create_symlink(aside(), path());
  expect_open(Code::permission);
}

TEST_F(BadSegment, ASecondNameIsRefused) {
  fs::create_hard_link(path(), aside());
  expect_open(Code::permission);
}

TEST_F(BadSegment, AFolderOrAFifoIsRefused) {
  ::unlink(path().c_str());
  ASSERT_EQ(::mkfifo(path().c_str(), 0600), 0);
  expect_open(Code::permission);
  ::unlink(path().c_str());
  ASSERT_EQ(::mkdir(path().c_str(), 0700), 0);
  Process opener([&] { EXPECT_FALSE(Pond::open(test_.name()).ok()); });
  EXPECT_EQ(opener.wait(), 0);
  ::rmdir(path().c_str());
}

TEST_F(BadSegment, ADamagedOneCanBeRemovedAndMadeAnew) {
  write(0, std::string(100, 'x'));
  expect_open(Code::corruption);
  EXPECT_OK(Pond::remove(test_.name()));
  Pond pond = test_.open();
  EXPECT_ANSWER(empty, pond.scope("s").queue("q").claim());
  EXPECT_TRUE(clean(pond));
}

TEST_F(BadSegment, ADeadLetterOfAnImpossibleTimeIsAnAnswer) {
  must(must(test_.open().scope("s").queue("q").claim()).bury("this is why"));
  const std::size_t at = all_bytes().find("this is why") - sizeof(internal::DeadPrefix);
  for (const std::uint64_t ms : {UINT64_MAX, std::uint64_t{1} << 63, std::uint64_t{1} << 50}) {
    write_number(at + offsetof(internal::DeadPrefix, at_ms), ms);
    in_a_process([](const Pond& pond) {
      const auto dead = must(pond.scope("s").queue("q").dead());
      ASSERT_EQ(dead.size(), 1u);
      EXPECT_EQ(dead[0].reason, "this is why");
      EXPECT_GT(dead[0].at, std::chrono::system_clock::now());
    });
  }
}

TEST_F(BadSegment, ADeadLetterThatIsShorterThanItSaysIsCorruption) {
  must(must(test_.open().scope("s").queue("q").claim()).bury("this is why"));
  const std::size_t at = all_bytes().find("this is why") - sizeof(internal::DeadPrefix);
  write_number(at + offsetof(internal::DeadPrefix, reason_bytes), std::uint32_t{1'000'000});
  in_a_process([](const Pond& pond) {
    EXPECT_ANSWER(corruption, pond.scope("s").queue("q").dead());
    EXPECT_ANSWER(corruption, pond.scope("s").queue("q").redrive());
  });
}

TEST_F(BadSegment, APageThatIsLargerThanTheSegmentIsCorruption) {
  for (const std::uint64_t units :
       {std::uint64_t{1} << 40, std::uint64_t{1} << 20, UINT64_MAX, std::uint64_t{1025}}) {
    resize_pages(units);
    in_a_process([](const Pond& pond) {
      EXPECT_ANSWER(corruption, pond.scope("s").queue("q").push("x"));
      EXPECT_ANSWER(corruption, pond.scope("s").queue("q").claim());
      EXPECT_ANSWER(corruption, pond.scope("s").log("l").append("x"));
      EXPECT_FALSE(must(pond.verify()).clean());
    });
  }
}

TEST_F(BadSegment, APageThatBecomesLargerThanTheSegmentIsCorruption) {
  in_a_process([&](const Pond& pond) {
    Queue queue = pond.scope("s").queue("q");
    for (int i = 0; i < 3; ++i) {
      must(queue.push("x"));
      must(must(queue.claim()).ack());
      must(queue.pop());
    }
    resize_pages(std::uint64_t{1} << 40);
    EXPECT_ANSWER(corruption, queue.push("x"));
    EXPECT_ANSWER(corruption, queue.claim());
    EXPECT_ANSWER(corruption, queue.pop());
  });
}

TEST_F(BadSegment, AFreePinSlotThatIsNotEmptyHarmsNobody) {
  write_number(place(internal::Table::pins, 0) + offsetof(internal::PinWords, section), std::uint32_t{5});
  in_a_process([](const Pond& pond) {
    must(pond.scope("s").queue("another").push("x"));
    EXPECT_TRUE(clean(pond));
  });
}

#if defined(__GLIBC__)
// Which would run into the assertions of libc.
TEST_F(BadSegment, AMutexOfAnotherKindIsCorruption) {
  const std::size_t mutex = place(internal::Table::sections, internal::kDirectorySection),
                    kind = mutex + offsetof(pthread_mutex_t, __data.__kind);
  write_number(mutex + offsetof(pthread_mutex_t, __data.__lock), 0x7ff80000);
  for (int bit = 0; bit < 32; ++bit) {
    int good;
    std::memcpy(&good, all_bytes().data() + kind, sizeof good);
    write_number(kind, static_cast<std::uint32_t>(good) ^ 1u << bit);
    in_a_process([](const Pond& pond) {
      EXPECT_ANSWER(corruption, pond.scope("s").queue("another").push("x"));
      EXPECT_ANSWER(corruption, pond.scope("s").queue("q").size());
    });
    write_number(kind, good);
  }
}
#endif

TEST_F(BadSegment, ADirectoryThatCountsMoreThanThereIsIsCorruption) {
  for (const std::size_t count :
       {offsetof(internal::Header, slots_used), offsetof(internal::Header, descriptors_used),
        offsetof(internal::Header, bucket_count)}) {
    std::uint64_t good;
    std::memcpy(&good, all_bytes().data() + count, sizeof good);
    for (const std::uint64_t value : {UINT64_MAX, UINT64_MAX - 3, std::uint64_t{1} << 32}) {
      write_number(count, value);
      in_a_process([](const Pond& pond) {
        EXPECT_ANSWER(corruption, pond.scope("s").queue(std::string(500, 'n')).push("x"));
      });
    }
    write_number(count, good);
  }
}

TEST_F(BadSegment, AnEmptyLaneThatIsNotQuiteEmptyIsCorruption) {
  constexpr int priority = 5;
  const std::size_t first = place(internal::Table::streams, 0) + offsetof(internal::StreamWords, lane) +
                            priority * sizeof(internal::LaneWords);
  std::uint64_t word;
  std::memcpy(&word, all_bytes().data() + first, sizeof word);
  ASSERT_EQ(word & 0xfffffff, 0u) << "an empty lane names no page";
  write_number(first, word | std::uint64_t{1} << 27);
  in_a_process([](const Pond& pond) {
    Queue queue = pond.scope("s").queue("q");
    EXPECT_ANSWER(corruption, queue.push("x", {.priority = priority}));
    EXPECT_ANSWER(corruption, queue.clear());
  });
}

/// The dice of tests that damage at random: the same in every run, unless a number of rounds or a seed is asked for.
std::uint64_t damage_seed() {
  const bool asked = std::getenv("HEADPOND_DAMAGE_ROUNDS") || std::getenv("HEADPOND_TEST_SEED");
  return asked ? fresh_seed() : 20'260'101;
}

/// Everything that a user does, over damaged bytes: any answer will do, a crash or a hang will not.
void use_everything(const std::string& name) {
  Result<Pond> pond = Pond::open_existing(name);
  if (!pond) return;
  Queue queue = pond->scope("s").queue("q");
  Log log = pond->scope("s").log("l");
  (void)pond->verify();
  if (Result<Stats> stats = pond->stats()) (void)stats->json();
  (void)pond->reap();
  for (int i = 0; i < 10; ++i) (void)queue.push("pushed");
  (void)queue.push("delayed", {.delay = 1ms});
  (void)queue.peek(1000);
  (void)queue.dead();
  (void)queue.size();
  (void)queue.stats();
  for (int i = 0; i < 300; ++i) {
    Result<Claim> claim = queue.claim();
    if (!claim) break;
    number_of(claim->payload());
    const Status settled = i % 3 == 0 ? claim->nack() : i % 3 == 1 ? claim->bury("damaged?") : claim->ack();
    (void)settled;
  }
  if (Result<Claim> claim = queue.claim()) (void)claim->nack({.delay = 1ms});
  if (Result<Claim> claim = queue.claim()) (void)claim->extend(1ms);
  if (Result<std::vector<Claim>> claims = queue.claim_many(20)) (void)queue.ack_many(*claims);
  for (int i = 0; i < 5; ++i) (void)queue.pop();
  (void)queue.pop_many(20);
  (void)queue.cancel(ItemId{5});
  if (Result<Reservation> room = queue.reserve(50)) room->commit();
  (void)queue.push(std::string(100'000, 'l'));
  (void)pond->scope("t").queue(std::string(200, 'n')).push("another");
  (void)queue.redrive();
  (void)queue.claim(1ms);
  (void)log.append("appended");
  (void)log.last_seq();
  Scan scan = log.scan();
  std::uint64_t read = 0;
  for (const Record& record : scan) {
    number_of(record.payload);
    if (++read > 10'000) break;
  }
  (void)log.follow().next(1ms);
  (void)log.commit("reader", 20);
  (void)log.trim_committed();
  (void)log.stats();
  (void)log.trim(50);
  (void)pond->scope("s").clear();
  (void)queue.push("again");
  (void)pond->verify();
}
/// In a process of its own; 0 if it ends well.
int use_everything_elsewhere(const std::string& name) {
  Process user([&] { use_everything(name); });
  return user.wait();  // a damaged mutex costs each call its patience
}

TEST_F(BadSegment, GarbageInAnyHeaderFieldIsAnErrorAndNoCrash) {
  WITH_SEED_FROM(seed, damage_seed());
  Random random(seed);
  for (std::size_t offset = 0; offset < sizeof(internal::Header); offset += 8) {
    for (const std::uint64_t value :
         {random.below(UINT64_MAX), std::uint64_t{0}, UINT64_MAX, std::uint64_t{1} << random.below(64)}) {
      std::uint64_t was;
      std::memcpy(&was, good_.data() + offset, 8);
      write_number(offset, was ^ value ? value : ~value);
      const int code = use_everything_elsewhere(test_.name());
      EXPECT_EQ(code, 0) << "header offset " << offset << ", value " << value;
      Pond pond = open_afresh();
      for (int i = 0; i < 20; ++i) must(pond.scope("s").queue("q").push(patterned(i, 100)));
      for (int i = 0; i < 20; ++i) must(pond.scope("s").log("l").append(patterned(i, 100)));
      if (code != 0) return;  // one will do
    }
  }
}

TEST_F(BadSegment, DamagedWordsAreAnErrorAndNoCrash) {
  const int rounds = static_cast<int>(number_from("HEADPOND_DAMAGE_ROUNDS", 150));
  watchdog(std::chrono::seconds(300 + rounds / 5));
  WITH_SEED_FROM(seed, damage_seed());
  Random random(seed);
  for (int round = 0; round < rounds; ++round) {
    // Words that are not zero are the interesting ones: where something stands. And the first elements of each table are.
    const std::string bytes = all_bytes();
    std::string what;
    for (std::uint64_t damages = 1 + random.below(4); damages > 0;) {
      const bool anywhere = random.one_in(2);
      const auto which = static_cast<internal::Table>(random.below(internal::kTables));
      const std::size_t offset =
          (anywhere ? 4096 + random.below(bytes.size() - 4096)
                    : place(which, random.below(16)) + random.below(internal::element_bytes(which))) &
          ~std::size_t{7};
      std::uint64_t word;
      std::memcpy(&word, bytes.data() + offset, 8);
      if (word == 0 && !random.one_in(anywhere ? 2000 : 4)) continue;
      switch (random.below(4)) {
        case 0: word ^= std::uint64_t{1} << random.below(64); break;
        case 1: word = random.below(UINT64_MAX); break;
        case 2: word += 1 + random.below(16); break;
        default: word = 0;
      }
      write_number(offset, word);
      what += where(offset) + " = " + std::to_string(word) + "; ";
      --damages;
    }
    const int code = use_everything_elsewhere(test_.name());
    ASSERT_EQ(code, 0) << "round " << round << ": " << what;
    Pond pond = open_afresh();
    for (int i = 0; i < 60; ++i)
      must(pond.scope("s").queue("q").push(patterned(i, 100), {.priority = i % 3}));
    for (int i = 0; i < 3; ++i) must(must(pond.scope("s").queue("q").claim()).bury("x"));
    for (int i = 0; i < 60; ++i) must(pond.scope("s").log("l").append(patterned(i, 100)));
  }
}

class BadFolder : public ::testing::Test {
 protected:
  void expect_refused() {
    const auto result = Pond::open(test_.name());
    EXPECT_ANSWER(permission, result);
    EXPECT_NE(result.status().text().find(test_.folder().string()), std::string::npos)
        << result.status().text();
    EXPECT_FALSE(test_.exists()) << "nothing is created then";
  }
  TestPond test_;
};

TEST_F(BadFolder, ASymbolicLinkIsRefused) {
  fs::create_directory(test_.home() / "elsewhere");
  fs::permissions(test_.home() / "elsewhere", fs::perms::owner_all);
  fs::create_directory_symlink(test_.home() / "elsewhere", test_.folder());
  expect_refused();
}

TEST_F(BadFolder, OneThatOthersMayEnterIsRefused) {
  fs::create_directory(test_.folder());
  for (const mode_t mode : {0755, 0710, 0777}) {
    ASSERT_EQ(::chmod(test_.folder().c_str(), mode), 0);
    expect_refused();
  }
  ASSERT_EQ(::chmod(test_.folder().c_str(), 0700), 0);
  EXPECT_OK(Pond::open(test_.name()));
}

TEST_F(BadFolder, OneOfAnotherOwnerIsRefused) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root to give folders away";
  fs::create_directory(test_.folder());
  ASSERT_EQ(::chmod(test_.folder().c_str(), 0700), 0);
  ASSERT_EQ(::chown(test_.folder().c_str(), 12'345, 12'345), 0);
  expect_refused();
}

TEST_F(BadFolder, AFileIsRefused) {
  std::ofstream(test_.folder()) << "a file";
  ASSERT_EQ(::chmod(test_.folder().c_str(), 0700), 0);
  expect_refused();
}

}  // namespace
