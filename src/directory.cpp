#include "directory.h"

#include <algorithm>
#include <cstring>

#include "directory_inside.h"

namespace headpond::internal {

namespace {

constexpr std::size_t kHeadBytes = sizeof(SlotWords::bytes);
constexpr std::size_t kChainBytes = sizeof(SlotWords) - 8;

constexpr std::uint32_t slots_for(std::size_t key_bytes) {
  return key_bytes <= kHeadBytes
             ? 1
             : 1 + static_cast<std::uint32_t>((key_bytes - kHeadBytes + kChainBytes - 1) / kChainBytes);
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

Status Directory::damaged_entry(Binding found) const {
  return {Code::corruption, "pond " + me_.pond->name() + ": a directory entry names stream " +
                                std::to_string(found.index()) +
                                ", and there is none; `headpond verify` shows more"};
}

bool Directory::in_table(Binding found) const {
  return found.is_parked() ? found.slot() && found.slot() <= slots()
                           : found.index() < segment_.reserved(Table::streams);
}

Result<Binding> Directory::find(const Key& key) {
  return with_entry(key, [&](Section& section, std::uint32_t at) -> Result<Binding> {
    if (!at) return section.leave(), Code::not_found;
    Binding found{get(segment_.slot(at - 1).value)};
    section.leave();
    if (!in_table(found)) return damaged_entry(found);
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

/// So many slots, linked by their chains; numbers + 1. Empty: there are too few. Journal: at most 2 records.
std::vector<std::uint32_t> Directory::take_slots(Section& section, std::uint32_t need) {
  Header& header = segment_.header();
  std::vector<std::uint32_t> slots;
  for (std::uint32_t at = static_cast<std::uint32_t>(get(header.slot_free));
       at && at <= this->slots() && slots.size() < need; at = high(get(segment_.slot(at - 1).chain)))
    slots.push_back(at);
  if (slots.size() == need) {
    section.set(header.slot_free, high(get(segment_.slot(slots.back() - 1).chain)));
    section.set(segment_.slot(slots.back() - 1).chain, 0);
  } else {  // the free ones are too few: a fresh run
    std::uint64_t used = get(header.slots_used);
    if (used > segment_.reserved(Table::slots) || need > segment_.reserved(Table::slots) - used) return {};
    slots.clear();
    for (std::uint32_t i = 0; i < need; i++) slots.push_back(static_cast<std::uint32_t>(used + i + 1));
    section.set(header.slots_used, used + need);
    for (std::uint32_t i = 0; i < need; i++)
      segment_.slot(slots[i] - 1)
          .chain.store(pair(0, i + 1 < need ? slots[i + 1] : 0), std::memory_order_relaxed);
  }
  return slots;
}

/// Takes slots, writes the key where nobody looks yet, then links the entry into its bucket and its scope. Journal: at most 8 records.
Result<std::uint32_t> Directory::insert(Section& section, const Key& key, const std::string& bytes,
                                        std::uint64_t hash, std::uint32_t scope_slot) {
  Header& header = segment_.header();
  std::uint32_t need = slots_for(bytes.size());
  std::vector<std::uint32_t> slots = take_slots(section, need);
  if (slots.empty()) return Code::full;
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
      if (!in_table(found)) return damaged_entry(found);
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
      policy = policy_of({get(scope_words.value), get(scope_words.value2) & ~kValueMarks});
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

// ------------------------------------------------------------------------------------------------------------------- remove

/// Off its bucket and its scope, its slots to the free list, those of its parked words, too; a scope without members and limits goes with it. Journal: at
/// most 10 records.
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
  bool good = Key::decode(key_bytes(at - 1), key);
  if (Binding value{get(segment_.slot(at - 1).value)};
      good && is_stream(key.kind) && value.is_parked() && in_table(value))
    give_slots(section, value.slot());
  if (good && key.kind != Kind::scope) {
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
    Values out{get(segment_.slot(at - 1).value), get(segment_.slot(at - 1).value2) & ~kValueMarks};
    section.leave();
    return out;
  });
}

Result<Directory::Values> Directory::set_values(const Key& key, Values wanted, bool raise) {
  std::string bytes = key.encoded(), scope_bytes = key.scope_key().encoded();
  for (int tries = 0; tries < 100; tries++) {
    if (Status room = make_room(bytes.size() + scope_bytes.size()); !room) return room;
    auto out = with_entry(key, [&](Section& section, std::uint32_t at) -> Result<Values> {
      std::uint32_t scope_slot =
          key.kind == Kind::scope ? 0 : locate(key.scope_key(), scope_bytes, hash_of(scope_bytes));
      const bool is_new = !at;
      if (is_new && key.kind != Kind::scope) {
        if (!scope_slot) {
          auto made = insert(section, key.scope_key(), scope_bytes, hash_of(scope_bytes), 0);
          if (made) section.leave();
          return Code::busy;
        }
      }
      if (is_new) {
        auto made = insert(section, key, bytes, hash_of(bytes), scope_slot);
        if (!made) return Code::busy;
        at = *made;
      }
      SlotWords& slot = segment_.slot(at - 1);
      std::uint64_t second = get(slot.value2), marks = second & kValueMarks;
      Values set{wanted.first, wanted.second & ~kValueMarks};
      if (raise) set.first = std::max(set.first, get(slot.value));
      if (is_new || set.first != get(slot.value) || set.second != (second & ~kValueMarks))
        marks |= kUnsavedValue;
      set.unsaved = marks & kUnsavedValue;
      if (scope_slot) {
        SlotWords& scope = segment_.slot(scope_slot - 1);
        set.scope_policy = policy_of({get(scope.value), get(scope.value2) & ~kValueMarks}) & kNotInMemory;
      }
      section.set(slot.value, set.first);
      section.set(slot.value2, set.second | marks);
      section.leave();
      return set;
    });
    if (out || out.code() != Code::busy) return out;
  }
  return Status(Code::full, "pond " + me_.pond->name() + ": its directory is full");
}

}  // namespace headpond::internal
