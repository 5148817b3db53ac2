#include "batches.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "session.h"
#include "stop.h"

namespace headpond::command {

namespace {

using Clock = std::chrono::steady_clock;

/// How long one call waits for room: as long as a signal may go unnoticed.
constexpr milliseconds kSlice{100};
constexpr milliseconds kBriefly{1};  // long enough to spill
/// Who waits for longer hears why, wherever standard error goes: it may be a full disk, which no consumer cures.
constexpr std::chrono::seconds kLong{5};

}  // namespace

Status Batches::put(std::size_t things, const std::string& what, const SizeOf& size_of, const Take& take) {
  for (std::size_t at = 0; at < things && stop_signal() == 0;) {
    std::size_t bytes = 0, count = 0;
    const std::size_t most = std::min(most_, things - at);
    while (count < most && (count == 0 || bytes + size_of(at + count) <= kMostBytes))
      bytes += size_of(at + count++);
    const Status taken = take(at, count, kBriefly);
    if (taken) {
      at += count;
      most_ = std::min(kMostThings, most_ * 2);
    } else if (taken.code() != Code::full) {
      return taken;
    } else if (count > 1) {
      most_ = count / 2;  // a batch has room as a whole or not at all: perhaps half of it has
    } else {
      if (no_wait_ || bytes > limit_bytes_) return taken;
      if (Status waited = wait_for_room(at, what, taken, take); !waited) return waited;
      ++at;
    }
  }
  return {};
}

Status Batches::wait_for_room(std::size_t thing, const std::string& what, const Status& why,
                              const Take& take) {
  const std::string waits = fmt::format("{} waits for room: {}", what, why.text());
  if (!noticed_) told_ = progress_.notice(waits);
  noticed_ = true;
  const auto begin = Clock::now();
  while (stop_signal() == 0) {
    const auto now = Clock::now();
    if (!told_ && now - begin >= kLong) told_ = (say(waits), true);
    const Status taken = take(thing, 1, kSlice);
    if (taken || (taken.code() != Code::full && taken.code() != Code::timeout)) return taken;
    progress_.refresh();
    // A full disk, say, answers at once.
    if (Clock::now() - now < kSlice / 2) rest(static_cast<int>(kSlice.count()));
  }
  return {};
}

}  // namespace headpond::command
