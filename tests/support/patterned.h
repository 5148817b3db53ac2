// Payloads that tell who wrote them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "headpond/headpond.h"

namespace support {

/// Bytes that tell who wrote them and how many they are: the first eight are the number, the rest follows from it.
inline std::string patterned(std::uint64_t number, std::size_t size) {
  std::string bytes(std::max<std::size_t>(size, sizeof number), '\0');
  std::uint64_t word = number;
  for (std::size_t at = 0; at < bytes.size(); at += sizeof word) {
    std::memcpy(bytes.data() + at, &word, std::min(sizeof word, bytes.size() - at));
    word = word * 6364136223846793005ULL + bytes.size();
  }
  return bytes;
}
/// The number in them; UINT64_MAX if a byte is not as it was written.
inline std::uint64_t number_of(headpond::Bytes bytes) {
  if (bytes.size() < sizeof(std::uint64_t)) return UINT64_MAX;
  std::uint64_t number, word;
  std::memcpy(&number, bytes.data(), sizeof number);
  word = number;
  for (std::size_t at = 0; at < bytes.size(); at += sizeof word) {
    if (std::memcmp(&word, bytes.data() + at, std::min(sizeof word, bytes.size() - at)) != 0)
      return UINT64_MAX;
    word = word * 6364136223846793005ULL + bytes.size();
  }
  return number;
}

}  // namespace support
