// Damaged and foreign segments and folders: an error that names the file, and neither a crash nor a hang.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "src/layout.h"
#include "support/test_pond.h"

namespace {

using namespace headpond;
using namespace support;
using nlohmann::json;
namespace fs = std::filesystem;

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
