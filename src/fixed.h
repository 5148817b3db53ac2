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
  /// "max_participants 100, not 200": the first that differs, as it is here and there. Empty: none does.
  std::string differs_from(const Fixed& other) const;

  /// These, with what is asked for explicitly in place of them.
  Fixed with(const Options& asked) const;
  /// `invalid` with what is out of range.
  Status check() const;
};

/// `invalid` with what is out of range.
Status check_queue(const QueueOptions& options);

/// What the folder of that path says; the defaults if it says nothing. `corruption`, `unsupported`: it says what this library can't read.
Result<Fixed> read_fixed(const std::string& folder);
/// From then on the folder says this, after a power cut, too. `changed`: it does not say so yet; else only what somebody else wrote is made safe, who may
/// have been killed before that. Killed or refused it says what it said before, or this. Sleeps, on the disk. REQUIRES: exclusive() is held.
Status keep_fixed(const StateFolder& state, const Fixed& fixed, bool changed);
/// The folder says nothing any more. REQUIRES: as above.
Status forget_fixed(const StateFolder& state);

}  // namespace headpond::internal
