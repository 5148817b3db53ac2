// A small pond over a durable tier that is to fail it, and what it must keep to: nothing dropped, each item once and in order.
#pragma once

#include <gmock/gmock.h>
#include <sys/mount.h>

#include <optional>

#include "foreign.h"
#include "test_pond.h"

namespace support {

inline Options small_and_hasty() {
  Options options;
  options.limit_bytes = 1 << 20, options.max_page_bytes = 4096, options.full_timeout = milliseconds(0);
  return options;
}

class FaultyTier : public ::testing::Test {
 protected:
  Queue work() { return opened->scope("scope").queue("work"); }
  void open() { opened.emplace(pond.open()); }

  /// Pushes numbered items until one is refused, at most so many.
  Status push_until_refused(std::uint64_t most = 200'000) {
    Queue queue = work();
    for (; pushed < most; pushed++)
      if (Status refused = queue.push(patterned(pushed + 1, 300)).status(); !refused) return refused;
    return {};
  }
  Status push_more(std::uint64_t count = 4000) { return push_until_refused(pushed + count); }
  /// The next items, each once and in order.
  void expect_popped(std::uint64_t count) {
    Queue queue = work();
    for (std::uint64_t n = 0; n < count; n++, popped++) {
      auto item = queue.pop();
      ASSERT_OK(item);
      ASSERT_EQ(number_of(*item), popped + 1);
    }
  }
  /// All that were pushed, and nothing else.
  void expect_all_popped() {
    expect_popped(pushed - popped);
    EXPECT_ANSWER(empty, work().pop());
    EXPECT_TRUE(clean(*opened));
  }
  std::string file(const char* name) const { return pond.folder() / name; }

  TestPond pond{small_and_hasty()};
  std::optional<Pond> opened;
  std::uint64_t pushed = 0, popped = 0;
};

/// A file system of 16 MiB; not mounted where that is not allowed.
class SmallDisk {
 public:
  explicit SmallDisk(const TestPond& pond) : path_(pond.home() / "disk") {
    std::filesystem::create_directory(path_);
    mounted_ = ::mount("headpond-test", path_.c_str(), "tmpfs", 0, "size=16m,mode=700") == 0;
  }
  ~SmallDisk() {
    if (mounted_ && ::getpid() == owner_ && ::umount(path_.c_str()) != 0)
      ADD_FAILURE() << path_ << " is still in use";
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }
  const std::filesystem::path& path() const { return path_; }
  /// Takes so many bytes, or all that is left.
  void fill(std::uint64_t bytes = UINT64_MAX) const {
    std::ofstream out(path_ / "ballast", std::ios::binary);
    const std::string block(4096, 'b');
    for (std::uint64_t done = 0; done < bytes && out << block << std::flush;) done += block.size();
  }
  void make_room() const { std::filesystem::remove(path_ / "ballast"); }
  bool grow() const {
    return ::mount("headpond-test", path_.c_str(), "tmpfs", MS_REMOUNT, "size=32m,mode=700") == 0;
  }

 private:
  const pid_t owner_ = ::getpid();
  std::filesystem::path path_;
  bool mounted_ = false;
};

}  // namespace support
