// A pond whose journal fails it: what durable operations answer. They did not happen, or happened in memory and say why; what was said to be
// durable stays so; and they are durable again when the cause is gone.

#include "support/faulty_tier.h"

namespace {

using namespace support;
using testing::HasSubstr;

constexpr Durability kDurable = Durability::durable;

class JournalFaults : public FaultyTier {
 protected:
  static Options patient(milliseconds durable_timeout = stretched(60s)) {
    Options options = small_and_hasty();
    options.durable_timeout = durable_timeout;
    return options;
  }
  void open_patient(const std::filesystem::path& home = {}) {
    Options options = patient();
    options.state_home = home;
    opened.emplace(must(Pond::open(pond.name(), options)));
  }
  /// For where the disk is not to answer in time.
  void open_hasty() {
    opened.reset();
    opened.emplace(must(Pond::open(pond.name(), patient(300ms))));
  }
  Status push(std::size_t bytes = 100) {
    Status done = work().push(patterned(pushed + 1, bytes), {.durability = kDurable}).status();
    if (done) pushed++;
    return done;
  }
  void expect_durable() {
    Status done = push();
    EXPECT_OK(done);
    EXPECT_EQ(done.durability(), kDurable) << name(done.cause()) << ": " << done.text();
  }
  /// Done, but in memory alone, for that reason.
  static void expect_in_memory(const Status& done, Code why, const char* text) {
    EXPECT_OK(done);
    EXPECT_EQ(done.durability(), Durability::memory);
    EXPECT_EQ(done.cause(), why) << done.text();
    EXPECT_THAT(done.text(), HasSubstr(text));
  }
  Status ack_next() {
    Claim claim = must(work().claim());
    EXPECT_EQ(number_of(claim.payload()), ++popped);
    return claim.ack({.durability = kDurable});
  }
};

// ------------------------------------------------------------------------------------------------------------------------- full

TEST_F(JournalFaults, OnAFullDiskWhatIsDoneIsInMemoryAndSaysSoUntilThereIsRoom) {
  SmallDisk disk(pond);
  if (!disk.mounted()) GTEST_SKIP() << "mounting a small file system is not allowed here";
  Shared<std::array<std::atomic<std::uint64_t>, 2>> kept;  // the last ones that were said to be durable
  Process life([&] {
    open_patient(disk.path());
    for (int i = 0; i < 20; i++) expect_durable();
    disk.fill();
    Status done;
    for (int i = 0; i < 3000 && done.cause() == Code::ok; i++)
      if (done = push(8000); !done) break;
    expect_in_memory(done, Code::full, "journal.db");
    EXPECT_GE(pushed, 20u);
    const std::uint64_t in_doubt = pushed;
    EXPECT_EQ(must(work().size()), pushed);
    expect_in_memory(ack_next(), Code::full, "journal.db");
    disk.make_room();
    expect_durable();
    EXPECT_OK(opened->flush());
    (*kept)[0] = in_doubt, (*kept)[1] = pushed;
    ::kill(::getpid(), SIGKILL);
  });
  EXPECT_EQ(life.wait(), 128 + SIGKILL);
  pond.lose_segment();
  Process next([&] {
    open_patient(disk.path());
    std::vector<std::uint64_t> expected;
    for (std::uint64_t n = 2; n <= (*kept)[1]; n++)  // 1 is acked, and its ack was flushed
      if (n != (*kept)[0]) expected.push_back(n);
    EXPECT_EQ(pop_numbers(work()), expected);
    opened.reset();
    EXPECT_OK(Pond::remove(pond.name(), {.state_home = disk.path()}));
  });
  EXPECT_EQ(next.wait(), 0);
}

TEST_F(JournalFaults, OnADiskThatIsFullFromTheOutsetNothingHappensUntilThereIsRoom) {
  SmallDisk disk(pond);
  if (!disk.mounted()) GTEST_SKIP() << "mounting a small file system is not allowed here";
  open_patient(disk.path());
  must(work().push("in memory"));
  disk.fill();
  EXPECT_ANSWER(full, push());
  EXPECT_EQ(must(work().size()), 1u);
  disk.make_room();
  expect_durable();
  EXPECT_EQ(must(work().size()), 2u);
  opened.reset();
  EXPECT_OK(Pond::remove(pond.name(), {.state_home = disk.path()}));
}

// ---------------------------------------------------------------------------------------------------------- locked, forbidden

TEST_F(JournalFaults, ALockedJournalIsATimeoutUntilItIsFree) {
  open_patient();
  expect_durable();
  open_hasty();
  ASSERT_TRUE(eventually([&] { return push().durability() == kDurable; }));  // its files are open
  const std::uint64_t before = must(work().size());
  {
    Foreign other(file("journal.db"));
    other.run("BEGIN IMMEDIATE");
    expect_in_memory(push(), Code::timeout, "journal.db");
    expect_in_memory(ack_next(), Code::timeout, "journal.db");
    EXPECT_EQ(must(work().size()), before);
    EXPECT_ANSWER(timeout, opened->flush());
    Process newcomer([&] {  // it has to make its queue known first
      open_hasty();
      EXPECT_ANSWER(timeout, opened->scope("scope").queue("other").push("x", {.durability = kDurable}));
      EXPECT_ANSWER(empty, opened->scope("scope").queue("other").pop());
    });
    EXPECT_EQ(newcomer.wait(), 0);
    other.run("ROLLBACK");
  }
  // A slow disk may need longer than that.
  EXPECT_TRUE(eventually([&] { return push().durability() == kDurable; }));
  EXPECT_OK(patiently([&] { return opened->flush(); }));
  EXPECT_TRUE(eventually([&] {
    EXPECT_OK(push());
    return ack_next().durability() == kDurable;
  }));
}

TEST_F(JournalFaults, AForeignReaderDisturbsNobody) {
  open_patient();
  expect_durable();
  EXPECT_OK(push_more(8000));
  Foreign pages(file("spill.db")), journal(file("journal.db"));
  pages.run("BEGIN; SELECT count(*) FROM page");
  journal.run("BEGIN; SELECT count(*) FROM journal");
  for (int i = 0; i < 20; i++) expect_durable();
  EXPECT_OK(push_more(8000));
  expect_popped(8000);
  pages.run("COMMIT"), journal.run("COMMIT");
  EXPECT_OK(push_more(8000));
  expect_all_popped();
}

TEST_F(JournalFaults, AReadOnlyFileSystemIsPermissionForWhoOpensAndNothingToWhoHasOpened) {
  open_patient();
  expect_durable();
  const std::string folder = pond.folder();
  if (::mount(folder.c_str(), folder.c_str(), nullptr, MS_BIND, nullptr) != 0 ||
      ::mount(nullptr, folder.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) != 0)
    GTEST_SKIP() << "mounting is not allowed here";
  expect_durable();  // through the connection that is held
  Process other([&] {
    auto refused = Pond::open(pond.name(), patient());
    EXPECT_ANSWER(permission, refused);
    EXPECT_THAT(refused.status().text(), HasSubstr(folder));
  });
  EXPECT_EQ(other.wait(), 0);
  EXPECT_EQ(::umount(folder.c_str()), 0);
  expect_durable();
  Process later([&] {
    open_patient();
    expect_durable();
    expect_all_popped();
  });
  EXPECT_EQ(later.wait(), 0);
}

// Root may write whatever it likes: for this the pond is another user's.
TEST_F(JournalFaults, FilesThatTheirOwnerMayNotWriteArePermissionForWhoOpens) {
  constexpr uid_t kNobody = 65534;
  const std::filesystem::path home = pond.home() / "nobody";
  std::filesystem::create_directory(home);
  const bool root = ::getuid() == 0;
  if (root) {
    ASSERT_EQ(::chmod(pond.home().c_str(), 0711), 0);
    ASSERT_EQ(::chown(home.c_str(), kNobody, kNobody), 0);
  }
  auto drop_rights = [&] {
    if (root && ::setresuid(kNobody, kNobody, kNobody) != 0) throw std::runtime_error("setresuid failed");
  };
  auto chmod_both = [&](mode_t mode) {
    for (const char* name : {"spill.db", "journal.db"})
      EXPECT_EQ(::chmod((home / pond.name() / name).c_str(), mode), 0);
  };
  Process holder([&] {
    drop_rights();
    open_patient(home);
    expect_durable();
    EXPECT_OK(push_more(8000));
    chmod_both(0400);
    expect_durable();  // who has them open goes on
    EXPECT_OK(push_more());
    Process other([&] {
      open_patient(home);
      const std::uint64_t before = pushed;
      Status refused = push();
      EXPECT_ANSWER(permission, refused);
      EXPECT_THAT(refused.text(), HasSubstr(".db"));
      EXPECT_ANSWER(permission, push_until_refused());
      EXPECT_EQ(must(work().size()), pushed);
      EXPECT_GE(pushed, before);
      chmod_both(0600);
      expect_durable();
      EXPECT_OK(push_more());
      expect_all_popped();
    });
    EXPECT_EQ(other.wait(), 0);
    opened.reset();
    EXPECT_OK(Pond::remove(pond.name(), {.state_home = home}));
  });
  EXPECT_EQ(holder.wait(), 0);
}

// ------------------------------------------------------------------------------------------------------------ replaced, newer

TEST_F(JournalFaults, AReplacedJournalIsCorruptionUntilItIsPutBack) {
  open_patient();
  expect_durable();
  std::filesystem::rename(file("journal.db"), file("aside"));
  std::ofstream(file("journal.db"), std::ios::binary) << std::string(50'000, 'x');
  ASSERT_EQ(::chmod(file("journal.db").c_str(), 0600), 0);
  expect_in_memory(push(), Code::corruption, "journal.db");
  expect_in_memory(ack_next(), Code::corruption, "journal.db");
  EXPECT_EQ(must(work().size()), 1u);
  Process other([&] {
    open_patient();
    EXPECT_ANSWER(corruption, push());
    EXPECT_EQ(must(work().size()), pushed - popped);
  });
  EXPECT_EQ(other.wait(), 0);
  std::filesystem::rename(file("aside"), file("journal.db"));
  opened.reset();
  open_patient();
  expect_durable();
  EXPECT_OK(opened->flush());
}

TEST_F(JournalFaults, ANewerOrAForeignJournalIsRefusedUntilItIsOurs) {
  open_patient();
  expect_durable();
  auto number = [&](const char* pragma) {
    Foreign connection(file("journal.db"));
    return connection.number(std::string("PRAGMA ") + pragma);
  };
  const int layout = number("user_version"), application = number("application_id");
  struct Mark {
    const char* pragma;
    int wrong, ours;
    Code code;
  };
  for (const Mark& mark : {Mark{"user_version", 1000, layout, Code::unsupported},
                           Mark{"application_id", 12345, application, Code::corruption}}) {
    SCOPED_TRACE(mark.pragma);
    auto set = [&](int value) {
      Foreign(file("journal.db")).run(std::string("PRAGMA ") + mark.pragma + " = " + std::to_string(value));
    };
    set(mark.wrong);
    Process other([&] {
      open_patient();
      Status refused = push();
      EXPECT_TRUE(answers(mark.code, refused));
      EXPECT_THAT(refused.text(), HasSubstr("journal.db"));
      EXPECT_EQ(must(work().size()), pushed);
    });
    EXPECT_EQ(other.wait(), 0);
    set(mark.ours);
    Process later([&] {
      open_patient();
      expect_durable();
    });
    EXPECT_EQ(later.wait(), 0);
    pushed++;
  }
}

// --------------------------------------------------------------------------------------------------------- damaged at rest

// Nobody is attached when it happens; the segment lives. Who comes next is told before anything is skipped or given twice; or nothing is
// missing, since that part of the file was not needed any more: a WAL begins anew and leaves its old end behind.
class DamagedAtRest : public JournalFaults, public ::testing::WithParamInterface<const char*> {};

TEST_P(DamagedAtRest, IsToldAndNothingIsSkipped) {
  Process life([&] {
    open_patient();
    for (int i = 0; i < 20; i++) expect_durable();
    EXPECT_OK(push_more(8000));
  });
  EXPECT_EQ(life.wait(), 0);
  const std::string what = GetParam(), damaged = file(what.substr(0, what.find(' ')).c_str());
  if (what.ends_with("gone")) {
    ASSERT_TRUE(std::filesystem::remove(damaged));
  } else if (what.ends_with("halved")) {
    std::filesystem::resize_file(damaged, std::filesystem::file_size(damaged) / 2);
  } else {
    std::fstream io(damaged, std::ios::binary | std::ios::in | std::ios::out);
    if (what.ends_with("middle"))
      io.seekp(static_cast<std::streamoff>(std::filesystem::file_size(damaged) / 2));
    io << std::string(what.ends_with("garbage") ? std::filesystem::file_size(damaged) : 4096, 'x');
  }
  Process next([&] {
    open_patient();
    pushed = 8020;
    Status said = push();
    Queue queue = work();
    Result<std::string> item = Code::empty;
    for (; (item = queue.pop()); popped++) ASSERT_EQ(number_of(*item), popped + 1);
    const bool told = said.code() == Code::corruption || said.cause() == Code::corruption ||
                      item.code() == Code::corruption;
    if (!told) {
      EXPECT_EQ(said.durability(), kDurable) << describe(said);
      EXPECT_ANSWER(empty, item);
      EXPECT_EQ(popped, pushed);
    }
    EXPECT_TRUE(told || !what.ends_with("gone"));
  });
  EXPECT_EQ(next.wait(), 0);
}
INSTANTIATE_TEST_SUITE_P(, DamagedAtRest,
                         ::testing::Values("spill.db-wal gone", "spill.db-wal header", "spill.db-wal middle",
                                           "spill.db-wal halved", "spill.db garbage", "spill.db gone",
                                           "journal.db-wal gone", "journal.db-wal header",
                                           "journal.db-wal middle", "journal.db-wal halved",
                                           "journal.db garbage", "journal.db gone"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::erase_if(name, [](char c) { return c == '.' || c == '-'; });
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

// A program that opens and closes the databases while nobody else has them open copies their logs into them, and takes the logs away.
TEST_F(JournalFaults, ALogThatAForeignProgramTookAwayIsToldAndTheAdviceBringsAllBack) {
  Process life([&] {
    open_patient();
    for (int i = 0; i < 20; i++) expect_durable();
  });
  EXPECT_EQ(life.wait(), 0);
  pushed = 20;
  std::vector<std::ifstream> kept;  // the next log does not get the inode of this one
  for (const char* name : {"spill.db", "journal.db"}) {
    kept.emplace_back(file(name) + "-wal");
    {
      Foreign other(file(name));
      other.takes_the_log_away();
      other.run("PRAGMA user_version");
    }
    ASSERT_FALSE(std::filesystem::exists(file(name) + "-wal"));
  }
  Process told([&] {
    open_patient();
    pushed = 20;
    const Status said = push();
    EXPECT_EQ(said ? said.cause() : said.code(), Code::corruption);
    for (const char* part : {"-wal", "headpond rm --keep-state"}) EXPECT_THAT(said.text(), HasSubstr(part));
  });
  EXPECT_EQ(told.wait(), 0);
  EXPECT_OK(Pond::remove(pond.name(), {.keep_state = true}));
  open_patient();
  expect_all_popped();
  expect_durable();
}

// The file is cut short under who has it open: SQLite goes on writing, and reads what is not there as damage.
TEST_F(JournalFaults, AFileCutShortInUseIsCorruptionAndNothingIsSkipped) {
  open_patient();
  EXPECT_OK(push_more(40'000));  // more than a WAL's worth
  ASSERT_GT(std::filesystem::file_size(file("spill.db")), 1u << 20);
  std::filesystem::resize_file(file("spill.db"), 256 << 10);
  Queue queue = work();
  Result<std::string> item = Code::empty;
  for (; (item = queue.pop()); popped++) ASSERT_EQ(number_of(*item), popped + 1);
  EXPECT_ANSWER(corruption, item);
  EXPECT_THAT(item.status().text(), HasSubstr("spill.db"));
  EXPECT_LT(popped, pushed);
  EXPECT_EQ(must(queue.size()), pushed - popped);
  EXPECT_ANSWER(corruption, push_until_refused());  // nothing more is written there
}

}  // namespace
