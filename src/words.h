// The words of the protocol: what fits in one 64-bit atomic, and how it is packed. Nothing here touches memory.
//
//   record    state 4 | owner 12 | claims 16 | crashes 8 | size 20 | flags 4
//             SEAL: ids of the page in the 32 bits from claims on
//             WRITING without intent, DONE with owner 0: claims = number of ids that the record takes
//             CLAIMED with `sole`: nobody but its owner changes the word while the owner lives
//             DONE with an owner: a committed move of one id, the evidence for who finishes it
//   lease     claims 16 | mark 1 | 47 bits
//             claims > 0: a lease of the claim with that count; 47 bits = deadline in us of CLOCK_MONOTONIC; mark = expired
//             beside a sole claim: a clear has counted the item (value 0), or its ack came first (value 1)
//             claims = 0, mark = 0: when the record was written, same clock; claims = 0, mark = 1: pid 22, signal 7 and claims 16 of the
//             claim that died last
//   life      state 4 | owner 12 | generation 36
//   reference page 27 | gap 1 | generation 36                 page is the unit's number + 1; names a page in ONE life
//             0: none; page 0 with a generation: an empty `first` of that descriptor; page all ones: the tomb
//   binding   index 28 | generation 36                        names a stream descriptor in one life
//             index all ones: parked; slot 32 | ending 1 instead of a generation
//   hints     offset 32 | ids or epoch 32
//   due       version 16 | ms 48                              0 ms: nothing is due
#pragma once

#include <atomic>
#include <cstdint>

namespace headpond::internal {

using Word = std::atomic<std::uint64_t>;
static_assert(Word::is_always_lock_free && sizeof(Word) == 8);

constexpr std::uint64_t bits(std::uint64_t word, int from, int count) {
  return word >> from & ((1ULL << count) - 1);
}

// ------------------------------------------------------------------------------------------------------------------- record
//
//   FREE --reserve--> WRITING(owner) --publish--> READY --claim--> CLAIMED(owner) --ack--> DONE
//                         |                         ^                   |
//                         +--abandon--> DONE        |             nack, expire, reap
//                                                   |                   v
//                                                   +--epochs raised-- RETURNING(owner)
//
//   Each arrow is one compare-exchange or one store by the owner whom the word names, so a process dies between arrows, never inside one.
enum class RecordState : std::uint8_t { free, writing, ready, claimed, returning, done, seal, spilling };
enum RecordFlag : std::uint8_t { kMoved = 1, kIntent = 2, kLarge = 4, kDurable = 8 };
constexpr std::uint32_t kSole = kIntent;  // of CLAIMED; intent is of WRITING

struct RecordWord {
  std::uint64_t raw = 0;

  constexpr RecordState state() const { return static_cast<RecordState>(raw & 15); }
  constexpr std::uint32_t owner() const { return bits(raw, 4, 12); }
  constexpr std::uint32_t claims() const { return bits(raw, 16, 16); }
  constexpr std::uint32_t crashes() const { return bits(raw, 32, 8); }
  constexpr std::uint32_t size() const { return bits(raw, 40, 20); }
  constexpr std::uint32_t flags() const { return raw >> 60; }
  constexpr bool has(RecordFlag flag) const { return (raw >> 60 & flag) != 0; }
  constexpr std::uint32_t sealed_ids() const { return bits(raw, 16, 32); }

  constexpr RecordWord with_state(RecordState s) const {
    return {(raw & ~15ULL) | static_cast<std::uint64_t>(s)};
  }
  constexpr RecordWord with_owner(std::uint32_t o) const {
    return {(raw & ~(0xfffULL << 4)) | static_cast<std::uint64_t>(o) << 4};
  }
  constexpr RecordWord with_claims(std::uint32_t c) const {
    return {(raw & ~(0xffffULL << 16)) | (c & 0xffffULL) << 16};
  }
  constexpr RecordWord with_crashes(std::uint32_t c) const {
    return {(raw & ~(0xffULL << 32)) | (c & 0xffULL) << 32};
  }
  constexpr RecordWord with_flags(std::uint32_t f) const {
    return {(raw & ~(15ULL << 60)) | static_cast<std::uint64_t>(f) << 60};
  }

  static constexpr RecordWord make(RecordState s, std::uint32_t owner, std::uint32_t claims,
                                   std::uint32_t size, std::uint32_t flags = 0) {
    return {static_cast<std::uint64_t>(s) | static_cast<std::uint64_t>(owner) << 4 |
            (claims & 0xffffULL) << 16 | static_cast<std::uint64_t>(size) << 40 |
            static_cast<std::uint64_t>(flags) << 60};
  }
  static constexpr RecordWord seal(std::uint32_t ids) {
    return {static_cast<std::uint64_t>(RecordState::seal) | static_cast<std::uint64_t>(ids) << 16};
  }

  /// Ids that this record takes: a span that is being written, or was abandoned, takes several.
  constexpr std::uint32_t ids() const {
    if (state() == RecordState::writing) return has(kIntent) ? 1 : claims();
    if (state() == RecordState::done) return owner() == 0 ? claims() : 1;
    return 1;
  }
  /// CLAIMED by `owner`: the fence. The count wraps past 0 and never saturates; 0 is left out, leases use it.
  constexpr RecordWord claimed_by(std::uint32_t owner) const {
    std::uint32_t next = (claims() + 1) & 0xffff;
    return with_state(RecordState::claimed).with_owner(owner).with_claims(next ? next : 1);
  }
  /// READY without flags, and claimed fewer times than wraps: then claimed_by() is an addition.
  constexpr bool plainly_ready() const {
    return (raw & 0xf00000000000000fULL) == static_cast<std::uint64_t>(RecordState::ready) &&
           claims() != 0xffff;
  }
  static constexpr std::uint64_t claim_step(std::uint32_t owner) {
    return make(RecordState::claimed, owner, 1, 0, kSole).raw - make(RecordState::ready, 0, 0, 0).raw;
  }
  /// Is it a claim that only its owner ends, as long as that lives?
  constexpr bool sole() const { return state() == RecordState::claimed && (flags() & kSole); }
  constexpr RecordWord with_sole(bool yes) const {
    return with_flags((flags() & ~kSole) | (yes ? kSole : 0u));
  }
  /// DONE, with nothing left to prove.
  constexpr RecordWord acked() const {
    return with_state(RecordState::done)
        .with_owner(0)
        .with_claims(1)
        .with_crashes(0)
        .with_flags(flags() & ~kIntent);
  }
  constexpr RecordWord returning_by(std::uint32_t owner) const {
    return with_state(RecordState::returning).with_owner(owner).with_sole(false);
  }
  constexpr RecordWord ready() const {
    return with_state(RecordState::ready).with_owner(0).with_flags(flags() & ~kIntent);
  }

  friend constexpr bool operator==(RecordWord, RecordWord) = default;
};

// larger ones say their size in their first 8 bytes (kLarge)
constexpr std::uint32_t kMaxRecordSize = (1u << 20) - 1;

// -------------------------------------------------------------------------------------------------------------------- lease
struct LeaseWord {
  std::uint64_t raw = 0;
  constexpr std::uint32_t claims() const { return raw & 0xffff; }
  constexpr bool mark() const { return raw >> 16 & 1; }
  constexpr std::uint64_t value() const { return raw >> 17; }
  constexpr bool is_lease_of(RecordWord record) const { return claims() == record.claims(); }
  static constexpr LeaseWord make(std::uint32_t claims, bool mark, std::uint64_t value) {
    return {(claims & 0xffffULL) | static_cast<std::uint64_t>(mark) << 16 | value << 17};
  }
  /// Who ends a sole claim whose queue is cleared meanwhile: the clear, or the ack.
  static constexpr LeaseWord ended(RecordWord sole, bool by_ack) { return make(sole.claims(), true, by_ack); }
  static constexpr LeaseWord born(std::uint64_t now_us) { return make(0, false, now_us); }
  /// Cites the claim that died: who meets it beside that very claim finishes what the reaper began.
  static constexpr LeaseWord death(std::uint32_t pid, std::uint32_t signal, std::uint32_t claims) {
    return make(
        0, true,
        (pid & 0x3fffffULL) | static_cast<std::uint64_t>(signal & 127) << 22 | (claims & 0xffffULL) << 29);
  }
  constexpr bool is_death() const { return claims() == 0 && mark(); }
  constexpr std::uint32_t death_pid() const { return value() & 0x3fffff; }
  constexpr std::uint32_t death_signal() const { return value() >> 22 & 127; }
  constexpr bool is_death_of(RecordWord record) const {
    return is_death() && (value() >> 29 & 0xffff) == record.claims();
  }
};

// --------------------------------------------------------------------------------------------------------------------- life
//
//   FREE --allocate--> BUILDING(owner) --link--> LINKED <--> SPILLING(owner)
//     ^                     | lost, dead            | unlink
//     |                     v                       v
//     +-- ZEROING(owner) <-- RETIRED <-- committed -- LIMBO
enum class LifeState : std::uint8_t { free, building, linked, spilling, limbo, retired, zeroing };

struct LifeWord {
  std::uint64_t raw = 0;
  constexpr LifeState state() const { return static_cast<LifeState>(raw & 15); }
  constexpr std::uint32_t owner() const { return bits(raw, 4, 12); }
  constexpr std::uint64_t generation() const { return bits(raw, 16, 36); }
  constexpr LifeWord with(LifeState s, std::uint32_t owner) const {
    return {(raw & ~0xffffULL) | static_cast<std::uint64_t>(s) | static_cast<std::uint64_t>(owner) << 4};
  }
  /// The next life begins.
  constexpr LifeWord born_to(std::uint32_t owner) const {
    std::uint64_t next = (generation() + 1) & ((1ULL << 36) - 1);
    return {static_cast<std::uint64_t>(LifeState::building) | static_cast<std::uint64_t>(owner) << 4 |
            (next ? next : 1) << 16};
  }
  constexpr bool reachable() const {
    return state() == LifeState::building || state() == LifeState::linked || state() == LifeState::spilling;
  }
  friend constexpr bool operator==(LifeWord, LifeWord) = default;
};

// ---------------------------------------------------------------------------------------------------------------- reference
struct Reference {
  std::uint64_t raw = 0;
  constexpr std::uint32_t page() const { return raw & 0x7ffffff; }
  constexpr bool gap() const { return raw >> 27 & 1; }
  constexpr std::uint64_t generation() const { return raw >> 28; }
  constexpr bool is_tomb() const { return page() == 0x7ffffff; }
  constexpr Reference with_gap() const { return {raw | 1ULL << 27}; }
  constexpr Reference without_gap() const { return {raw & ~(1ULL << 27)}; }
  /// Names a page.
  constexpr explicit operator bool() const { return page() != 0 && !is_tomb(); }
  static constexpr Reference make(std::uint32_t page, std::uint64_t generation) {
    return {page | generation << 28};
  }
  static constexpr Reference empty(std::uint64_t descriptor_generation) {
    return {descriptor_generation << 28};
  }
  static constexpr Reference tomb() { return {0x7ffffff}; }
  friend constexpr bool operator==(Reference, Reference) = default;
};

struct Binding {
  std::uint64_t raw = 0;
  constexpr std::uint32_t index() const { return raw & 0xfffffff; }
  constexpr std::uint64_t generation() const { return raw >> 28; }
  /// In a directory entry: no descriptor, but the slots with a parked stream's words; `ending`: it is being cleared, and that never goes back.
  constexpr bool is_parked() const { return index() == 0xfffffff; }
  constexpr std::uint32_t slot() const { return static_cast<std::uint32_t>(raw >> 28); }
  constexpr bool ending() const { return raw >> 60 & 1; }
  constexpr Binding with_ending() const { return {raw | 1ULL << 60}; }
  static constexpr Binding parked(std::uint32_t slot) {
    return {0xfffffff | static_cast<std::uint64_t>(slot) << 28};
  }
  constexpr explicit operator bool() const { return raw != 0; }
  static constexpr Binding make(std::uint32_t index, std::uint64_t generation) {
    return {index | generation << 28};
  }
  friend constexpr bool operator==(Binding, Binding) = default;
};

// -------------------------------------------------------------------------------------------------------------------- hints
struct Hint {  // tail: offset and the ids before it; head: offset and the epoch in which it is good
  std::uint64_t raw = 0;
  constexpr std::uint32_t offset() const { return raw; }
  constexpr std::uint32_t count() const { return raw >> 32; }
  static constexpr Hint make(std::uint32_t offset, std::uint32_t count) {
    return {offset | static_cast<std::uint64_t>(count) << 32};
  }
};

struct DueWord {
  std::uint64_t raw = 0;
  constexpr std::uint64_t ms() const { return raw >> 16; }
  constexpr std::uint16_t version() const { return raw; }
  constexpr DueWord next(std::uint64_t ms) const {
    return {ms << 16 | static_cast<std::uint16_t>(version() + 1)};
  }
};

}  // namespace headpond::internal
