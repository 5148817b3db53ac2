// What a pond's creator fixed for good: in the segment, and in the pond's folder, so that it outlives the segment.
#pragma once

#include "headpond/options.h"
#include "layout.h"
#include "state_folder.h"

namespace headpond::internal {

constexpr milliseconds kLongestLease = std::chrono::hours(24 * 30);

/// The options that are marked (fixed), each with a value.
struct Fixed {
  std::uint64_t limit_bytes = 256ULL << 20;
  std::uint32_t max_participants = kMaxParticipants;
  std::uint32_t min_page_bytes = kUnit;
  std::uint32_t max_page_bytes = 64 * kUnit;
  QueueOptions queue = {};

  bool operator==(const Fixed&) const = default;

  /// These, with what is asked for explicitly in place of them.
  Fixed with(const Options& asked) const;
  /// `invalid` with what is out of range.
  Status check() const;
};

/// `invalid` with what is out of range.
Status check_queue(const QueueOptions& options);

/// What the folder says; the defaults if it says nothing. `corruption`, `unsupported`: it says what this library can't read.
Result<Fixed> read_fixed(const StateFolder& state);
/// From then on the folder says this, after a power cut, too. Killed or refused it says what it said before, or this. Sleeps, on the disk.
/// REQUIRES: the folder's exclusive() is held.
Status write_fixed(const StateFolder& state, const Fixed& fixed);
/// The folder says nothing any more. REQUIRES: as above.
Status forget_fixed(const StateFolder& state);

}  // namespace headpond::internal
