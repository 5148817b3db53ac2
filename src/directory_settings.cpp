// What the durable tier is to have of settings and cursors: read, marked and put back, each in one section.
#include <array>
#include <cstring>

#include "directory_inside.h"

namespace headpond::internal {

namespace {

// A value: so many words, in the machine's order. What has another number of them is of no headpond that can write this layout.
using QueueWords =
    std::array<std::uint64_t, 5>;  // flags of kSettings, lease_us, max_attempts, max_items, max_bytes
using ScopeWords = std::array<std::uint64_t, 3>;   // flags of kNotInMemory, max_items, max_bytes
using CursorWords = std::array<std::uint64_t, 1>;  // seq

constexpr std::uint64_t kLongestLeaseUs = 30ULL * 24 * 3600 * 1'000'000, kMostAttempts = 65534;

template <class Words>
std::string pack(const Words& words) {
  return {reinterpret_cast<const char*>(words.data()), sizeof words};
}

template <class Words>
bool unpack(const TierSetting& setting, Words& words) {
  if (!setting.value || setting.value->size() != sizeof words) return false;
  std::memcpy(words.data(), setting.value->data(), sizeof words);
  return true;
}

Status nonsense(const std::string& pond, const TierSetting& setting) {
  return {Code::corruption, "pond " + pond + ": the durable tier has a setting or cursor of scope \"" +
                                setting.scope + "\" (\"" + setting.ns +
                                "\") that is none; put back a copy of the folder, or remove the pond"};
}

std::optional<std::string> queue_value(std::uint64_t policy, const QueueWords& limits) {
  QueueWords out = policy & kConfigured ? limits : QueueWords{};
  out[0] = policy & kSettings;
  if (out[0] == 0) return {};
  return pack(out);
}

}  // namespace

Key Directory::key_of(const TierSetting& setting) {
  return {static_cast<Kind>(setting.kind), setting.scope, setting.ns, setting.name, setting.cursor};
}

TierSetting Directory::setting_at(const Key& key, std::uint32_t at) const {
  TierSetting out{static_cast<std::uint8_t>(key.kind), key.scope, key.name, key.key, key.cursor, {}};
  if (!at) return out;
  const SlotWords& slot = segment_.slot(at - 1);
  if (key.kind == Kind::cursor) out.value = pack(CursorWords{get(slot.value)});
  if (key.kind == Kind::scope) {
    Values values{get(slot.value), get(slot.value2) & ~kValueMarks};
    if (values.first || values.second)
      out.value = pack(ScopeWords{policy_of(values) & kNotInMemory, scope_max_items(values), values.second});
  }
  Binding stream{get(slot.value)};
  if (key.kind != Kind::queue || !in_table(stream)) return out;
  if (stream.is_parked()) {
    Parked words = read_parked(stream);
    out.value =
        queue_value(words.policy, {0, words.lease_us, words.max_attempts, words.max_items, words.max_bytes});
  } else {
    const StreamWords& words = segment_.stream(stream.index());
    out.value = queue_value(words.policy.load(), {0, get(words.lease_us), words.max_attempts.load(),
                                                  get(words.max_items), get(words.max_bytes)});
  }
  return out;
}

void Directory::set_marks(Section& section, const Key& key, std::uint32_t at, std::uint64_t set,
                          std::uint64_t clear) {
  auto as_policy = [](std::uint64_t marks) {
    return (marks & kUnsavedValue ? static_cast<std::uint32_t>(kUnsaved) : 0u) |
           (marks & kMaybeSavedValue ? static_cast<std::uint32_t>(kMaybeSaved) : 0u);
  };
  SlotWords& slot = segment_.slot(at - 1);
  if (key.kind == Kind::cursor || key.kind == Kind::scope)
    return section.set(slot.value2, (get(slot.value2) | set) & ~clear);
  Binding stream{get(slot.value)};
  if (key.kind != Kind::queue || !in_table(stream)) return;
  if (stream.is_parked()) return set_parked(section, stream, as_policy(set), as_policy(clear));
  StreamWords& words = segment_.stream(stream.index());
  words.policy.fetch_or(as_policy(set), std::memory_order_seq_cst);
  words.policy.fetch_and(~as_policy(clear), std::memory_order_seq_cst);
}

Result<TierSetting> Directory::setting(const Key& key) {
  return with_entry(key, [&](Section& section, std::uint32_t at) -> Result<TierSetting> {
    TierSetting out = setting_at(key, at);
    if (out.value) set_marks(section, key, at, kMaybeSavedValue, 0);
    section.leave();
    return out;
  });
}

Status Directory::note_saved(const TierSetting& saved) {
  const Key key = key_of(saved);
  return with_entry(key, [&](Section& section, std::uint32_t at) -> Status {
    if (at && setting_at(key, at).value == saved.value)
      set_marks(section, key, at, 0, saved.value ? kUnsavedValue : kValueMarks);
    section.leave();
    return {};
  });
}

Status Directory::mark_unsaved(const Key& key) {
  return with_entry(key, [&](Section& section, std::uint32_t at) -> Status {
    if (at) set_marks(section, key, at, kUnsavedValue, 0);
    section.leave();
    return {};
  });
}

bool Directory::is_unsaved(std::uint32_t at) const {
  const SlotWords& slot = segment_.slot(at - 1);
  auto kind = static_cast<Kind>(get(slot.kind) & 0xff);
  if (kind == Kind::cursor || kind == Kind::scope) return get(slot.value2) & kUnsavedValue;
  Binding stream{get(slot.value)};
  if (kind != Kind::queue || !in_table(stream)) return false;
  return (stream.is_parked() ? parked_policy(stream) : segment_.stream(stream.index()).policy.load()) &
         kUnsaved;
}

Result<std::vector<Key>> Directory::unsaved() {
  std::vector<Key> out;
  Status walked = each_entry([&](std::uint32_t at) {
    if (Key key; is_unsaved(at) && Key::decode(key_bytes(at - 1), key)) out.push_back(std::move(key));
  });
  if (!walked) return walked;
  return out;
}

Result<std::vector<Directory::Noted>> Directory::settings() {
  std::vector<Noted> out;
  Status walked = each_entry([&](std::uint32_t at) {
    Key key;
    if (!Key::decode(key_bytes(at - 1), key)) return;
    Noted noted{setting_at(key, at), is_unsaved(at)};
    if (noted.now.value || noted.unsaved) out.push_back(std::move(noted));
  });
  if (!walked) return walked;
  return out;
}

// ------------------------------------------------------------------------------------------------------------------ rebuild

Status Directory::restore(const TierSetting& setting) {
  const Key key = key_of(setting);
  Values values;
  ScopeWords scope{};
  CursorWords cursor{};
  bool good = false;
  if (key.kind == Kind::scope &&
      (good = unpack(setting, scope) && !(scope[0] & ~std::uint64_t{kNotInMemory}) && !(scope[1] >> 62) &&
              !(scope[2] >> 62)))
    values = scope_values(scope[1], scope[2], static_cast<std::uint32_t>(scope[0]));
  if (key.kind == Kind::cursor && (good = unpack(setting, cursor))) values.first = cursor[0];
  if (!good) return nonsense(me_.pond->name(), setting);
  if (auto set = set_values(key, values, false); !set) return set.status();
  return with_entry(key, [&](Section& section, std::uint32_t at) -> Status {
    if (at) set_marks(section, key, at, kMaybeSavedValue, kUnsavedValue);
    section.leave();
    return {};
  });
}

Status Directory::restore(const TierSetting& setting, StreamWords& words) const {
  QueueWords from{};
  if (!unpack(setting, from) || from[0] & ~std::uint64_t{kSettings} || from[1] > kLongestLeaseUs ||
      from[2] > kMostAttempts)
    return nonsense(me_.pond->name(), setting);
  auto policy = static_cast<std::uint32_t>(from[0]) | kMaybeSaved;
  if (from[0] & kConfigured) {
    words.lease_us.store(from[1]), words.max_attempts.store(static_cast<std::uint32_t>(from[2]));
    words.max_items.store(from[3]), words.max_bytes.store(from[4]);
    policy |=
        (from[1] ? kLeased : 0u) | (from[2] ? kAttemptsLimited : 0u) | (from[3] || from[4] ? kLimited : 0u);
  }
  words.policy.fetch_or(policy);
  return {};
}

}  // namespace headpond::internal
