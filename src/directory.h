// The directory: (scope, kind, name) -> stream descriptor, cursor or scope limits. Looked up once per handle, not per operation.
//
// A hash table with linear hashing over slots of 128 bytes: an entry is a chain of slots that holds its words and its key. Everything in it is
// read and changed in the directory's section only, so a death leaves it as before or as after. Each scope has an entry that lists its
// members; a name's floor outlives its entry, so that its ids go on.
#pragma once

#include <string>
#include <vector>

#include "attachment.h"
#include "headpond/status.h"
#include "section.h"

namespace headpond::internal {

struct Key {
  Kind kind = Kind::none;
  // a queue: name; a log: name = ns, key; a cursor of a log: cursor too
  std::string scope, name, key, cursor;

  std::string encoded() const;
  static bool decode(const std::string& bytes, Key& out);
  Key scope_key() const { return {Kind::scope, scope, {}, {}, {}}; }
};
constexpr std::size_t kMaxName = 65535;

/// Of an entry that says there is a queue or a log: its own, or a log's cursor.
constexpr bool names_stream(Kind kind) {
  return kind == Kind::queue || kind == Kind::log || kind == Kind::cursor;
}

class Directory {
 public:
  explicit Directory(ThreadContext& me) : me_(me), segment_(me.pond->segment()) {}

  /// `not_found` if there is none.
  Result<Binding> find(const Key& key);
  /// A new descriptor, LIVE and empty, if there is none.
  Result<Binding> find_or_create(const Key& key);

  /// A cursor's or scope's words.
  struct Values {
    std::uint64_t first = 0, second = 0;
  };
  /// A scope's words: max_items, with the PolicyFlags of kNotInMemory from bit kScopePolicyBit on; max_bytes.
  static constexpr int kScopePolicyBit = 57;
  static std::uint64_t scope_max_items(const Values& scope) {
    return scope.first & ~(static_cast<std::uint64_t>(kNotInMemory) << kScopePolicyBit);
  }
  static std::uint32_t policy_of(const Values& scope) {
    auto flags = static_cast<std::uint32_t>(scope.first >> kScopePolicyBit) & kNotInMemory;
    return flags | (scope_max_items(scope) || scope.second ? static_cast<std::uint32_t>(kLimited) : 0);
  }
  Result<Values> values(const Key& key);
  /// Sets them, creating the entry; `raise`: only upwards. Returns what is there now.
  Result<Values> set_values(const Key& key, Values values, bool raise);
  Status erase(const Key& key);

  /// If the name still means this stream: marks the descriptor TOMBED, raises the name's floor to `next_id`, and gives the name to a
  /// successor whose ids begin there and that is governed alike (`keep_name`), or takes it away. REQUIRES: every lane is tombed.
  Status retire(Binding stream, std::uint64_t next_id, bool keep_name);
  /// TOMBED -> FREE with the next generation if every lane's `first` is the tomb for good. False: not yet.
  Result<bool> free_descriptor(Binding stream);
  /// Runs work(StreamWords&) in the section if the descriptor is LIVE in this generation; else `not_found`.
  template <class Work>
  Status with_stream(Binding stream, Work work) {
    auto section = Section::enter(me_, kDirectorySection);
    if (!section) return section.status();
    StreamWords& words = segment_.stream(stream.index());
    std::uint64_t state = words.state.load(std::memory_order_acquire);
    bool live =
        state >> 28 == stream.generation() && static_cast<StreamState>(state & 0xff) == StreamState::live;
    if (live) work(words);
    section->leave();
    return live ? Status() : Status(Code::not_found);
  }

  struct Listed {
    Key key;
    Binding stream;  // of a queue or log
    Values values;
  };
  /// Everything, or one scope's members. A snapshot, taken in pieces.
  Result<std::vector<Listed>> list(const std::string* scope = nullptr);
  /// The key of the entry that names this descriptor.
  Result<Key> key_of(Binding stream);
  /// I9 and the table's own shape; adds what is wrong to `problems`.
  Status verify(std::vector<std::string>& problems);

 private:
  std::uint64_t buckets() const;
  std::uint64_t slots() const;
  std::uint32_t bucket_of(std::uint64_t hash) const;
  std::uint32_t locate(const Key& key, const std::string& bytes, std::uint64_t hash,
                       std::uint32_t* before = nullptr) const;
  std::string key_bytes(std::uint32_t slot) const;
  Status damaged_entry(Binding found) const;
  Result<std::uint32_t> insert(Section& section, const Key& key, const std::string& bytes, std::uint64_t hash,
                               std::uint32_t scope_slot);
  Result<Binding> new_stream(Section& section, Kind kind, std::uint32_t entry, std::uint64_t first_id,
                             const StreamWords* like, std::uint32_t scope_policy);
  void unlink_entry(Section& section, std::uint32_t slot);
  void grow_buckets(Section& section);
  Status make_room(std::size_t key_bytes);
  template <class Work>
  auto with_entry(const Key& key, Work work) -> decltype(work(std::declval<Section&>(), std::uint32_t{}));

  ThreadContext& me_;
  Segment& segment_;
};

}  // namespace headpond::internal
