// A pond of a test's own: its name, its folder, and nothing of it left at the end.
#pragma once

#include <dirent.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include "answers.h"
#include "headpond/headpond.h"
#include "patterned.h"
#include "process.h"

namespace support {

using namespace headpond;

/// Sets HEADPOND_HOME to a fresh folder for its life; the test's processes inherit it.
class TestHome {
 public:
  TestHome() {
    char path[] = "/tmp/headpond-test-XXXXXX";
    if (::mkdtemp(path) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = path;
    ::setenv("HEADPOND_HOME", path, 1);
    watchdog();
  }
  ~TestHome() {
    if (::getpid() != owner_) return;
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
    ::unsetenv("HEADPOND_HOME");
    ::alarm(0);
  }
  TestHome(const TestHome&) = delete;
  TestHome& operator=(const TestHome&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  const pid_t owner_ = ::getpid();
  std::filesystem::path path_;
};

/// A name that nobody else has, and what it stands for on disk. Copyable into the bodies of processes by reference only.
class TestPond {
 public:
  explicit TestPond(Options options = {}) : options_(std::move(options)) {
    static int number = 0;
    name_ = "test-" + std::to_string(::getpid()) + "-" + std::to_string(++number);
  }
  ~TestPond() {
    if (::getpid() != owner_) return;
    (void)Pond::remove(name_);
    EXPECT_FALSE(exists()) << "remove() left " << segment_path();
    ::unlink(segment_path().c_str());
  }
  TestPond(const TestPond&) = delete;
  TestPond& operator=(const TestPond&) = delete;

  const std::string& name() const { return name_; }
  /// Create or attach, with the test's options.
  Pond open() const {
    return must(patiently([&] { return Pond::open(name_, options_); }));
  }
  /// A process that opens the pond, does that and is killed.
  template <class Body>
  void in_a_life(Body body) const {
    run_and_kill([&] {
      Pond opened = open();
      body(opened);
      return opened;
    });
  }
  /// As a reboot does it.
  void lose_segment() const { ASSERT_EQ(::unlink(segment_path().c_str()), 0); }
  Queue queue(Bytes queue = "work", Bytes scope = "scope") const { return open().scope(scope).queue(queue); }
  Log log(Bytes ns = "log", Bytes scope = "scope") const { return open().scope(scope).log(ns); }
  const Options& options() const { return options_; }

  std::string segment_path() const { return "/dev/shm/headpond." + std::to_string(::getuid()) + "." + name_; }
  std::filesystem::path folder() const { return home_.path() / name_; }
  const std::filesystem::path& home() const { return home_.path(); }
  bool exists() const {
    struct stat status;
    return ::lstat(segment_path().c_str(), &status) == 0;
  }

 private:
  const pid_t owner_ = ::getpid();
  TestHome home_;
  Options options_;
  std::string name_;
};

/// Every invariant of the segment holds; otherwise the findings.
inline ::testing::AssertionResult clean(const Pond& pond) {
  Result<Findings> findings = patiently([&] { return pond.verify(); });
  if (!findings) return ::testing::AssertionFailure() << "verify answered " << describe(findings.status());
  if (findings->clean()) return ::testing::AssertionSuccess();
  auto failure = ::testing::AssertionFailure() << findings->problems.size() << " findings:";
  for (std::size_t i = 0; i < findings->problems.size() && i < 10; ++i)
    failure << "\n  " << findings->problems[i];
  return failure;
}
inline ::testing::AssertionResult clean(const TestPond& pond) { return clean(pond.open()); }

/// What the figures of the pond say of that stream.
inline StreamInfo info_of(const Pond& pond, Bytes name, Bytes scope = "scope") {
  for (StreamInfo& stream : must(pond.stats()).details)
    if (stream.name == name && stream.scope == scope) return std::move(stream);
  throw std::runtime_error("no stream of that name");
}

/// Pops all that is ready.
inline std::vector<std::string> pop_all(Queue queue) {
  std::vector<std::string> items;
  for (;;) {
    Result<std::string> item = patiently([&] { return queue.pop(); });
    if (!item) {
      EXPECT_ANSWER(empty, item);
      return items;
    }
    items.push_back(std::move(*item));
  }
}

/// Seqs and payloads that a scan finds.
inline std::vector<std::pair<std::uint64_t, std::string>> read_all(const Log& log, ScanOptions options = {}) {
  std::vector<std::pair<std::uint64_t, std::string>> records;
  Scan scan = log.scan(options);
  for (const Record& record : scan) records.emplace_back(record.seq, record.payload);
  EXPECT_OK(scan.status());
  return records;
}

/// The numbers of all that is ready, popped.
inline std::vector<std::uint64_t> pop_numbers(Queue queue) {
  std::vector<std::uint64_t> numbers;
  for (const std::string& item : pop_all(queue)) numbers.push_back(number_of(item));
  return numbers;
}
/// All from the first to the last.
inline std::vector<std::uint64_t> numbers(std::uint64_t first, std::uint64_t last) {
  std::vector<std::uint64_t> all(last - first + 1);
  std::iota(all.begin(), all.end(), first);
  return all;
}

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}
/// Mappings of this process whose line names the text.
inline std::size_t mappings_of(const std::string& text) {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) count += line.find(text) != std::string::npos;
  return count;
}
/// Names in the shared-memory folder that hold the text.
inline std::vector<std::string> shared_memory_names(const std::string& text) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    if (entry.path().filename().string().find(text) != std::string::npos)
      names.push_back(entry.path().filename());
  }
  return names;
}

}  // namespace support
