#include "settings.h"

#include <algorithm>
#include <map>

#include "group_commit.h"
#include "tier_side.h"

namespace headpond::internal {

namespace {

constexpr std::size_t kAtOnce = 1024;  // of a transaction

bool has_tier(ThreadContext& me) {
  return me.pond->segment().header().tier_store.load(std::memory_order_seq_cst) != 0;
}

void count_change(ThreadContext& me) {
  me.pond->tier_side().note_unsaved();
  me.pond->segment().header().settings_changed.fetch_add(1, std::memory_order_seq_cst);
}

/// With the lock: what these names have now becomes their rows.
Status save_now(ThreadContext& me, const CommitLock& lock, std::span<const Key> keys,
                std::uint64_t until_us) {
  std::vector<TierSetting> rows;
  for (const Key& key : keys) {
    auto now = Directory(me).setting(key);
    if (!now) return now.status();
    rows.push_back(std::move(*now));
  }
  return commit_settings(me, lock, rows, until_us);
}

/// Of a key that is too long to be posted.
Status save_alone(ThreadContext& me, const Key& key, std::uint64_t until_us) {
  CommitLock lock;
  if (Status taken = lock.take(me, until_us); !taken) return taken;
  return save_now(me, lock, {&key, 1}, until_us);
}

Status post_and_wait(ThreadContext& me, const Key& key, Durability wanted) {
  std::uint64_t until = durable_deadline(*me.pond);
  const std::string bytes = key.encoded();
  if (Post::bytes_for(bytes.size()) > Post::kMostBytes) {
    Status saved = save_alone(me, key, until);
    return saved ? Status::durable() : Status::in_memory(saved);
  }
  if (Status room = room_for_posts(me); !room) return Status::in_memory(room);
  Post post;
  if (Status reserved = post.reserve(me, Post::bytes_for(bytes.size())); !reserved)
    return Status::in_memory(reserved);
  post.add({.entry = {}, .stream = {}, .setting = true}, {bytes, {}});
  post.publish();
  if (wanted == Durability::durable) return wait_for_posts(me, {&post, 1}, until);
  commit_if_many(me);
  return {};
}

}  // namespace

Status save(ThreadContext& me, const Key& key, Durability wanted) {
  if (wanted == Durability::memory) return count_change(me), Status();
  Status saved = post_and_wait(me, key, wanted);
  if (saved.cause() != Code::ok) count_change(me);
  follow_tier(me);
  return saved;
}

// Counted before the second look, as who makes the tier looks at the count behind that: one of the two sees the other.
Status save_setting(ThreadContext& me, const Key& key, bool unsaved) {
  if (!unsaved) return has_tier(me) ? Status::durable() : Status();
  if (!has_tier(me)) count_change(me);
  return has_tier(me) ? save(me, key, Durability::durable) : Status();
}

// --------------------------------------------------------------------------------------------------------------------- all

namespace {

Status save_all(ThreadContext& me, const CommitLock& lock, const std::vector<Key>& keys,
                std::uint64_t until_us) {
  for (std::size_t at = 0; at < keys.size(); at += kAtOnce) {
    std::size_t count = std::min(kAtOnce, keys.size() - at);
    if (Status saved = save_now(me, lock, std::span(keys).subspan(at, count), until_us); !saved) return saved;
  }
  return {};
}

}  // namespace

Status save_unsaved(ThreadContext& me, std::uint64_t until_us, NoTier no_tier) {
  Header& header = me.pond->segment().header();
  // Before the count: who counted later has seen it, too, and saves by himself.
  const bool with_tier = has_tier(me);
  if (no_tier == NoTier::leave_it && !with_tier) return {};
  std::uint64_t changed = header.settings_changed.load(std::memory_order_seq_cst),
                saved = header.settings_saved.load(std::memory_order_acquire);
  if (changed == saved && header.settings_followed.load(std::memory_order_acquire)) return {};
  auto keys = Directory(me).unsaved();
  if (!keys) return keys.status();
  if (!keys->empty()) {
    CommitLock lock;
    if (Status taken = lock.take(me, until_us); !taken) return taken;
    if (Status done = save_all(me, lock, *keys, until_us); !done) return done;
  }
  while (saved < changed && !header.settings_saved.compare_exchange_weak(saved, changed)) {
  }
  if (with_tier) header.settings_followed.store(1, std::memory_order_release);
  return {};
}

void follow_tier(ThreadContext& me) {
  if (!has_tier(me) || me.pond->segment().header().settings_followed.load(std::memory_order_acquire)) return;
  if (!me.pond->tier_side().save_is_due())
    return;  // not a walk over all names with each push while the tier is full
  Status followed = save_unsaved(me, sys::precise_us(), NoTier::leave_it);
  if (!followed && followed.code() != Code::timeout)
    me.pond->say(Severity::warning, "pond " + me.pond->name() +
                                        ": settings and cursors cannot be saved yet: " + followed.text());
}

// -------------------------------------------------------------------------------------------------------------------- drop

Status drop_saved(ThreadContext& me, const Key& key, const std::function<Status()>& drop) {
  std::uint64_t until = sys::precise_us() + kStorePatienceUs;
  Directory directory(me);
  CommitLock lock;
  if (Status taken = lock.take(me, until); !taken) return taken;
  if (has_tier(me)) {
    if (Status marked = directory.mark_unsaved(key); !marked) return marked;
    count_change(me);
    TierSetting none{static_cast<std::uint8_t>(key.kind), key.scope, key.name, key.key, key.cursor, {}};
    if (Status gone = commit_settings(me, lock, {&none, 1}, until); !gone) return gone;
  }
  Status dropped = drop();
  // Another was faster, and the name is a successor's, which may have been told that its row is there.
  if (has_tier(me))
    if (auto now = directory.setting(key); now && now->value)
      if (Status again = save_now(me, lock, {&key, 1}, until); !again) count_change(me);
  return dropped;
}

namespace {

/// With the lock: the rows of these go, then erase(Directory&, index) takes the name of each away, or leaves it if it is to stay after all.
template <class Erase>
Status drop_now(ThreadContext& me, const CommitLock& lock, std::span<const Key> cursors, std::uint64_t until,
                Erase erase) {
  Directory directory(me);
  std::vector<TierSetting> rows;
  for (const Key& key : cursors) {
    if (has_tier(me))
      if (Status marked = directory.mark_unsaved(key); !marked) return marked;
    rows.push_back({static_cast<std::uint8_t>(key.kind), key.scope, key.name, key.key, key.cursor, {}});
  }
  if (has_tier(me)) {
    count_change(me);
    for (std::size_t at = 0; at < rows.size(); at += kAtOnce) {
      auto some = std::span(rows).subspan(at, std::min(kAtOnce, rows.size() - at));
      if (Status gone = commit_settings(me, lock, some, until); !gone) return gone;
    }
  }
  for (std::size_t i = 0; i < cursors.size(); i++)
    if (Status erased = erase(directory, i); !erased && erased.code() != Code::not_found) return erased;
  return {};
}

}  // namespace

Status drop_cursors(ThreadContext& me, std::span<const Key> cursors) {
  if (cursors.empty()) return {};
  std::uint64_t until = sys::precise_us() + kStorePatienceUs;
  CommitLock lock;
  if (Status taken = lock.take(me, until); !taken) return taken;
  return drop_now(me, lock, cursors, until,
                  [&](Directory& directory, std::size_t i) { return directory.erase(cursors[i]); });
}

Status drop_orphans(ThreadContext& me, std::span<const Orphan> cursors) {
  if (cursors.empty()) return {};
  std::uint64_t until = sys::precise_us() + kStorePatienceUs;
  CommitLock lock;
  if (Status taken = lock.take(me, until); !taken) return taken;
  std::vector<Key> keys;
  std::vector<std::optional<std::uint64_t>> last_used;
  for (const Orphan& orphan : cursors) {
    auto is = Directory(me).is_orphan(orphan.cursor, orphan.log_last_used);
    if (!is) return is.status();
    if (*is) keys.push_back(orphan.cursor), last_used.push_back(orphan.log_last_used);
  }
  if (keys.empty()) return {};
  // Looked at once more with each: if its log is there by now it stays, marked as unsaved, and its row comes back.
  return drop_now(me, lock, keys, until, [&](Directory& directory, std::size_t i) {
    return directory.erase_orphan(keys[i], last_used[i]);
  });
}

// ------------------------------------------------------------------------------------------------------------------ verify

Status verify_settings(ThreadContext& me, std::vector<std::string>& problems) {
  if (!has_tier(me)) return {};
  std::uint64_t until = sys::precise_us() + 2'000'000;
  CommitLock lock;
  if (Status taken = lock.take(me, until); !taken) return taken;
  auto tier = me.pond->tier_side().tier(me);
  if (!tier) return tier.status();
  auto rows = (*tier)->settings(until);
  if (!rows) {
    if (rows.code() != Code::corruption) return rows.status();
    return problems.push_back("I20: " + rows.status().text()), Status();
  }
  // Listed before the names are: what changes meanwhile is unsaved, since nobody else has the lock.
  std::map<std::string, std::string> saved;
  for (TierSetting& row : *rows)
    saved.emplace(Directory::key_of(row).encoded(), row.value.value_or(std::string()));
  auto names = Directory(me).settings();
  if (!names) return names.status();
  auto called = [](const Key& key) {
    return "\"" + key.name + "\" of scope \"" + key.scope + "\"" +
           (key.kind == Kind::cursor ? ", cursor \"" + key.cursor + "\"" : std::string());
  };
  for (const Directory::Noted& noted : *names) {
    const Key key = Directory::key_of(noted.now);
    auto row = saved.find(key.encoded());
    bool same = row == saved.end() ? !noted.now.value : noted.now.value == row->second;
    if (!noted.unsaved && !same)
      problems.push_back("I20: the durable tier has not what is set of " + called(key) +
                         ", and nobody is to save it");
    if (row != saved.end()) saved.erase(row);
  }
  for (const auto& [bytes, value] : saved)
    if (Key key; Key::decode(bytes, key))
      problems.push_back("I20: the durable tier has a setting of " + called(key) + ", which is not there");
  return {};
}

}  // namespace headpond::internal
