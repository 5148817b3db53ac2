#include "directory.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "check.h"

namespace headpond::internal {

namespace {

// Two 32-bit slot numbers + 1 in one word.
constexpr std::uint32_t low(std::uint64_t word) { return static_cast<std::uint32_t>(word); }
constexpr std::uint32_t high(std::uint64_t word) { return static_cast<std::uint32_t>(word >> 32); }
constexpr std::uint64_t pair(std::uint64_t low_half, std::uint64_t high_half) {
  return low_half | high_half << 32;
}

constexpr std::size_t kHeadBytes = sizeof(SlotWords::bytes);
constexpr std::size_t kChainBytes = sizeof(SlotWords) - 8;

constexpr std::uint32_t slots_for(std::size_t key_bytes) {
  return key_bytes <= kHeadBytes
             ? 1
             : 1 + static_cast<std::uint32_t>((key_bytes - kHeadBytes + kChainBytes - 1) / kChainBytes);
}

std::uint64_t hash_of(const std::string& bytes) {  // FNV-1a, then mixed: short keys differ in all bits
  std::uint64_t h = 0xcbf29ce484222325ULL;
  for (unsigned char c : bytes) h = (h ^ c) * 0x100000001b3ULL;
  h ^= h >> 32;
  h *= 0xd6e8feb86659fd93ULL;
  return h ^ h >> 32;
}

std::uint64_t get(const Word& word) { return word.load(std::memory_order_relaxed); }

constexpr std::uint64_t state_word(std::uint64_t generation, Kind kind, StreamState state) {
  return generation << 28 | static_cast<std::uint64_t>(kind) << 8 | static_cast<std::uint64_t>(state);
}
StreamState state_of(const StreamWords& stream) {
  return static_cast<StreamState>(stream.state.load(std::memory_order_acquire) & 0xff);
}

}  // namespace

std::string Key::encoded() const {
  std::string out(1, static_cast<char>(kind));
  auto part = [&](const std::string& s) {
    auto n = static_cast<std::uint32_t>(s.size());
    out.append(reinterpret_cast<const char*>(&n), 4).append(s);
  };
  part(scope);
  if (kind == Kind::scope) return out;
  part(name), part(key), part(cursor);
  return out;
}

bool Key::decode(const std::string& bytes, Key& out) {
  if (bytes.empty()) return false;
  out.kind = static_cast<Kind>(bytes[0]);
  std::size_t at = 1;
  for (std::string* s : {&out.scope, &out.name, &out.key, &out.cursor}) {
    std::uint32_t n;
    if (at + 4 > bytes.size()) return false;
    std::memcpy(&n, bytes.data() + at, 4);
    if (n > bytes.size() - at - 4) return false;
    s->assign(bytes, at + 4, n);
    at += 4 + n;
    if (out.kind == Kind::scope) break;
  }
  return at == bytes.size();
}

// ------------------------------------------------------------------------------------------------------------------- lookup

std::uint64_t Directory::buckets() const {
  return std::min(get(segment_.header().bucket_count), segment_.reserved(Table::buckets));
}
std::uint64_t Directory::slots() const {
  return std::min(get(segment_.header().slots_used), segment_.reserved(Table::slots));
}

std::uint32_t Directory::bucket_of(std::uint64_t hash) const {
  std::uint64_t n = std::max<std::uint64_t>(buckets(), 1), power = std::bit_floor(n);
  std::uint64_t bucket = hash & (power * 2 - 1);
  return static_cast<std::uint32_t>(bucket < n ? bucket : hash & (power - 1));
}

std::string Directory::key_bytes(std::uint32_t slot) const {
  std::size_t size = std::min<std::size_t>(high(get(segment_.slot(slot).kind)), 5 + 4 * (4 + kMaxName));
  std::string out(segment_.slot(slot).bytes, std::min(size, kHeadBytes));
  std::uint64_t used = slots();
  for (std::uint32_t next = high(get(segment_.slot(slot).chain)); out.size() < size && next && next <= used;
       next = high(get(segment_.slot(next - 1).chain)))
    out.append(reinterpret_cast<const char*>(&segment_.slot(next - 1)) + 8,
               std::min(size - out.size(), kChainBytes));
  return out;
}

/// The entry's slot + 1, 0 if there is none.
std::uint32_t Directory::locate(const Key& key, const std::string& bytes, std::uint64_t hash,
                                std::uint32_t* before) const {
  std::uint64_t used = slots();
  std::uint32_t last = 0;
  std::uint64_t steps = 0;
  for (std::uint32_t at = low(get(segment_.bucket(bucket_of(hash)))); at && at <= used && steps++ <= used;
       last = at, at = low(get(segment_.slot(at - 1).chain))) {
    SlotWords& slot = segment_.slot(at - 1);
    if (get(slot.hash) != hash || static_cast<Kind>(get(slot.kind) & 0xff) != key.kind ||
        key_bytes(at - 1) != bytes)
      continue;
    if (before) *before = last;
    return at;
  }
  return 0;
}

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

Status Directory::damaged_entry(Binding found) const {
  return {Code::corruption, "pond " + me_.pond->name() + ": a directory entry names stream " +
                                std::to_string(found.index()) +
                                ", and there is none; `headpond verify` shows more"};
}

Result<Binding> Directory::find(const Key& key) {
  return with_entry(key, [&](Section& section, std::uint32_t at) -> Result<Binding> {
    if (!at) return section.leave(), Code::not_found;
    Binding found{get(segment_.slot(at - 1).value)};
    section.leave();
    if (found.index() >= segment_.reserved(Table::streams)) return damaged_entry(found);
    return found;
  });
}

// ------------------------------------------------------------------------------------------------------------------- insert

Status Directory::make_room(std::size_t key_size) {
  Header& header = segment_.header();
  for (auto [table, used, more] :
       {std::tuple{Table::slots, &header.slots_used, std::uint64_t{slots_for(key_size)} + 4},
        {Table::streams, &header.descriptors_used, std::uint64_t{2}},
        {Table::buckets, &header.bucket_count, std::uint64_t{4}}}) {
    std::uint64_t now = used->load(std::memory_order_acquire);  // its memory was reserved before
    if (now > segment_.reserved(table))
      return {Code::corruption, "pond " + me_.pond->name() + ": its directory counts " + std::to_string(now) +
                                    " elements of a table that has " +
                                    std::to_string(segment_.reserved(table)) +
                                    "; `headpond verify` shows more"};
    if (Status backed = segment_.back(table, std::min(now + more, segment_.capacity(table))); !backed)
      return backed;
  }
  return {};
}

/// Takes slots, writes the key where nobody looks yet, then links the entry into its bucket and its scope. Journal: at most 8 records.
Result<std::uint32_t> Directory::insert(Section& section, const Key& key, const std::string& bytes,
                                        std::uint64_t hash, std::uint32_t scope_slot) {
  Header& header = segment_.header();
  std::uint32_t need = slots_for(bytes.size());
  std::vector<std::uint32_t> slots;  // numbers + 1
  for (std::uint32_t at = static_cast<std::uint32_t>(get(header.slot_free));
       at && at <= this->slots() && slots.size() < need; at = high(get(segment_.slot(at - 1).chain)))
    slots.push_back(at);
  if (slots.size() == need) {
    section.set(header.slot_free, high(get(segment_.slot(slots.back() - 1).chain)));
    section.set(segment_.slot(slots.back() - 1).chain, 0);
  } else {  // the free ones are too few: a fresh run
    std::uint64_t used = get(header.slots_used);
    if (used > segment_.reserved(Table::slots) || need > segment_.reserved(Table::slots) - used)
      return Code::full;
    slots.clear();
    for (std::uint32_t i = 0; i < need; i++) slots.push_back(static_cast<std::uint32_t>(used + i + 1));
    section.set(header.slots_used, used + need);
    for (std::uint32_t i = 0; i < need; i++)
      segment_.slot(slots[i] - 1)
          .chain.store(pair(0, i + 1 < need ? slots[i + 1] : 0), std::memory_order_relaxed);
  }
  // Unreachable so far: plain stores, and a death leaves free slots with other bytes.
  SlotWords& slot = segment_.slot(slots[0] - 1);
  slot.kind.store(pair(static_cast<std::uint64_t>(key.kind), bytes.size()), std::memory_order_relaxed);
  slot.hash.store(hash, std::memory_order_relaxed);
  slot.value.store(0, std::memory_order_relaxed), slot.value2.store(0, std::memory_order_relaxed);
  std::size_t done = std::min(bytes.size(), kHeadBytes);
  std::memcpy(slot.bytes, bytes.data(), done);
  for (std::uint32_t i = 1; i < need; i++) {
    std::size_t n = std::min(bytes.size() - done, kChainBytes);
    std::memcpy(reinterpret_cast<char*>(&segment_.slot(slots[i] - 1)) + 8, bytes.data() + done, n);
    done += n;
  }
  Word& bucket = segment_.bucket(bucket_of(hash));
  section.set(slot.chain, pair(get(bucket), high(get(slot.chain))));
  section.set(bucket, slots[0]);
  std::uint32_t sibling = 0;
  if (scope_slot) {
    SlotWords& scope = segment_.slot(scope_slot - 1);
    sibling = high(get(scope.family));
    section.set(scope.family, pair(low(get(scope.family)), slots[0]));
  }
  section.set(slot.family, pair(sibling, 0));
  section.set(header.entry_count, get(header.entry_count) + 1);
  grow_buckets(section);
  return slots[0];
}

/// Linear hashing: one bucket more splits one old one.
void Directory::grow_buckets(Section& section) {
  Header& header = segment_.header();
  std::uint64_t n = get(header.bucket_count);
  if (get(header.entry_count) <= n || n + 1 > segment_.reserved(Table::buckets)) return;
  std::uint64_t power = std::bit_floor(n), old = n - power;
  std::vector<std::uint32_t> stay, go;
  for (std::uint32_t at = low(get(segment_.bucket(static_cast<std::uint32_t>(old)))); at && at <= slots();
       at = low(get(segment_.slot(at - 1).chain))) {
    ((get(segment_.slot(at - 1).hash) & (power * 2 - 1)) == old ? stay : go).push_back(at);
    if (stay.size() + go.size() > 12) return;  // more than the journal likes: the chain stays long
  }
  auto chain = [&](std::uint64_t bucket, const std::vector<std::uint32_t>& entries) {
    section.set(segment_.bucket(static_cast<std::uint32_t>(bucket)), entries.empty() ? 0 : entries[0]);
    for (std::size_t i = 0; i < entries.size(); i++) {
      Word& word = segment_.slot(entries[i] - 1).chain;
      section.set(word, pair(i + 1 < entries.size() ? entries[i + 1] : 0, high(get(word))));
    }
  };
  chain(old, stay), chain(n, go);
  section.set(header.bucket_count, n + 1);
}

Result<Binding> Directory::find_or_create(const Key& key) {
  if (auto found = find(key); found || found.code() != Code::not_found) return found;
  Key scope = key.scope_key();
  std::string scope_bytes = scope.encoded(), bytes = key.encoded();
  const bool in_scope = key.kind != Kind::postings;  // those are the pond's, and no scope's member
  for (int tries = 0; tries < 100; tries++) {
    if (Status room = make_room(bytes.size() + scope_bytes.size()); !room) return room;
    auto section = Section::enter(me_, kDirectorySection);
    if (!section) return section.status();
    std::uint64_t hash = hash_of(bytes);
    if (std::uint32_t at = locate(key, bytes, hash)) {
      Binding found{get(segment_.slot(at - 1).value)};
      section->leave();
      if (found.index() >= segment_.reserved(Table::streams)) return damaged_entry(found);
      return found;
    }
    std::uint32_t scope_slot = in_scope ? locate(scope, scope_bytes, hash_of(scope_bytes)) : 0;
    if (!scope_slot && in_scope) {  // a section of its own: two inserts might be more than the journal holds
      auto made = insert(*section, scope, scope_bytes, hash_of(scope_bytes), 0);
      if (made) section->leave();
      if (!made && segment_.reserved(Table::slots) == segment_.capacity(Table::slots))
        return Status(Code::full, "pond " + me_.pond->name() + ": its directory is full");
      continue;
    }
    auto made = insert(*section, key, bytes, hash, scope_slot);
    if (!made) {
      if (segment_.reserved(Table::slots) == segment_.capacity(Table::slots))
        return Status(Code::full, "pond " + me_.pond->name() + ": its directory is full");
      continue;
    }
    std::uint32_t policy = 0;
    if (scope_slot) {
      SlotWords& scope_words = segment_.slot(scope_slot - 1);
      policy = policy_of({get(scope_words.value), get(scope_words.value2)});
    }
    auto stream =
        new_stream(*section, key.kind, *made, get(segment_.floor(static_cast<std::uint32_t>(hash % kFloors))),
                   nullptr, policy);
    if (!stream && stream.code() == Code::busy) continue;
    if (stream) section->leave();
    return stream;
  }
  return Status(Code::busy, "pond " + me_.pond->name() + ": its directory changes all the time; try again");
}

/// A descriptor, LIVE, empty and named by that entry; governed like `like`, or as the creator chose. `busy`: its table must grow first.
Result<Binding> Directory::new_stream(Section& section, Kind kind, std::uint32_t entry,
                                      std::uint64_t first_id, const StreamWords* like,
                                      std::uint32_t scope_policy) {
  Header& header = segment_.header();
  std::uint64_t used = std::min(get(header.descriptors_used), segment_.reserved(Table::streams));
  std::uint32_t index = static_cast<std::uint32_t>(get(header.descriptor_hint));
  while (index < used && state_of(segment_.stream(index)) != StreamState::free) index++;
  if (index >= segment_.capacity(Table::streams))
    return Status(Code::full, "pond " + me_.pond->name() + ": all " + std::to_string(index) +
                                  " streams are taken; a larger limit_bytes gives more");
  if (index >= segment_.reserved(Table::streams)) return Code::busy;
  StreamWords& stream = segment_.stream(index);
  std::uint64_t generation = std::max<std::uint64_t>(stream.state.load(std::memory_order_relaxed) >> 28, 1);
  // FREE: nobody reads it but late hands of an earlier life, whom the generation turns away. So these are plain stores.
  auto set = [](auto& word, auto value) {
    word.store(static_cast<decltype(word.load())>(value), std::memory_order_relaxed);
  };
  bool queue = kind == Kind::queue;
  std::uint32_t policy = scope_policy;
  if (header.default_lease_us) policy |= kLeased;
  if (header.default_max_attempts) policy |= kAttemptsLimited;
  if (header.default_max_items || header.default_max_bytes) policy |= kLimited;
  set(stream.first_id, std::max<std::uint64_t>(first_id, 1));
  set(stream.policy, like ? like->policy.load() : queue ? policy : scope_policy & kNotInMemory);
  set(stream.max_attempts, like ? like->max_attempts.load() : queue ? header.default_max_attempts : 0);
  set(stream.lease_us, like ? get(like->lease_us) : queue ? header.default_lease_us : 0);
  set(stream.max_items, like ? get(like->max_items) : queue ? header.default_max_items : 0);
  set(stream.max_bytes, like ? get(like->max_bytes) : queue ? header.default_max_bytes : 0);
  // what was cleared is trimmed, and that never goes back
  set(stream.trimmed, like && !queue ? first_id : 0);
  set(stream.due, 0), set(stream.used, 0), set(stream.lanes, 1);
  set(stream.last_use, sys::coarse_us());
  set(stream.entry, entry), set(stream.id, 0);
  for (LaneWords& lane : stream.lane) {
    set(lane.tail, 0), set(lane.dense_from, 0), set(lane.rows_gone, 0);
    lane.first.store(Reference::empty(generation).raw, std::memory_order_release);
  }
  if (index >= used) section.set(header.descriptors_used, index + 1);
  section.set(header.descriptor_hint, index + 1);
  section.set(segment_.slot(entry - 1).value, Binding::make(index, generation).raw);
  section.set(stream.state, state_word(generation, kind, StreamState::live));
  return Binding::make(index, generation);
}

// ------------------------------------------------------------------------------------------------------------------- remove

/// Off its bucket and its scope, its slots to the free list; a scope without members and limits goes, too. Journal: at most 8 records.
void Directory::unlink_entry(Section& section, std::uint32_t at) {
  Header& header = segment_.header();
  auto drop = [&](std::uint32_t entry) {
    SlotWords& slot = segment_.slot(entry - 1);
    Word& bucket = segment_.bucket(bucket_of(get(slot.hash)));
    std::uint32_t before = 0;
    std::uint64_t steps = 0;
    for (std::uint32_t i = low(get(bucket)); i && i != entry && i <= slots() && steps++ <= slots();
         i = low(get(segment_.slot(i - 1).chain)))
      before = i;
    std::uint32_t next = low(get(slot.chain));
    if (before)
      section.set(segment_.slot(before - 1).chain, pair(next, high(get(segment_.slot(before - 1).chain))));
    else
      section.set(bucket, next);
    std::uint32_t last = entry;
    for (std::uint32_t more;
         (more = high(get(segment_.slot(last - 1).chain))) && more <= slots() && steps++ <= 2 * slots();)
      last = more;
    std::uint64_t free = get(header.slot_free);
    if (last == entry) {
      section.set(slot.chain, pair(0, free));
    } else {
      section.set(segment_.slot(last - 1).chain, pair(0, free));
      section.set(slot.chain, pair(0, high(get(slot.chain))));
    }
    section.set(header.slot_free, entry);
    section.set(header.entry_count, get(header.entry_count) - 1);
  };
  Key key;
  if (Key::decode(key_bytes(at - 1), key) && key.kind != Kind::scope) {
    Key scope = key.scope_key();
    std::string bytes = scope.encoded();
    if (std::uint32_t owner = locate(scope, bytes, hash_of(bytes))) {
      SlotWords& words = segment_.slot(owner - 1);
      std::uint32_t next = low(get(segment_.slot(at - 1).family));
      if (high(get(words.family)) == at) {
        section.set(words.family, pair(low(get(words.family)), next));
      } else {
        std::uint64_t steps = 0;
        for (std::uint32_t i = high(get(words.family)); i && i <= slots() && steps++ <= slots();
             i = low(get(segment_.slot(i - 1).family)))
          if (low(get(segment_.slot(i - 1).family)) == at) {
            section.set(segment_.slot(i - 1).family, pair(next, high(get(segment_.slot(i - 1).family))));
            break;
          }
      }
      if (high(get(words.family)) == 0 && !get(words.value) && !get(words.value2)) drop(owner);
    }
  }
  drop(at);
}

Status Directory::erase(const Key& key) {
  return with_entry(key, [&](Section& section, std::uint32_t at) -> Status {
    if (!at) return section.leave(), Code::not_found;
    unlink_entry(section, at);
    section.leave();
    return {};
  });
}

Result<Directory::Values> Directory::values(const Key& key) {
  return with_entry(key, [&](Section& section, std::uint32_t at) -> Result<Values> {
    if (!at) return section.leave(), Code::not_found;
    Values out{get(segment_.slot(at - 1).value), get(segment_.slot(at - 1).value2)};
    section.leave();
    return out;
  });
}

Result<Directory::Values> Directory::set_values(const Key& key, Values wanted, bool raise) {
  std::string bytes = key.encoded(), scope_bytes = key.scope_key().encoded();
  for (int tries = 0; tries < 100; tries++) {
    if (Status room = make_room(bytes.size() + scope_bytes.size()); !room) return room;
    auto out = with_entry(key, [&](Section& section, std::uint32_t at) -> Result<Values> {
      std::uint32_t scope_slot = 0;
      if (!at && key.kind != Kind::scope) {
        scope_slot = locate(key.scope_key(), scope_bytes, hash_of(scope_bytes));
        if (!scope_slot) {
          auto made = insert(section, key.scope_key(), scope_bytes, hash_of(scope_bytes), 0);
          if (made) section.leave();
          return Code::busy;
        }
      }
      if (!at) {
        auto made = insert(section, key, bytes, hash_of(bytes), scope_slot);
        if (!made) return Code::busy;
        at = *made;
      }
      SlotWords& slot = segment_.slot(at - 1);
      Values set = wanted;
      if (raise)
        set.first = std::max(set.first, get(slot.value)), set.second = std::max(set.second, get(slot.value2));
      section.set(slot.value, set.first);
      section.set(slot.value2, set.second);
      section.leave();
      return set;
    });
    if (out || out.code() != Code::busy) return out;
  }
  return Status(Code::full, "pond " + me_.pond->name() + ": its directory is full");
}

Status Directory::retire(Binding stream, std::uint64_t next_id, bool keep_name) {
  for (int tries = 0; tries < 100; tries++) {
    // no successor can be made: the next user of the name tries again
    if (Status room = make_room(0); !room) keep_name = false;
    auto section = Section::enter(me_, kDirectorySection);
    if (!section) return section.status();
    StreamWords& words = segment_.stream(stream.index());
    std::uint64_t state = words.state.load(std::memory_order_acquire);
    // done by another
    if (state >> 28 != stream.generation() || state_of(words) != StreamState::clearing)
      return section->leave(), Status{};
    auto kind = static_cast<Kind>(state >> 8 & 0xff);
    std::uint32_t at = static_cast<std::uint32_t>(get(words.entry));
    if (at && at <= slots() && get(segment_.slot(at - 1).value) == stream.raw) {
      // The floor first, and never undone: it only rises, so that no id comes twice whoever dies here.
      Word& floor = segment_.floor(static_cast<std::uint32_t>(get(segment_.slot(at - 1).hash) % kFloors));
      for (std::uint64_t now = floor.load(); now < next_id && !floor.compare_exchange_weak(now, next_id);) {
      }
      if (keep_name) {
        auto next = new_stream(*section, kind, at, next_id, &words, 0);
        if (!next && next.code() == Code::busy) continue;
        keep_name = next.ok();
      }
      if (!keep_name) unlink_entry(*section, at);
    }
    section->set(words.state, state_word(stream.generation(), kind, StreamState::tombed));
    section->leave();
    return {};
  }
  return Status(Code::busy, "pond " + me_.pond->name() + ": its directory changes all the time; try again");
}

Result<bool> Directory::free_descriptor(Binding stream) {
  // In the stream's own section first: only there is it sure that no dead one's journal takes a tomb back.
  bool settled = true;
  {
    auto own = Section::try_enter(me_, stream_section(stream.index()));
    if (!own) return false;
    for (LaneWords& lane : segment_.stream(stream.index()).lane)
      settled = settled && Reference{lane.first.load(std::memory_order_acquire)}.is_tomb();
    own->leave();
  }
  auto section = Section::enter(me_, kDirectorySection);
  if (!section) return section.status();
  StreamWords& words = segment_.stream(stream.index());
  std::uint64_t state = words.state.load(std::memory_order_acquire);
  if (state >> 28 != stream.generation() || state_of(words) != StreamState::tombed)
    return section->leave(), true;
  if (!settled) return section->leave(), false;
  for (LaneWords& lane : words.lane)
    if (!Reference{lane.first.load(std::memory_order_acquire)}.is_tomb()) return section->leave(), false;
  section->set(words.state, state_word(stream.generation() + 1, Kind::none, StreamState::free));
  Word& hint = segment_.header().descriptor_hint;
  if (get(hint) > stream.index()) section->set(hint, stream.index());
  section->leave();
  return true;
}

// --------------------------------------------------------------------------------------------------------------------- list

Result<std::vector<Directory::Listed>> Directory::list(const std::string* scope) {
  std::vector<Listed> out;
  auto add = [&](std::uint32_t at) {
    Listed entry;
    if (!Key::decode(key_bytes(at - 1), entry.key)) return;
    std::uint64_t value = get(segment_.slot(at - 1).value);
    bool stream = entry.key.kind == Kind::queue || entry.key.kind == Kind::log;
    // damaged: verify() says so
    if (stream && Binding{value}.index() >= segment_.reserved(Table::streams)) return;
    if (stream)
      entry.stream = Binding{value};
    else
      entry.values = {value, get(segment_.slot(at - 1).value2)};
    out.push_back(std::move(entry));
  };
  if (scope) {
    Key key{Kind::scope, *scope, {}, {}, {}};
    auto found = with_entry(key, [&](Section& section, std::uint32_t at) -> Result<bool> {
      if (at)
        for (std::uint32_t i = high(get(segment_.slot(at - 1).family)), steps = 0;
             i && i <= slots() && steps++ <= slots(); i = low(get(segment_.slot(i - 1).family)))
          add(i);
      section.leave();
      return true;
    });
    if (!found) return found.status();
    return out;
  }
  // some buckets at a time, so that nobody waits for long
  for (std::uint64_t bucket = 0; bucket < buckets();) {
    auto section = Section::enter(me_, kDirectorySection);
    if (!section) return section.status();
    for (int i = 0; i < 256 && bucket < buckets(); i++, bucket++)
      for (std::uint32_t at = low(get(segment_.bucket(static_cast<std::uint32_t>(bucket)))), steps = 0;
           at && at <= slots() && steps++ <= slots(); at = low(get(segment_.slot(at - 1).chain)))
        add(at);
    section->leave();
  }
  return out;
}

Result<Key> Directory::key_of(Binding stream) {
  auto section = Section::enter(me_, kDirectorySection);
  if (!section) return section.status();
  std::uint64_t at = get(segment_.stream(stream.index()).entry);
  Key key;
  bool good = at && at <= slots() &&
              get(segment_.slot(static_cast<std::uint32_t>(at - 1)).value) == stream.raw &&
              Key::decode(key_bytes(static_cast<std::uint32_t>(at - 1)), key);
  section->leave();
  if (!good) return Code::not_found;
  return key;
}

Status Directory::verify(std::vector<std::string>& problems) {
  auto section = Section::enter(me_, kDirectorySection);
  if (!section) return section.status();
  Header& header = segment_.header();
  std::uint64_t used = std::min(get(header.slots_used), segment_.reserved(Table::slots)), entries = 0;
  std::set<std::uint32_t> seen;
  std::set<std::uint64_t> named;
  auto once = [&](std::uint32_t at, const char* where) {
    if (at > used)
      problems.push_back(std::string("directory: ") + where + " names slot " + std::to_string(at) +
                         " beyond the last");
    else if (!seen.insert(at).second)
      problems.push_back(std::string("directory: slot ") + std::to_string(at) + " is met twice, at last in " +
                         where);
    else
      return true;
    return false;
  };
  for (std::uint64_t bucket = 0; bucket < buckets(); bucket++)
    for (std::uint32_t at = low(get(segment_.bucket(static_cast<std::uint32_t>(bucket)))); at;
         at = low(get(segment_.slot(at - 1).chain))) {
      if (!once(at, "a bucket")) break;
      entries++;
      for (std::uint32_t next = high(get(segment_.slot(at - 1).chain)); next && once(next, "an entry");
           next = high(get(segment_.slot(next - 1).chain))) {
      }
      Key key;
      std::string bytes = key_bytes(at - 1);
      if (!Key::decode(bytes, key)) {
        problems.push_back("directory: slot " + std::to_string(at) + " has a key that is none");
        continue;
      }
      if (bucket_of(hash_of(bytes)) != bucket)
        problems.push_back("directory: slot " + std::to_string(at) +
                           " is in a bucket that its key does not hash to");
      if (key.kind != Kind::queue && key.kind != Kind::log && key.kind != Kind::postings) continue;
      Binding stream{get(segment_.slot(at - 1).value)};
      if (stream.index() >= std::min(get(header.descriptors_used), segment_.reserved(Table::streams))) {
        problems.push_back("I9: slot " + std::to_string(at) + " names a stream beyond the last");
        continue;
      }
      StreamWords& words = segment_.stream(stream.index());
      if (words.state.load() >> 28 != stream.generation() ||
          (state_of(words) != StreamState::live && state_of(words) != StreamState::clearing))
        problems.push_back("I9: slot " + std::to_string(at) + " names stream " +
                           std::to_string(stream.index()) + ", which is not live in that generation");
      if (!named.insert(stream.raw).second)
        problems.push_back("I9: stream " + std::to_string(stream.index()) + " has two names");
    }
  if (entries != get(header.entry_count))
    problems.push_back("directory: " + std::to_string(entries) + " entries, and its count says " +
                       std::to_string(get(header.entry_count)));
  std::uint64_t free = 0;
  for (std::uint32_t at = static_cast<std::uint32_t>(get(header.slot_free)); at && once(at, "the free list");
       at = high(get(segment_.slot(at - 1).chain)))
    free++;
  if (seen.size() != get(header.slots_used))
    problems.push_back("directory: " + std::to_string(get(header.slots_used) - seen.size()) +
                       " slots are neither used nor free");
  if (get(header.descriptors_used) > segment_.reserved(Table::streams))
    problems.push_back("directory: " + std::to_string(get(header.descriptors_used)) +
                       " streams are more than there can be");
  for (std::uint32_t i = 0; i < std::min(get(header.descriptors_used), segment_.reserved(Table::streams));
       i++) {
    StreamWords& words = segment_.stream(i);
    if (state_of(words) == StreamState::live && !named.count(Binding::make(i, words.state.load() >> 28).raw))
      problems.push_back("I9: stream " + std::to_string(i) + " is live and has no name");
  }
  section->leave();
  return {};
}

}  // namespace headpond::internal
