#include "journal_row.h"

#include <algorithm>

namespace headpond::internal {

namespace {

constexpr std::uint64_t kEnd = 1ULL << 63;

void put(std::string& out, std::uint64_t number) {
  for (; number >= 128; number >>= 7) out.push_back(static_cast<char>(number | 128));
  out.push_back(static_cast<char>(number));
}

// Takes from the front. After anything that is not there, `good` is false and numbers are 0.
struct Reader {
  std::string_view left;
  bool good = true;

  std::uint64_t number() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64 && !left.empty(); shift += 7) {
      auto byte = static_cast<unsigned char>(left.front());
      left.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 127) << shift;
      if (byte < 128) return value;
    }
    good = false;
    return 0;
  }
  std::uint64_t number_below(std::uint64_t end) {
    std::uint64_t value = number();
    if (value >= end) good = false;
    return value;
  }
  std::string_view bytes(std::uint64_t count) {
    if (count > left.size()) good = false;
    if (!good) return {};
    std::string_view out = left.substr(0, count);
    left.remove_prefix(count);
    return out;
  }
};

JournalEntry read_entry(Reader& in) {
  JournalEntry entry;
  std::uint64_t kind = in.number();
  if (kind < 1 || kind > 3) in.good = false;
  entry.kind = static_cast<JournalEntry::Kind>(kind);
  entry.flags = static_cast<std::uint8_t>(in.number_below(1 << 8));
  entry.moves = static_cast<std::uint32_t>(in.number_below(1ULL << 32));
  entry.birth_stream = in.number_below(kEnd), entry.birth_seq = in.number_below(kEnd);
  if (entry.kind == JournalEntry::Kind::ack) {
    entry.birth_last = entry.birth_seq + in.number_below(kEnd - entry.birth_seq);
  } else {
    entry.stream = in.number_below(kEnd), entry.seq = in.number_below(kEnd);
    entry.payload = in.bytes(in.number());
  }
  return entry;
}

}  // namespace

Status check_entry(const JournalEntry& entry) {
  bool ack = entry.kind == JournalEntry::Kind::ack;
  std::uint64_t highest =
      std::max({entry.birth_stream, entry.birth_seq, entry.stream, entry.seq, entry.birth_last});
  if (highest >= kEnd || (ack && entry.birth_last < entry.birth_seq))
    return {Code::invalid, "journal entry of item " + std::to_string(entry.birth_seq) + " of stream " +
                               std::to_string(entry.birth_stream) + ": its numbers are out of range"};
  return {};
}

std::string encode_entries(std::span<const JournalEntry> entries) {
  std::string out;
  put(out, entries.size());
  for (const JournalEntry& entry : entries) {
    put(out, static_cast<std::uint64_t>(entry.kind));
    put(out, entry.flags);
    put(out, entry.moves);
    put(out, entry.birth_stream);
    put(out, entry.birth_seq);
    if (entry.kind == JournalEntry::Kind::ack) {
      put(out, entry.birth_last - entry.birth_seq);
    } else {
      put(out, entry.stream);
      put(out, entry.seq);
      put(out, entry.payload.size());
      out += entry.payload;
    }
  }
  return out;
}

bool decode_entries(std::string_view bytes, const std::function<Status(const JournalEntry&)>& visit,
                    Status& visited) {
  Reader in{bytes};
  visited = {};
  for (std::uint64_t count = in.number(); count > 0; count--) {
    JournalEntry entry = read_entry(in);
    if (!in.good) return false;
    visited = visit(entry);
    if (!visited) return true;
  }
  return in.good && in.left.empty();
}

}  // namespace headpond::internal
