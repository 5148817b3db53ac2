// The inside of the directory, shared by its files: how an entry lies in its slots, and entering the section with an entry in hand.
#pragma once

#include <bit>
#include <string>

#include "directory.h"

namespace headpond::internal {

// Two 32-bit slot numbers + 1 in one word.
constexpr std::uint32_t low(std::uint64_t word) { return static_cast<std::uint32_t>(word); }
constexpr std::uint32_t high(std::uint64_t word) { return static_cast<std::uint32_t>(word >> 32); }
constexpr std::uint64_t pair(std::uint64_t low_half, std::uint64_t high_half) {
  return low_half | high_half << 32;
}

inline std::uint64_t hash_of(const std::string& bytes) {  // FNV-1a, then mixed: short keys differ in all bits
  std::uint64_t h = 0xcbf29ce484222325ULL;
  for (unsigned char c : bytes) h = (h ^ c) * 0x100000001b3ULL;
  h ^= h >> 32;
  h *= 0xd6e8feb86659fd93ULL;
  return h ^ h >> 32;
}

inline std::uint64_t get(const Word& word) { return word.load(std::memory_order_relaxed); }

constexpr bool is_stream(Kind kind) { return kind == Kind::queue || kind == Kind::log; }

constexpr std::uint64_t state_word(std::uint64_t generation, Kind kind, StreamState state) {
  return generation << 28 | static_cast<std::uint64_t>(kind) << 8 | static_cast<std::uint64_t>(state);
}
inline StreamState state_of(const StreamWords& stream) {
  return static_cast<StreamState>(stream.state.load(std::memory_order_acquire) & 0xff);
}

/// Runs work(section, the entry's slot + 1 or 0) in the section, which it must leave.
template <class Work>
auto Directory::with_entry(const Key& key, Work work)
    -> decltype(work(std::declval<Section&>(), std::uint32_t{})) {
  for (const std::string* s : {&key.scope, &key.name, &key.key, &key.cursor})
    if (s->size() > kMaxName)
      return Status(Code::too_large, "a name has " + std::to_string(s->size()) + " bytes; the limit is " +
                                         std::to_string(kMaxName));
  auto section = Section::enter(me_, kDirectorySection);
  if (!section) return section.status();
  std::string bytes = key.encoded();
  return work(*section, locate(key, bytes, hash_of(bytes)));
}

/// Some buckets at a time, so that nobody waits for long.
template <class Visit>
Status Directory::each_entry(Visit visit) {
  for (std::uint64_t bucket = 0; bucket < buckets();) {
    auto section = Section::enter(me_, kDirectorySection);
    if (!section) return section.status();
    for (int i = 0; i < 256 && bucket < buckets(); i++, bucket++)
      for (std::uint32_t at = low(get(segment_.bucket(static_cast<std::uint32_t>(bucket)))), steps = 0;
           at && at <= slots() && steps++ <= slots(); at = low(get(segment_.slot(at - 1).chain)))
        visit(at);
    section->leave();
  }
  return {};
}

}  // namespace headpond::internal
