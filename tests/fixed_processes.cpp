// What a pond's creator fixed outlives its segment: in the pond's folder, whoever is killed where, and whatever is wrong with the file.
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <optional>

#include "support/killed_calls.h"
#include "support/test_pond.h"

namespace {

using namespace support;
using ::testing::HasSubstr;

constexpr std::uint64_t kMiB = 1 << 20;

const Options kAll = {.limit_bytes = 8 * kMiB,
                      .max_participants = 100,
                      .min_page_bytes = 2048,
                      .max_page_bytes = 16'384,
                      .queue = {.lease = 30s, .max_attempts = 5, .max_items = 70'000, .max_bytes = 1 << 30}};

class Fixed : public ::testing::Test {
 protected:
  std::filesystem::path file() const { return pond.folder() / "options.json"; }
  void create(const Options& options, bool with_tier = true) const {
    run_and_kill([&] {
      Pond opened = must(Pond::open(pond.name(), options));
      if (with_tier) push(opened, 20);
      return opened;
    });
  }
  static void push(const Pond& opened, int items) {
    Queue queue = opened.scope("scope").queue("work");
    for (int i = 1; i <= items; i++) must(queue.push(std::to_string(i), {.durability = Durability::posted}));
    EXPECT_OK(opened.flush());
  }
  static void expect_items(const Pond& opened, int items) {
    Queue queue = opened.scope("scope").queue("work");
    for (int i = 1; i <= items; i++) EXPECT_EQ(must(queue.pop()), std::to_string(i));
    EXPECT_ANSWER(empty, queue.pop());
  }
  std::uint64_t limit() const { return must(must(Pond::open(pond.name())).stats()).limit_bytes; }
  void write(const std::string& text) const {
    std::ofstream(file(), std::ios::binary | std::ios::trunc) << text;
  }

  TestPond pond;
};

TEST_F(Fixed, OptionsComeBackWhenTheSegmentIsGone) {
  for (bool with_tier : {false, true}) {
    create(kAll, with_tier);
    pond.lose_segment();
    {
      Pond opened = must(Pond::open(pond.name()));
      EXPECT_OK(Pond::open(pond.name(), kAll));
      EXPECT_ANSWER(exists, Pond::open(pond.name(), {.min_page_bytes = 1024}));
      EXPECT_ANSWER(exists, Pond::open(pond.name(), {.max_page_bytes = 65'536}));
      const Stats stats = must(opened.stats());
      EXPECT_EQ(stats.limit_bytes, 8 * kMiB);
      EXPECT_EQ(stats.max_participants, 100u);
      EXPECT_EQ(must(opened.scope("scope").queue("other").options()),
                (QueueOptions{.lease = 30s, .max_attempts = 5, .max_items = 70'000, .max_bytes = 1 << 30}));
      expect_items(opened, with_tier ? 20 : 0);
    }
    EXPECT_OK(Pond::remove(pond.name()));
    EXPECT_FALSE(std::filesystem::exists(pond.folder()));
  }
}

TEST_F(Fixed, OptionsOfWhoeverMakesTheSegmentAnewHoldFromThenOn) {
  create({.limit_bytes = 8 * kMiB, .max_participants = 100});
  pond.lose_segment();
  create({.limit_bytes = 16 * kMiB, .queue = {.max_attempts = 3}}, false);
  EXPECT_ANSWER(exists, Pond::open(pond.name(), {.limit_bytes = 8 * kMiB}));
  pond.lose_segment();
  Pond opened = must(Pond::open(pond.name()));
  EXPECT_EQ(must(opened.stats()).limit_bytes, 16 * kMiB);
  EXPECT_EQ(must(opened.stats()).max_participants, 100u);
  EXPECT_EQ(must(opened.scope("scope").queue("other").options()).max_attempts, 3u);
  expect_items(opened, 20);
}

TEST_F(Fixed, OptionsStayWithAFolderThatIsKept) {
  create(kAll);
  EXPECT_OK(Pond::remove(pond.name(), {.keep_state = true}));
  EXPECT_EQ(limit(), 8 * kMiB);
  EXPECT_OK(Pond::remove(pond.name()));
  EXPECT_EQ(limit(), 256 * kMiB);
}

TEST_F(Fixed, DefaultsTakeNoFile) {
  create({});
  EXPECT_FALSE(std::filesystem::exists(file()));
  create({.limit_bytes = 256 * kMiB}, false);
  EXPECT_FALSE(std::filesystem::exists(file()));
}

TEST_F(Fixed, OptionsThatAreRefusedChangeNothing) {
  create(kAll);
  pond.lose_segment();
  // each is in range; with what is kept it is not
  EXPECT_ANSWER(invalid, Pond::open(pond.name(), {.min_page_bytes = 32'768}));
  EXPECT_FALSE(pond.exists());
  EXPECT_EQ(limit(), 8 * kMiB);
}

TEST_F(Fixed, OptionsThatCannotBeReadAreAnErrorAndTheItemsStay) {
  create(kAll);
  pond.lose_segment();
  std::string good(std::filesystem::file_size(file()), ' ');
  std::ifstream(file(), std::ios::binary).read(good.data(), static_cast<std::streamsize>(good.size()));
  auto with = [&](const std::string& before, const std::string& after) {
    std::string out = good;
    const std::size_t at = out.find(before);
    if (at == std::string::npos) throw std::runtime_error("the file has no " + before);
    return out.replace(at, before.size(), after);
  };
  const std::string limit_line = "\"limit_bytes\": 8388608";
  for (const std::string& bad :
       {std::string(), std::string("garbage"), std::string("[]"), std::string("{}"), std::string(5000, ' '),
        good.substr(0, good.size() / 2), with("limit_bytes", "limit"),
        with(limit_line, "\"limit_bytes\": 8388609"), with(limit_line, "\"limit_bytes\": -1"),
        with(limit_line, "\"limit_bytes\": \"8\""), with(limit_line, "\"limit_bytes\": 1e99"),
        with("\"max_participants\": 100", "\"max_participants\": 4294967396"),
        with("\"queue_lease_ms\": 30000", "\"queue_lease_ms\": 4000000000"), std::string(20'000, '[')}) {
    SCOPED_TRACE(bad.substr(0, 300));
    write(bad);
    const auto refused = Pond::open(pond.name());
    EXPECT_ANSWER(corruption, refused);
    EXPECT_THAT(refused.status().text(), HasSubstr(file().string()));
    EXPECT_ANSWER(corruption, Pond::open(pond.name(), kAll));
    EXPECT_FALSE(pond.exists());
  }
  write(with("\"format\": 1", "\"format\": 2"));
  EXPECT_ANSWER(unsupported, Pond::open(pond.name()));
  std::filesystem::remove(file());
  std::filesystem::create_directory(file());
  EXPECT_THAT(Pond::open(pond.name()).status().text(), HasSubstr(file().string()));
  std::filesystem::remove(file());
  std::filesystem::create_symlink("elsewhere", file());
  EXPECT_THAT(Pond::open(pond.name()).status().text(), HasSubstr(file().string()));
  std::filesystem::remove(file());
  write(good);
  Pond opened = must(Pond::open(pond.name()));
  EXPECT_EQ(must(opened.stats()).limit_bytes, 8 * kMiB);
  expect_items(opened, 20);
}

TEST_F(Fixed, OptionsThatCannotBeWrittenMakeNoPondAndSayWhere) {
  create({}, false);
  EXPECT_OK(Pond::remove(pond.name(), {.keep_state = true}));
  const std::filesystem::path next = file().string() + ".next";
  std::filesystem::create_directory(next);
  const auto refused = Pond::open(pond.name(), kAll);
  EXPECT_FALSE(refused.ok());
  EXPECT_THAT(refused.status().text(), HasSubstr(next.string()));
  EXPECT_FALSE(pond.exists());
  std::filesystem::remove(next);
  ASSERT_EQ(::mkfifo(next.c_str(), 0600), 0);  // nobody reads it
  EXPECT_OK(Pond::open(pond.name(), kAll));
}

TEST_F(Fixed, OptionsAreCheckedByVerify) {
  create(kAll);
  EXPECT_TRUE(clean(must(Pond::open(pond.name()))));
  const std::filesystem::path aside = pond.home() / "aside";
  std::filesystem::rename(file(), aside);
  {
    Pond opened = must(Pond::open(pond.name()));
    const Findings found = must(opened.verify());
    ASSERT_EQ(found.problems.size(), 1u);
    EXPECT_THAT(found.problems[0], HasSubstr("I21"));
    EXPECT_THAT(found.problems[0], HasSubstr("limit_bytes 8388608, not 268435456"));
    std::filesystem::rename(aside, file());
    EXPECT_TRUE(clean(opened));
  }
}

TEST_F(Fixed, OptionsThatFindNoRoomOnTheDiskMakeNoPond) {
  std::filesystem::create_directories(pond.folder());
  std::filesystem::permissions(pond.folder(), std::filesystem::perms::owner_all);
  if (::mount("headpond-test", pond.folder().c_str(), "tmpfs", 0, "size=64k,mode=700") != 0)
    GTEST_SKIP() << "mounting a small file system is not allowed here";
  {
    must(patiently([&] { return Pond::open(pond.name()); }));  // the lock file
    EXPECT_OK(Pond::remove(pond.name(), {.keep_state = true}));
    std::ofstream filler(pond.folder() / "filler", std::ios::binary);
    filler << std::string(1 << 20, 'x') << std::flush;
    const auto refused = Pond::open(pond.name(), kAll);
    EXPECT_ANSWER(full, refused);
    EXPECT_THAT(refused.status().text(), HasSubstr("options.json"));
    EXPECT_FALSE(pond.exists());
    EXPECT_OK(Pond::open(pond.name()));  // what needs no file needs no room
    EXPECT_OK(Pond::remove(pond.name(), {.keep_state = true}));
    filler.close();
    std::filesystem::remove(pond.folder() / "filler");
    EXPECT_OK(Pond::open(pond.name(), kAll));
    EXPECT_OK(Pond::remove(pond.name(), {.keep_state = true}));
  }
  EXPECT_EQ(::umount(pond.folder().c_str()), 0);
}

// ---------------------------------------------------------------------------------------------------------------------- killed

class KilledFixed : public Fixed {
 protected:
  /// What the next opener finds, and that it is found again when the segment goes.
  std::uint64_t twice() const {
    const std::uint64_t now = limit();
    pond.lose_segment();
    EXPECT_EQ(limit(), now);
    return now;
  }
};

TEST_F(KilledFixed, CreatorsLeaveTheirOptionsOrTheDefaults) {
  std::uint64_t moment = 0, named = 0;
  for (; killed_at_call(moment, [&] { must(Pond::open(pond.name(), kAll)); }); ++moment) {
    SCOPED_TRACE(moment);
    // once anybody can find the segment, its options are in the folder
    const bool there = pond.exists();
    named += there;
    if (there) pond.lose_segment();
    const std::uint64_t found = twice();
    EXPECT_TRUE(found == 8 * kMiB || (!there && found == 256 * kMiB)) << found;
    EXPECT_OK(Pond::remove(pond.name()));
    EXPECT_FALSE(std::filesystem::exists(pond.folder()));
  }
  EXPECT_GT(moment, 20u);
  EXPECT_GT(named, 0u);
}

TEST_F(KilledFixed, RebuildersLeaveTheOldOptionsOrTheNewAndAllItems) {
  std::uint64_t moment = 0, changed = 0;
  for (bool on = true; on; ++moment) {
    SCOPED_TRACE(moment);
    create({.limit_bytes = 8 * kMiB});
    pond.lose_segment();
    on = killed_at_call(moment, [&] { must(Pond::open(pond.name(), {.limit_bytes = 16 * kMiB})); });
    if (pond.exists()) {
      pond.lose_segment();
      EXPECT_EQ(limit(), 16 * kMiB);
    }
    const std::uint64_t found = twice();
    changed += found == 16 * kMiB;
    EXPECT_TRUE(found == 8 * kMiB || found == 16 * kMiB) << found;
    {
      Pond opened = must(Pond::open(pond.name()));
      expect_items(opened, 20);
    }
    EXPECT_OK(Pond::remove(pond.name()));
  }
  EXPECT_GT(changed, 2u);
  EXPECT_LT(changed, moment);
}

TEST_F(KilledFixed, RemoversLeaveWhatOpensAndCanBeRemoved) {
  for (std::uint64_t moment = 0; !::testing::Test::HasFailure(); ++moment) {
    SCOPED_TRACE(moment);
    create({.limit_bytes = 8 * kMiB});
    const bool killed = killed_at_call(moment, [&] { EXPECT_OK(Pond::remove(pond.name())); });
    {
      Pond opened = must(Pond::open(pond.name()));
      // the segment is gone at once; options and items go together
      const bool all = must(opened.scope("scope").queue("work").stats()).ready > 0;
      EXPECT_TRUE(killed || !all);
      EXPECT_EQ(must(opened.stats()).limit_bytes, (all ? 8 : 256) * kMiB);
      expect_items(opened, all ? 20 : 0);
    }
    EXPECT_OK(Pond::remove(pond.name()));
    EXPECT_FALSE(std::filesystem::exists(pond.folder()));
    if (!killed) break;
  }
}

// --------------------------------------------------------------------------------------------------------------------- removed

class Removal : public Fixed {
 protected:
  /// A remover that was killed when the databases were as good as gone.
  void remove_half() const {
    std::uint64_t moment = 0;
    const auto begun = [&] { return std::filesystem::exists(pond.folder() / "journal.db-removed"); };
    CallByCall remover([&] { (void)Pond::remove(pond.name()); });
    while (!begun() && remover.run_to(moment)) moment++;
    ASSERT_TRUE(begun());
    remover.kill();
  }
};

TEST_F(Removal, ByOneWhoIsSlowTakesNoPondThatWasMadeMeanwhile) {
  for (std::uint64_t moment = 0;; ++moment) {
    SCOPED_TRACE(moment);
    create({}, false);
    std::filesystem::remove_all(pond.folder());  // no lock is left that keeps others away
    CallByCall remover([&] { (void)Pond::remove(pond.name()); });
    const bool stands = remover.run_to(moment);
    std::optional<Pond> made;
    if (auto opened = Pond::open(pond.name())) {
      made = std::move(*opened);
      must(made->scope("scope").queue("work").push("1"));
    } else {
      EXPECT_TRUE(opened.code() == Code::timeout || opened.code() == Code::unsupported)
          << describe(opened.status());
    }
    if (stands) remover.go_on();
    EXPECT_EQ(remover.wait(), 0);
    if (made) {
      EXPECT_EQ(must(must(Pond::open_existing(pond.name())).scope("scope").queue("work").pop()), "1");
    }
    made.reset();
    EXPECT_OK(Pond::open(pond.name()));
    EXPECT_OK(Pond::remove(pond.name()));
    if (!stands) break;
  }
}

TEST_F(Removal, ThatIsBegunLeavesOpenExistingNothing) {
  create({.limit_bytes = 8 * kMiB});
  std::uint64_t moment = 0;
  CallByCall remover([&] { (void)Pond::remove(pond.name()); });
  while (pond.exists() && remover.run_to(moment)) moment++;
  ASSERT_FALSE(pond.exists());
  Process other([&] { EXPECT_ANSWER(not_found, Pond::open_existing(pond.name())); });
  ASSERT_TRUE(asleep(other.pid()));  // it waits for the right to rebuild
  while (!std::filesystem::exists(pond.folder() / "journal.db-removed"))
    ASSERT_TRUE(remover.run_to(moment++));
  remover.kill();
  EXPECT_EQ(other.wait(), 0);
  EXPECT_FALSE(pond.exists());
}

TEST_F(Removal, ThatWasKilledTakesNoBackupThatIsPutBack) {
  create({.limit_bytes = 8 * kMiB});
  std::filesystem::copy(pond.folder(), pond.home() / "backup");
  remove_half();
  for (const char* name : {"journal.db", "journal.db-wal", "spill.db", "spill.db-wal", "options.json"})
    std::filesystem::copy_file(pond.home() / "backup" / name, pond.folder() / name,
                               std::filesystem::copy_options::overwrite_existing);
  std::filesystem::remove(pond.folder() / "spill.db-shm");
  std::filesystem::remove(pond.folder() / "journal.db-shm");
  for (auto open : {Pond::open, Pond::open_existing}) {
    const auto refused = open(pond.name(), {});
    EXPECT_ANSWER(corruption, refused);
    EXPECT_THAT(refused.status().text(), HasSubstr("journal.db-removed"));
  }
  std::filesystem::remove(pond.folder() / "journal.db-removed");
  Pond opened = must(Pond::open(pond.name()));
  EXPECT_EQ(must(opened.stats()).limit_bytes, 8 * kMiB);
  expect_items(opened, 20);
}

TEST_F(Removal, ThatWasKilledIsOverForWhoIsStillAttached) {
  for (bool with_tier : {false, true}) {
    create({.limit_bytes = 8 * kMiB}, with_tier);
    Pond old = must(Pond::open(pond.name()));
    if (with_tier) {
      remove_half();
    } else {
      std::uint64_t moment = 0;
      CallByCall remover([&] { (void)Pond::remove(pond.name()); });
      while (old.stats().ok() && remover.run_to(moment)) moment++;
      remover.kill();
    }
    Pond renewed = must(Pond::open(pond.name()));
    expect_items(renewed, 0);
    EXPECT_ANSWER(removed, old.scope("scope").queue("work").push("x", {.durability = Durability::durable}));
    must(renewed.scope("scope").queue("work").push("1", {.durability = Durability::durable}));
    { Pond gone = std::move(old); }
    expect_items(renewed, 1);
    EXPECT_TRUE(clean(renewed));
    EXPECT_OK(Pond::remove(pond.name()));
  }
}

TEST_F(Removal, BesideWhoMakesTheDurableTierLeavesNoHalfOfOne) {
  bool made = false;
  for (std::uint64_t moment = 0; !made; ++moment) {
    SCOPED_TRACE(moment);
    create({}, false);
    std::ofstream(pond.folder() / "kept") << "so the folder stays";
    CallByCall maker([&] {
      auto opened = Pond::open(pond.name());  // or makes it anew, if it was stopped before
      if (opened) (void)opened->scope("scope").queue("work").push("1", {.durability = Durability::durable});
    });
    const bool stands = maker.run_to(moment);
    made = std::filesystem::exists(pond.folder() / "journal.db");
    const Status removed = Pond::remove(pond.name());
    EXPECT_TRUE(removed.ok() || removed.code() == Code::timeout) << describe(removed);
    if (stands) maker.go_on();
    EXPECT_EQ(maker.wait(), 0);
    EXPECT_TRUE(clean(must(Pond::open(pond.name()))));
    EXPECT_OK(Pond::remove(pond.name()));
    ASSERT_TRUE(stands || made);
  }
}

TEST_F(Removal, ByOneWhoWasSlowLeavesThePondThatWasMadeMeanwhile) {
  for (std::uint64_t moment = 0;; ++moment) {
    SCOPED_TRACE(moment);
    create({.limit_bytes = 8 * kMiB});
    CallByCall slow([&] { (void)Pond::remove(pond.name()); });
    if (!slow.run_to(moment)) break;
    if (!pond.exists()) break;  // it has begun, with the folder's lock
    const Status removed = Pond::remove(pond.name());
    if (removed.code() == Code::timeout) continue;
    EXPECT_OK(removed);
    create({.limit_bytes = 16 * kMiB});
    slow.go_on();
    EXPECT_EQ(slow.wait(), 0);
    Pond opened = must(Pond::open_existing(pond.name()));
    EXPECT_EQ(must(opened.stats()).limit_bytes, 16 * kMiB);
    expect_items(opened, 20);
    EXPECT_OK(Pond::remove(pond.name()));
  }
}

TEST_F(Removal, IsNoFindingForWhoVerifies) {
  for (int i = 0; i < 40; i++) {
    create({.limit_bytes = 8 * kMiB}, false);
    Shared<Event> verifies;
    Process verifier([&] {
      Pond opened = must(Pond::open(pond.name()));
      auto found = opened.verify();
      for (; found; found = opened.verify()) {
        EXPECT_THAT(found->problems, ::testing::IsEmpty());
        verifies->raise();
      }
      EXPECT_ANSWER(removed, found);
    });
    ASSERT_TRUE(verifies->wait(2));
    EXPECT_OK(Pond::remove(pond.name()));
    EXPECT_EQ(verifier.wait(), 0);
  }
}

}  // namespace
