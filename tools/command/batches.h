// Things that go into the pond in batches, with a wait for room.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "headpond/headpond.h"
#include "progress.h"

namespace headpond::command {

class Batches {
 public:
  /// `limit_bytes`: what is larger can never have room. `no_wait`: `full` is an answer instead of a pause; it may still take the moment in which others
  /// move to the disk.
  Batches(std::uint64_t limit_bytes, bool no_wait, Progress& progress)
      : limit_bytes_(limit_bytes), no_wait_(no_wait), progress_(progress) {}

  /// Bytes of the i-th thing.
  using SizeOf = std::function<std::size_t(std::size_t i)>;
  /// Takes these things, all or none of them, waiting so long for room.
  using Take = std::function<Status(std::size_t first, std::size_t count, milliseconds wait)>;

  /// As many calls as are needed to take them all, in order; a batch that has no room is halved before it waits. Ends early after a signal, and with
  /// what a call answered that was neither ok nor `full`. `what`, for messages: "queue files".
  Status put(std::size_t things, const std::string& what, const SizeOf& size_of, const Take& take);

 private:
  Status wait_for_room(std::size_t thing, const std::string& what, const Status& why, const Take& take);

  const std::uint64_t limit_bytes_;
  const bool no_wait_;
  Progress& progress_;
  std::size_t most_ = kMostThings;
  bool noticed_ = false;  // a notice was given to who reads a terminal, or would have been
  bool told_ = false;     // it was written

 public:
  // A batch is one page of the pond at most, so that it costs no page of its own.
  static constexpr std::size_t kMostThings = 512;
  static constexpr std::size_t kMostBytes = 48 << 10;
};

}  // namespace headpond::command
