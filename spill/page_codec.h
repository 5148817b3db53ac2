// A page's bytes as they are stored: packed where it pays, and under a checksum that covers where they belong, too.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "src/tier.h"

namespace headpond::internal {

enum class Encoding : std::uint8_t { plain = 0, zstd = 1 };

constexpr std::uint64_t kMaxPageBytes = (1ULL << 30) - 65536;  // SQLite's own limit is a little below 2^30

struct StoredPage {
  Encoding encoding = Encoding::plain;
  std::string packed;  // empty where the bytes are plain
  std::uint64_t checksum = 0;
  std::string_view bytes(const TierPage& page) const {
    return encoding == Encoding::plain ? page.bytes : packed;
  }
};

/// zstd level 1 (Yann Collet), kept only below 7/8 of the plain size.
StoredPage encode(const TierPage& page);

/// XXH3 (Yann Collet) of the stored bytes, seeded with what the row says of them: no bit of a row changes unseen. 63 bits.
std::uint64_t checksum_of(const TierPage& page, Encoding encoding, std::string_view stored);

/// The plain bytes; none if they do not decode. REQUIRES: the checksum was right.
std::optional<std::string> decode(std::uint64_t encoding, std::string_view stored);

/// XXH3 of any bytes, 63 bits.
std::uint64_t checksum_of(std::string_view bytes, std::uint64_t seed);

}  // namespace headpond::internal
