// A durable tier of a test's own, without a pond around it.
#pragma once

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "answers.h"
#include "process.h"
#include "src/sys.h"
#include "src/tier.h"

namespace support {

using namespace headpond;
using namespace headpond::internal;

/// A deadline so far ahead, stretched where tests run slowly.
inline std::uint64_t soon(milliseconds ahead = 60s) {
  return sys::precise_us() + static_cast<std::uint64_t>(stretched(ahead).count()) * 1000;
}

/// A folder as a pond's state folder is; gone at the end.
class TestFolder {
 public:
  explicit TestFolder(const std::string& base = "/tmp") {
    std::string path = base + "/headpond-tier-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) throw std::runtime_error("mkdtemp failed in " + base);
    path_ = path;
  }
  ~TestFolder() {
    if (::getpid() != owner_) return;
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  std::string path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  const pid_t owner_ = ::getpid();
  std::string path_;
};

inline Result<std::unique_ptr<Tier>> try_tier(const std::string& folder, bool create = true,
                                              std::optional<TierIdentity> expected = {}) {
  return open_tier({.folder = folder, .create = create, .expected = expected, .vfs = ""}, soon());
}
inline std::unique_ptr<Tier> tier_in(const std::string& folder) { return must(try_tier(folder)); }

inline TierNames names_of(std::uint64_t stream) {
  return {stream, "scope", std::string("n\0s", 3), "stream " + std::to_string(stream), 1, 0};
}

/// A page with as many ids as records.
inline TierPage page_of(std::uint64_t stream, std::uint64_t first, std::uint64_t last,
                        std::string_view bytes) {
  return {stream, first, last, static_cast<std::uint32_t>(last - first + 1), 1'700'000'000'000, bytes, false};
}
inline Status store_one(Tier& tier, const TierPage& page) { return tier.store(std::span(&page, 1), soon()); }

inline JournalEntry push_of(std::uint64_t stream, std::uint64_t seq, std::string_view payload,
                            std::uint32_t moves = 0) {
  JournalEntry entry;
  entry.kind = JournalEntry::Kind::push, entry.moves = moves, entry.payload = payload;
  entry.birth_stream = stream, entry.birth_seq = seq, entry.stream = stream, entry.seq = seq;
  return entry;
}
inline JournalEntry ack_of(std::uint64_t stream, std::uint64_t first, std::uint64_t last) {
  JournalEntry entry;
  entry.kind = JournalEntry::Kind::ack;
  entry.birth_stream = stream, entry.birth_seq = first, entry.birth_last = last;
  return entry;
}
inline Result<std::uint64_t> commit_all(Tier& tier, const std::vector<JournalEntry>& entries,
                                        std::uint64_t after = 0) {
  return tier.commit(entries, after, soon());
}

/// What survivors() visits, as text: "push 1:7 at 2:3 x2 'payload'".
inline std::string shown(const JournalEntry& entry) {
  std::string birth = std::to_string(entry.birth_stream) + ":" + std::to_string(entry.birth_seq);
  if (entry.kind == JournalEntry::Kind::ack) return "ack " + birth + "-" + std::to_string(entry.birth_last);
  std::string what = entry.kind == JournalEntry::Kind::push ? "push " : "note ";
  return what + birth + " at " + std::to_string(entry.stream) + ":" + std::to_string(entry.seq) + " x" +
         std::to_string(entry.moves) + " '" + std::string(entry.payload) + "'";
}
inline std::vector<std::string> survivors_of(Tier& tier) {
  std::vector<std::string> seen;
  auto visit = [&](const JournalEntry& entry) {
    seen.push_back(shown(entry));
    return Status();
  };
  EXPECT_OK(tier.survivors([](const Tier::Acked&) { return Status(); }, visit, soon()));
  return seen;
}
inline std::vector<std::string> journal_of(Tier& tier) {
  std::vector<std::string> seen;
  auto visit = [&](const JournalEntry& entry) {
    seen.push_back(shown(entry));
    return Status();
  };
  EXPECT_OK(tier.replay(visit, soon()));
  return seen;
}

}  // namespace support
