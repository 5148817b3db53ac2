// The segment: what stands where. Every field names who writes it.
//
//   +--------+-----------+----------+--------+--------------+------+-------+--------+-------+---------+-------+-------+
//   | header | sections  | floors   | bitmap | participants | pins | lives | streams| slots | buckets |       | pages |
//   +--------+-----------+----------+--------+--------------+------+-------+--------+-------+---------+-------+-------+
//
// Tables are fixed and type-stable: an element never becomes something else, so that a late hand finds at worst another life of the same
// kind, which a generation tells apart. Each table is backed by memory up to its own high-water mark (`reserved`), so that a full
// file system is `full` and never SIGBUS.
//
// Invariants (checked by verify, cited in tests):
//   I1  A unit's bit is set exactly if it belongs to a page whose life is not FREE. (changed together in the allocator's section)
//   I2  Every page in BUILDING, ZEROING or SPILLING names the participant that is at work on it.
//   I3  Every LINKED page is on the chain of exactly one lane; every page on a chain is BUILDING, LINKED or SPILLING.
//   I4  A page's records lie end to end from kFirstRecord to the first FREE word or to SEAL, and a SEAL counts the ids before it.
//   I5  first_seq of a page is that of the one before plus its SEAL's ids; more where pages between were all DONE and are unlinked.
//   I6  A FREE page is all zero.
//   I7  A journal is empty unless its section is held, or its holder died in it.
//   I8  A free participant slot is named by no word but DONE.
//   I9  A directory entry names a LIVE descriptor of that generation, or parked words; a LIVE descriptor is named by exactly one entry.
//   I10 A descriptor is FREE only when no lane of it has a page.
//   I11 A gap stands behind a page, never in `first`. Its rows lie end to end from the id behind that page to the one before the next,
//       but for what a log has trimmed; below `dense_from` ids may be missing.
//   I12 A SPILLING record on a chain stands in a page that is SPILLING by the same participant.
//   I13 A row that is in no gap belongs to a page with `row` set that begins there; what does not is left over, and nobody reads it.
//   I14 gap_items and gap_bytes are the sums over the gap's rows. In the delayed lane nothing in them is due before gap_due, which is 0 exactly
//       if there is nothing, and neither gap_due nor a page's `due` is before the stream's. Of a gap in front of a page with front_of the
//       words of that page count.
//   I15 No two streams have the same id in the durable tier, parked ones included; a PARKED descriptor has that of its stream's next life.
//   I16 A record of the posting queue is WRITING, READY or DONE; it has entries end to end. (posting.h)
//   I17 A parked lane's items are those of its rows; all its stream's rows are live, and lie in the ids of its lanes. (park.h)
//   I18 A slot belongs to one entry's key, to one entry's or descriptor's parked words, or to the free list.
//   I19 Every lane of a PARKED descriptor ends in a tomb.
//   I20 What the durable tier has of a name's settings is what the name has, or the name is marked unsaved; of other names it has none.
//   I21 A segment that has its name was made with what the pond's folder says of (fixed) options. (fixed.h)
#pragma once

#include <pthread.h>

#include <cstddef>
#include <cstdint>

#include "words.h"

namespace headpond::internal {

constexpr std::uint64_t kMagic = 0x31646e6f70646165ULL;  // "eadpond1"
constexpr std::uint32_t kLayoutVersion = 4;

constexpr std::uint32_t kUnit = 1024;             // the smallest page; pages are whole units
constexpr std::uint32_t kMaxParticipants = 4094;  // and a spare slot, from which a full table is reaped
constexpr std::uint32_t kMaxThreads = 16384;
constexpr std::uint32_t kHoldPins = 64;
constexpr std::uint32_t kFloors = 4096;

// Lanes of a queue. A log uses lane 0.
constexpr int kPriorities = 8;
constexpr int kDelayedLane = 8;
constexpr int kDeadLane = 9;
constexpr int kLanes = 10;

// -------------------------------------------------------------------------------------------------------------------- tables
enum class Table : std::uint8_t {
  sections,
  floors,
  bitmap,
  participants,
  pins,
  lives,
  streams,
  slots,
  buckets,
  pages
};
constexpr int kTables = 10;

struct TableInfo {         // the creator, never changed
  std::uint64_t offset;    // in the file, a multiple of 4,096
  std::uint64_t capacity;  // elements
};

// What the creator found in the durable tier, if it rebuilt the pond from that; never changed. See Recovered.
struct RebuiltWords {
  Word epoch;  // 0: it was not
  Word at_ms, streams, rows, items, bytes, from_journal, damaged_rows, damaged_items, lost_records,
      unknown_items, settings, cursors;
};

struct alignas(128) Header {
  // Written by the creator before the segment has a name, never changed.
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t header_bytes;
  std::uint64_t layout_hash;
  std::uint64_t file_bytes;
  std::uint64_t limit_bytes;
  std::uint32_t max_participants;
  std::uint32_t min_page_bytes;
  std::uint32_t max_page_bytes;
  std::uint32_t no_membarrier;  // pins are stored with xchg
  std::uint64_t pid_namespace;
  std::uint64_t state_device;
  std::uint64_t state_inode;
  std::uint64_t created_ms;  // wall clock
  char boot_id[40];
  // Defaults for new queues: the creator, never changed.
  std::uint64_t default_lease_us;
  std::uint64_t default_max_items;
  std::uint64_t default_max_bytes;
  std::uint32_t default_max_attempts;
  std::uint32_t unused;
  // Pages in use at which maintenance begins to spill, and at which it ends: the creator, never changed.
  std::uint64_t spill_high_bytes;
  std::uint64_t spill_low_bytes;
  TableInfo table[kTables];

  alignas(128) Word removed;  // 1 once the name is gone: whoever removes it
  // elements backed by memory: whoever grows the table, atomic maximum after posix_fallocate
  Word reserved[kTables];
  Word participants_used;  // slots ever used: who attaches, atomic maximum before LIVE
  Word pins_used;          // the same for threads
  alignas(128) std::atomic<std::uint32_t> space_bell;  // for those who wait for pages
  // A hint: since when a pusher is spilling, ms, low bits of CLOCK_MONOTONIC; 0: none is. A killed one leaves it, and it is soon too old.
  std::atomic<std::uint32_t> spilling_since;
  // In the allocator's section.
  alignas(128) Word units_used;  // accounting of I1's bits
  // no free run of 2^k units (7: of whole bitmap words) begins in a bitmap word below
  Word run_hint[8];
  // In the directory's section.
  alignas(128) Word descriptors_used;  // high-water mark
  Word descriptor_hint;                // no FREE descriptor below
  Word slots_used;                     // high-water mark
  Word slot_free;                      // first of the free slots, + 1
  Word bucket_count;                   // linear hashing
  Word entry_count;
  // The durable tier. tier_store is stored last, 0: nobody has opened one; all in the directory's section, never undone.
  alignas(128) Word tier_store;
  Word tier_epoch;
  Word tier_files[10];   // device and inode of each
  Word stream_ids;       // the last id given to a stream there; atomic add
  Word stream_ids_from;  // ids up to here are of earlier segments: the first opener
  // units of the largest page that was ever spilled, atomic maximum before it is: the allocator's reserve
  // has room for it
  Word largest_spilled;
  RebuiltWords rebuilt;
  // Settings and cursors that the tier does not have (settings.h): changes so far, atomic add by who has made one, or reaps who may have;
  // how many of them had been made when the last one began who saved all, atomic maximum; 1: somebody has, since there is a tier.
  Word settings_changed;
  Word settings_saved;
  Word settings_followed;
  // The posting queue's Binding, 0: nothing was ever posted; the directory's section, never undone.
  Word posting_queue;
  Word journal_used;  // 1: the journal may have entries: who posts or commits, before the first one
  // the highest lsn that anybody was told: who leads, atomic maximum
  Word durable_lsn;
  // Group commit. Futex: + 1 and a wake after each commit, by who led it.
  alignas(128) std::atomic<std::uint32_t> commit_bell;
  // Hints, plain stores by who leads: what a commit takes, how many posts the last one took and found behind it; what was written since the last trim, and
  // what that one kept. A killed leader leaves them as they are.
  std::atomic<std::uint32_t> commit_us;
  std::atomic<std::uint32_t> commit_records;
  std::atomic<std::uint32_t> commits_since_trim;
  Word bytes_since_trim;
  Word bytes_kept;
  Word collected;            // `posted` when the last leader began to collect
  alignas(128) Word posted;  // a hint, too: records ever posted, atomic add by who posts
};
static_assert(sizeof(Header) <= 4096);

// ------------------------------------------------------------------------------------------------------------------ sections
struct UndoRecord {
  std::uint64_t place;  // offset of the word in the segment 40 | words 24
  std::uint64_t before;
  std::uint64_t after;
};
// Unpark needs most: 4 for each of 10 lanes, 5 for the descriptor and its name.
constexpr int kUndoRecords = 64;

struct alignas(128) SectionWords {  // a robust mutex and its undo journal; its memory is never anything else
  pthread_mutex_t mutex;
  alignas(64) Word entries;  // who is inside, or who replays for a dead one
  UndoRecord undo[kUndoRecords];
};
static_assert(offsetof(SectionWords, entries) == 64 && sizeof(SectionWords) == 1664);

constexpr std::uint32_t kAllocatorSection = 0;
constexpr std::uint32_t kDirectorySection = 1;
constexpr std::uint32_t kFirstStreamSection = 2;
constexpr std::uint32_t kCommitSection =
    64;  // its mutex alone, no journal: who leads a commit (group_commit.h)
constexpr std::uint32_t kSections = 65;

// -------------------------------------------------------------------------------------------------------------- participants
enum class SlotState : std::uint32_t { free, live };

struct alignas(128) ParticipantWords {  // the process that holds the slot's lock, or its reaper
  // SlotState; LIVE is stored last when attaching, FREE last when leaving
  std::atomic<std::uint32_t> state;
  std::atomic<std::int32_t> pid;
  Word start_time;   // of the process, clock ticks since boot: tells a reused pid
  Word attached_ms;  // CLOCK_MONOTONIC
  std::atomic<std::uint32_t> holds_used;
  // page + 1 of what is read in place beyond one operation
  alignas(64) std::atomic<std::uint32_t> hold[kHoldPins];
  // bit (descriptor index mod 2,048): set before the first access to that stream, cleared only with the
  // slot
  Word touched[32];
};
static_assert(sizeof(ParticipantWords) == 640);

struct alignas(64) PinWords {  // one thread
  // participant slot, 0 free: compare-exchange by who takes it, store by the reaper
  Word owner;
  // page that its operation works on; plain store by the thread, 0 by the reaper
  std::atomic<std::uint32_t> pin;
  std::atomic<std::uint32_t> hold;     // source page of its move
  std::atomic<std::uint32_t> section;  // section that it holds or is about to lock, + 1
};
static_assert(sizeof(PinWords) == 64);

// --------------------------------------------------------------------------------------------------------------------- pages
struct LifeEntry {  // of the page that begins at this unit
  Word life;
  Word units;  // of that page; 0 elsewhere; in the allocator's section
};
static_assert(sizeof(LifeEntry) == 16);

struct PageHeader {
  // Written by the builder before the page is linked.
  Word stream;     // descriptor index 28 | lane 4
  Word first_seq;  // id of the first record
  Word prev;       // the page it was linked behind; 0: it was the first
  Word next;       // compare-exchange from 0 by a builder or to the tomb; else in the stream's section
  std::atomic<std::uint32_t> epoch;  // atomic add by who returns a record
  // 1 before the first claim, cancel, abandonment: until then every id is READY
  std::atomic<std::uint32_t> disturbed;
  Word owners;  // bit (owner mod 64), before that owner's first compare-exchange here
  Word due;     // delayed lane: DueWord
  // 1: a row of the durable tier may hold this page: its spiller before the row is committed, its refiller
  // before the link; stays
  Word row;
  alignas(64) Word tail;  // Hint: plain store by pushers, may be stale, always a record's end
  // Of the gap behind, while `next` has the gap bit: READY items in its rows and bytes of their payloads. In
  // the stream's section, or by the refiller before the link.
  Word gap_items;
  Word gap_bytes;
  Word gap_due;  // delayed lane: ms, nothing in the gap is due before; 0: nothing is in it
  // Of the gap in front, if it is behind the page that front_of names: by who refills in a gap's middle, before the link; front_of also in the
  // stream's section. So one store, that of the link, ends the words of one gap and begins those of two.
  Word front_of;  // Reference
  Word front_items;
  Word front_bytes;
  Word front_due;
  alignas(64) Word head;  // Hint: plain store by claimers; nothing READY below while the epoch is the same
  std::atomic<std::uint32_t> done;  // all below this offset is DONE; plain store, may be stale
};
constexpr std::uint32_t kFirstRecord = 192;
static_assert(sizeof(PageHeader) == kFirstRecord && offsetof(PageHeader, tail) == 64 &&
              offsetof(PageHeader, head) == 128);

struct RecordHeader {
  Word word;
  Word lease;
};
constexpr std::uint32_t kRecordHeader = sizeof(RecordHeader);

struct MovedRecord {     // behind the header of a record with kMoved; written while it is WRITING
  std::uint64_t birth;   // ItemId
  std::uint64_t source;  // Reference of the page that it came from
  std::uint64_t place;   // offset there 32 | claims 16 | owner 16
  std::uint64_t moves;   // so far, this one included
};
static_assert(sizeof(MovedRecord) == 32);

struct DelayedPrefix {   // before the payload in the delayed lane; the record's own counts are fences there
  std::uint64_t due_ms;  // wall clock
  std::uint16_t attempts;
  std::uint16_t crashes;
  std::uint32_t priority;
};
struct DeadPrefix {     // before reason and payload in the dead lane
  std::uint64_t at_ms;  // wall clock
  std::int32_t pid;
  std::uint16_t signal;
  std::uint8_t cause;
  std::uint8_t priority;
  std::uint32_t reason_bytes;
  std::uint16_t attempts;
  std::uint16_t crashes;
};
static_assert(sizeof(DelayedPrefix) == 16 && sizeof(DeadPrefix) == 24);

// ------------------------------------------------------------------------------------------------------------------- streams
enum class StreamState : std::uint8_t { free, live, clearing, tombed, parked };
enum class Kind : std::uint8_t { none, scope, queue, log, cursor, postings };
enum PolicyFlag : std::uint32_t {
  kPaused = 1,
  kDraining = 2,
  kLimited = 4,
  kLeased = 8,
  kAttemptsLimited = 16,
  kPostedByDefault = 32,  // its scope's Durability
  kDurableByDefault = 64,
  kConfigured = 128,  // limits of its own, not the pond's defaults
  kUnsaved =
      256,  // the durable tier has its settings not, or others; cleared in the directory's section alone
  kMaybeSaved = 512,  // the durable tier may have settings of it; the same
};
/// What is settings of a queue, and outlives the segment; what says whether it does.
constexpr std::uint32_t kSettings = kPaused | kDraining | kConfigured, kSavedMarks = kUnsaved | kMaybeSaved;
constexpr std::uint32_t kNotInMemory = kPostedByDefault | kDurableByDefault;

struct LaneWords {
  Word first;                        // Reference
  Word tail;                         // Reference: plain store, may be stale, never trusted
  std::atomic<std::uint32_t> epoch;  // atomic add by who returns a record, after the page's
  // {generation << 2 | done} of a TOMBED lane: 1 its rows in the durable tier are erased, 2 its name there is forgotten, too; compare-exchange by who did
  // it, late perhaps: of another generation it counts for nothing
  std::atomic<std::uint32_t> rows_gone;
  // + 1 before each change of a gap (spill, refill, cut), in the stream's section, never undone: killed behind it, a refill or park begins again for nothing
  Word gap_version;
  // ids below may be missing in the durable tier, where all rows left are live: who rebuilds
  Word dense_from;
  std::uint64_t spare[3];
};
static_assert(sizeof(LaneWords) == 64);

struct alignas(128) StreamWords {
  // generation 36 from bit 28 | kind 8 from bit 8 | StreamState 8: the directory's section; LIVE ->
  // CLEARING by a clearer. PARKED: its name has parked words, its items are in the durable tier alone, and its pages go
  Word state;
  Word first_id;                      // of an empty lane: who makes it LIVE
  std::atomic<std::uint32_t> policy;  // PolicyFlag: any participant, atomic or / and
  std::atomic<std::uint32_t> max_attempts;
  Word lease_us;
  Word max_items;
  Word max_bytes;
  Word entry;  // slot of its directory entry, + 1
  // in the durable tier, 0: nothing was ever spilled; its first spiller, in the directory's section
  Word id;
  alignas(64) Word last_use;  // us, CLOCK_MONOTONIC_COARSE: every operation, plain store
  Word trimmed;               // a log's records below are gone; atomic maximum
  Word due;                   // DueWord of the delayed lane
  // bit: the lane may have records; set before its first one, never cleared
  std::atomic<std::uint32_t> lanes;
  // 1: claimed from since last_use was written: whoever asks how idle it is makes that `now`
  std::atomic<std::uint32_t> used;
  alignas(128) std::atomic<std::uint32_t> bell;  // for claimers, or a log's readers
  std::atomic<std::uint32_t> space_bell;         // for pushers at a limit, and who drains
  alignas(128) LaneWords lane[kLanes];
  // slots for its parked words, the first one's + 1: who parks takes them before there is no way back; the directory's section
  Word parked_slots;
  std::uint64_t spare[15];
};
static_assert(sizeof(StreamWords) == 1024 && offsetof(StreamWords, lane) == 256);

// ----------------------------------------------------------------------------------------------------------------- directory
// an entry's first slot, or a further one that holds only `chain` and bytes from offset 8 on; or parked words from there on (parked_words.h)
struct SlotWords {
  Word chain;   // next in the bucket 32 | next slot of this entry, or of the free list 32, each + 1
  Word family;  // sibling in its scope 32 | a scope's first member 32, each + 1
  Word kind;    // key bytes 32 | Kind 8
  Word hash;
  Word value;   // Binding; its slot and `ending` if the stream is parked; a cursor's seq; a scope's max_items
  Word value2;  // a scope's max_bytes; of it and a cursor, kUnsavedValue and kMaybeSavedValue
  char bytes[80];
};
static_assert(sizeof(SlotWords) == 128);

constexpr std::uint64_t kUnsavedValue = 1ULL << 63, kMaybeSavedValue = 1ULL << 62,
                        kValueMarks = kUnsavedValue | kMaybeSavedValue;

constexpr std::uint64_t element_bytes(Table table) {
  constexpr std::uint64_t sizes[kTables] = {sizeof(SectionWords),
                                            8,
                                            8,
                                            sizeof(ParticipantWords),
                                            sizeof(PinWords),
                                            sizeof(LifeEntry),
                                            sizeof(StreamWords),
                                            sizeof(SlotWords),
                                            8,
                                            kUnit};
  return sizes[static_cast<int>(table)];
}

/// Changes whenever a size or an offset above does.
constexpr std::uint64_t layout_hash() {
  std::uint64_t h = 0xcbf29ce484222325ULL;
  for (std::uint64_t v : {sizeof(Header),
                          sizeof(SectionWords),
                          sizeof(pthread_mutex_t),
                          sizeof(ParticipantWords),
                          sizeof(PinWords),
                          sizeof(LifeEntry),
                          sizeof(PageHeader),
                          sizeof(MovedRecord),
                          sizeof(DeadPrefix),
                          sizeof(StreamWords),
                          sizeof(SlotWords),
                          offsetof(Header, removed),
                          offsetof(Header, space_bell),
                          offsetof(Header, units_used),
                          offsetof(Header, descriptors_used),
                          offsetof(StreamWords, bell),
                          offsetof(StreamWords, last_use),
                          offsetof(StreamWords, id),
                          offsetof(PageHeader, epoch),
                          offsetof(PageHeader, gap_items),
                          offsetof(PageHeader, gap_due),
                          offsetof(PageHeader, front_of),
                          offsetof(LaneWords, gap_version),
                          offsetof(Header, tier_store),
                          offsetof(Header, rebuilt),
                          offsetof(Header, settings_changed),
                          offsetof(Header, commit_bell),
                          offsetof(SlotWords, bytes)})
    h = (h ^ v) * 0x100000001b3ULL;
  return h;
}

}  // namespace headpond::internal
