// Much more than the segment holds goes through it: in order, each item once, the segment within its limit, processes small, and the disk
// space given back at the end.
//
// HEADPOND_VOLUME_ITEMS: items, each of 64 bytes; 10,000,000 is the full size.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <vector>

#include "support/test_pond.h"

namespace {

using namespace support;

constexpr std::uint64_t kItemBytes = 64, kLimit = 16 << 20;
constexpr std::uint64_t kMost = 1 << 27;  // items that the shared notes have room for
constexpr double kMiB = 1 << 20;

std::uint64_t item_count() {
  return std::min(number_from("HEADPOND_VOLUME_ITEMS", 1'000'000), kMost) / 4 * 4;
}
std::chrono::seconds enough_time() { return std::chrono::seconds(300 + item_count() / 20'000); }

Options small() {
  Options options;
  options.limit_bytes = kLimit, options.on_full = OnFull::spill;
  options.full_timeout = stretched(milliseconds(60'000));
  return options;
}

/// Of this process, at most so far, shared memory included; a sanitizer's own memory would count, too.
void expect_small_process() {
  if (kAddressSanitizer) return;
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line) && !line.starts_with("VmHWM:")) continue;
  ASSERT_TRUE(status);
  EXPECT_LT(std::stoull(line.substr(6)), 64u << 10) << "KiB were resident";
}

class Volume : public ::testing::Test {
 protected:
  void SetUp() override { watchdog(enough_time()); }
  template <class Body>
  Process process(Body body) const {
    return Process([body] {
      watchdog(enough_time());
      body();
      expect_small_process();
    });
  }
  /// Pushes its share of the items, in order: every `step`-th from `first` on.
  void push(std::uint64_t first, std::uint64_t step) const {
    Queue queue = test.queue();
    std::array<char, kItemBytes> item{};
    for (std::uint64_t n = first; n < item_count(); n += step) {
      std::memcpy(item.data(), &n, sizeof n);
      must(queue.push({item.data(), item.size()}));
    }
  }
  static std::uint64_t number_in(const std::string& item) {
    if (item.size() != kItemBytes) throw std::runtime_error("an item came back with another size");
    std::uint64_t number = 0;
    std::memcpy(&number, item.data(), sizeof number);
    return number;
  }
  /// While that runs, the segment keeps to its limit.
  void expect_within_limit(Process& process) const {
    Pond pond = test.open();
    std::uint64_t most = 0;
    for (bool over = false; !over;) {
      over = process.ended();  // once more behind its end
      most = std::max(most, must(patiently([&] { return pond.stats(); })).page_bytes);
      timespec nap{0, 5'000'000};
      ::nanosleep(&nap, nullptr);
    }
    EXPECT_LE(most, kLimit);
    EXPECT_GT(most, kLimit / 2);
    EXPECT_EQ(process.wait(), 0);
  }
  void expect_spilled() const {
    QueueStats stats = must(test.queue().stats());
    EXPECT_EQ(stats.ready, item_count());
    EXPECT_GT(stats.spilled, item_count() - kLimit / (kItemBytes + 16));
    EXPECT_GT(disk_mib(), static_cast<double>(stats.spilled * kItemBytes) / kMiB);
  }
  /// Everybody who took something out has left, or has had nothing to do.
  void expect_disk_given_back() const {
    EXPECT_LT(disk_mib(), 32);
    Pond pond = test.open();
    EXPECT_ANSWER(empty, pond.scope("scope").queue("work").pop());
    EXPECT_TRUE(clean(pond));
  }
  double disk_mib() const {
    std::uintmax_t bytes = 0;
    for (const auto& file : std::filesystem::directory_iterator(test.folder()))
      if (file.is_regular_file()) bytes += file.file_size();
    return static_cast<double>(bytes) / kMiB;
  }

  TestPond test{small()};
};

TEST_F(Volume, OneProcessTakesAllOfItInExactOrder) {
  Pond keep = test.open();
  Process pusher = process([&] { push(0, 1); });
  expect_within_limit(pusher);
  expect_spilled();
  Process popper = process([&] {
    Queue queue = test.queue();
    for (std::uint64_t n = 0; n < item_count(); n++) ASSERT_EQ(number_in(must(queue.pop())), n);
    EXPECT_ANSWER(empty, queue.pop());
  });
  EXPECT_EQ(popper.wait(enough_time()), 0);
  expect_disk_given_back();
}

TEST_F(Volume, FourProcessesTakeEachItemOnceAndEachPushersInOrder) {
  constexpr std::uint64_t kEach = 4;
  struct Seen {
    std::atomic<std::uint64_t> popped{0};
    std::atomic<std::uint8_t> item[kMost / 8];
  };
  Shared<Seen> seen;
  Shared<Event> pushed, go_on;
  Pond keep = test.open();
  std::vector<Process> processes;
  for (std::uint64_t me = 0; me < kEach; me++)
    processes.push_back(process([&, me] {
      push(me, kEach);
      pushed->raise();
      go_on->await(1, enough_time());
      Queue queue = test.queue();
      std::array<std::uint64_t, kEach> next{};
      while (seen->popped < item_count()) {
        auto item = queue.pop(50ms);
        if (item.code() == Code::empty || item.code() == Code::timeout) continue;
        const std::uint64_t n = number_in(must(std::move(item)));
        ASSERT_LT(n, item_count());
        ASSERT_FALSE(seen->item[n / 8].fetch_or(static_cast<std::uint8_t>(1 << n % 8)) >> n % 8 & 1)
            << "item " << n << " came twice";
        ASSERT_GE(n / kEach, next[n % kEach]) << "of pusher " << n % kEach;
        next[n % kEach] = n / kEach + 1;
        seen->popped++;
      }
    }));
  ASSERT_TRUE(pushed->wait(kEach, enough_time()));
  expect_spilled();
  go_on->raise();
  for (Process& each : processes) EXPECT_EQ(each.wait(enough_time()), 0);
  EXPECT_EQ(seen->popped.load(), item_count());
  expect_disk_given_back();
}

}  // namespace
