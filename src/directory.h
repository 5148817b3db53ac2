// The directory: (scope, kind, name) -> stream descriptor, cursor or scope limits. Looked up once per handle, not per operation.
//
// A hash table with linear hashing over slots of 128 bytes: an entry is a chain of slots that holds its words and its key. Everything in it is
// read and changed in the directory's section only, so a death leaves it as before or as after. Each scope has an entry that lists its
// members; a name's floor outlives its entry, so that its ids go on.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "attachment.h"
#include "headpond/status.h"
#include "parked_words.h"
#include "section.h"
#include "tier.h"

namespace headpond::internal {

struct Key {
  Kind kind = Kind::none;
  // a queue: name; a log: name = ns, key; a cursor of a log: cursor too
  std::string scope, name, key, cursor;

  std::string encoded() const;
  static bool decode(const std::string& bytes, Key& out);
  Key scope_key() const { return {Kind::scope, scope, {}, {}, {}}; }
  /// REQUIRES: it is a cursor's.
  Key log_key() const { return {Kind::log, scope, name, key, {}}; }
};
constexpr std::size_t kMaxName = 65535;

/// Of an entry that says there is a queue or a log: its own, or a log's cursor.
constexpr bool names_stream(Kind kind) {
  return kind == Kind::queue || kind == Kind::log || kind == Kind::cursor;
}

class Directory {
 public:
  explicit Directory(ThreadContext& me) : me_(me), segment_(me.pond->segment()) {}

  /// `not_found` if there is none. The name may be parked: Binding::is_parked().
  Result<Binding> find(const Key& key);
  /// A new descriptor, LIVE and empty, if there is none. The same.
  Result<Binding> find_or_create(const Key& key);

  /// A cursor's or scope's words.
  struct Values {
    std::uint64_t first = 0, second = 0;
    bool unsaved = false;            // set_values(): the durable tier has not what is there now
    std::uint32_t scope_policy = 0;  // set_values(): PolicyFlags of kNotInMemory that the scope has
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
  static Values scope_values(std::uint64_t max_items, std::uint64_t max_bytes, std::uint32_t policy) {
    return {max_items | static_cast<std::uint64_t>(policy) << kScopePolicyBit, max_bytes};
  }
  Result<Values> values(const Key& key);
  /// Sets them, creating the entry; `raise`: only upwards. Returns what is there now.
  Result<Values> set_values(const Key& key, Values values, bool raise);
  Status erase(const Key& key);

  /// If the name still means this stream: marks the descriptor TOMBED, raises the name's floor to `next_id`, and gives the name to a
  /// successor whose ids begin at that floor and that is governed alike (`keep_name`), or takes it away. `full`: there is no room for a successor; nothing has
  /// changed but the floor. REQUIRES: every lane is tombed.
  Status retire(Binding stream, std::uint64_t next_id, bool keep_name);
  /// TOMBED or PARKED -> FREE with the next generation if every lane's `first` is the tomb for good. False: not yet.
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

  /// Is it in that state for good? A dying process may leave one that its journal takes back: seen in the section, it stays.
  Result<bool> is_settled(Binding stream, StreamState as);

  // Parked names (park.h, unpark.h); definitions in directory_parked.cpp.
  /// Slots for the words of so many lanes belong to the descriptor from here on. `not_found`: it is not LIVE.
  Status keep_slots(Binding stream, std::size_t lanes);
  /// If the name still means this stream and it is LIVE: the entry gets the words of these lanes and the descriptor's governance, the descriptor is PARKED.
  /// False: it is not, any more. REQUIRES: every lane is tombed for good, and slots are kept.
  Result<bool> park(Binding stream, const std::vector<ParkedLane>& lanes);
  /// What a parked name keeps. `not_found`: it is not parked.
  Result<Parked> parked(const Key& key);
  /// The other way: a descriptor of its own, governed as before, LIVE and named when the section is left. link(section, words, its number, binding) puts
  /// the lanes' pages in; false: it can't. `busy`: the name is not parked, or is ending, or link() could not: look again. `full`: no descriptor is free.
  using Link = std::function<bool(Section&, const Parked&, StreamWords&, std::uint32_t index)>;
  Result<Binding> unpark(const Key& key, const Link& link);
  /// The name is ending, which is never undone. `if_last_used`: only if it was then. `busy`: it was not, or the name is not parked.
  Result<Parked> end_parked(const Key& key, std::optional<std::uint64_t> if_last_used);
  /// The name that is ending is absent; or it stays, parked and empty, governed as before (`keep_name`). Its ids go on above. Nothing if another did it, or the
  /// name is in another life than the one that end_parked() `ended`.
  Status retire_parked(const Key& key, const Parked& ended, bool keep_name);
  /// Does the name stand for the stream with that id in the durable tier?
  Result<bool> has_stream(const Key& key, std::uint64_t id);
  /// Changes the policy of a parked name; `not_found`: it is not parked.
  Status set_parked_policy(const Key& key, std::uint32_t set, std::uint32_t clear);

  // What the durable tier is to have of settings and cursors (settings.h); definitions in directory_settings.cpp.
  /// As the name stands now: a queue's settings, a scope's limits, a cursor's place. From here on the tier may have it.
  Result<TierSetting> setting(const Key& key);
  /// The tier has exactly this of its name. What has changed since stays unsaved.
  Status note_saved(const TierSetting& saved);
  /// The names of which the tier has not what is there. A snapshot, taken in pieces.
  Result<std::vector<Key>> unsaved();
  /// The tier has it not, or soon won't.
  Status mark_unsaved(const Key& key);
  /// A name that the tier is to have something of.
  struct Noted {
    TierSetting now;
    bool unsaved = false;
  };
  Result<std::vector<Noted>> settings();
  static Key key_of(const TierSetting& setting);
  /// Puts back what the tier has of a scope or a cursor. `corruption`: it is none.
  Status restore(const TierSetting& setting);
  /// The same of a queue, into words that nobody else knows.
  Status restore(const TierSetting& setting, StreamWords& words) const;
  /// Is the cursor's log not there, or ending in the life in which it was last used then?
  Result<bool> is_orphan(const Key& cursor, std::optional<std::uint64_t> log_last_used);
  /// Takes the cursor away if it is.
  Status erase_orphan(const Key& cursor, std::optional<std::uint64_t> log_last_used);

  struct Listed {
    Key key;
    Binding stream;  // of a queue or log; it may be parked
    Values values;
    Parked parked;  // if it is
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
  std::vector<std::uint32_t> take_slots(Section& section, std::uint32_t need);
  void give_slots(Section& section, std::uint32_t first);
  std::vector<std::uint32_t> chain_of(std::uint32_t first) const;
  bool in_table(Binding found) const;
  TierSetting setting_at(const Key& key, std::uint32_t at) const;
  void set_marks(Section& section, const Key& key, std::uint32_t at, std::uint64_t set, std::uint64_t clear);
  bool is_unsaved(std::uint32_t at) const;
  template <class Visit>
  Status each_entry(Visit visit);
  void set_parked(Section& section, Binding parked, std::uint32_t set, std::uint32_t clear);
  std::uint32_t parked_policy(Binding parked) const;
  Parked read_parked(Binding stream) const;
  bool log_is_gone(const Key& cursor, std::optional<std::uint64_t> last_used) const;
  void write_parked(std::uint32_t first, const Parked& from);
  Result<std::uint32_t> pick_descriptor();
  std::uint64_t blank(StreamWords& stream, std::uint32_t entry, std::uint64_t first_id);
  void name_it(Section& section, std::uint32_t index, Kind kind, std::uint32_t entry);
  void unlink_entry(Section& section, std::uint32_t slot);
  void grow_buckets(Section& section);
  Status make_room(std::size_t key_bytes);
  template <class Work>
  auto with_entry(const Key& key, Work work) -> decltype(work(std::declval<Section&>(), std::uint32_t{}));

  ThreadContext& me_;
  Segment& segment_;
};

}  // namespace headpond::internal
