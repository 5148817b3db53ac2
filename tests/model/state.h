// Layout of the modelled shared memory: the fields that the protocol needs, in few bits.
//
//   record word   state 3 | owner 4 | claims 3 | size 2 (slots) | crashes 3 | item 4 (stands for the payload; in SEAL: the page's id count) |
//                 intent 1 (only with WRITING: a move; the record's own space names the source. With CLAIMED: sole)
//   lease         deadline 4 | EXPIRED 1 | claims 3         beside each record; good only for the claim with the same claims
//     or a stamp  pid 4 | 0 | claims 0 | cited 3 | kind 2   no lease has claims 0. BIRTH: since then; DEATH: `pid` died holding the claim `cited`
//   due           earliest 4 (0: none) | version 8          of a page and of a stream of delayed items
//   gap word      earliest 4 (0: none) | items              of a gap of delayed items: what is READY in its rows
//   source        page reference 16 | offset 3 | claims 3     in the space of a record that is being moved here
//   life          generation 8 | state 4 | owner 4         type-stable table, one word per page
//   reference     generation 8 | gap 1 | page + 1          names a page in ONE life; 0 is null; in `next`, gap says that the ids between
//                                                          the two pages are in rows of the durable tier, without a hole
//   head hint     epoch 8 | offset 4                       good only while the page's epoch is the same
//   tail hint     ids 4 | offset 4
//   bell          count 6 | raised 1 | asleep 1            the futex word; raised: by a waiter since the last ring; asleep: somebody may sleep
#pragma once
#include <cstdint>
#include <cstring>

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;

constexpr int kMaxPages = 6, kMaxSlots = 5, kStreams = 4, kNames = 2, kMaxProcs = 7, kMaxOwners = 9, kMaxItems = 16, kMaxRows = 4, kNoEnd = 255;

// ------------------------------------------------------------------------------------------------------------- record
enum RecordState : u32 { FREE, WRITING, READY, CLAIMED, RETURNING, DONE, SEAL, SPILLING };
constexpr const char* kStateName[] = {"FREE", "WRITING", "READY", "CLAIMED", "RETURNING", "DONE", "SEAL", "SPILLING"};
struct Rec {
  u32 state = 0, owner = 0, claims = 0, size = 0, crashes = 0, item = 0, intent = 0;
};
inline u32 pack(Rec r) { return r.state | r.owner << 3 | r.claims << 7 | r.size << 10 | r.crashes << 12 | r.item << 15 | r.intent << 19; }
inline Rec rec(u32 w) { return {w & 7, w >> 3 & 15, w >> 7 & 7, w >> 10 & 3, w >> 12 & 7, w >> 15 & 15, w >> 19 & 1}; }
constexpr u32 kItemBits = 15u << 15, kNoPayload = 15;  // kNoPayload: reserved for a move, nothing copied yet
inline u32 state_of(u32 w) { return w & 7; }
inline u32 size_of(u32 w) { return w >> 10 & 3; }
inline u32 source(u16 page, int off, u32 w) { return page | off << 16 | rec(w).claims << 19; }

inline u16 lease(int deadline, int expired, int claims) { return deadline | expired << 4 | claims << 5; }
inline int lease_deadline(u16 l) { return l & 15; }
inline int lease_expired(u16 l) { return l >> 4 & 1; }
inline int lease_claims(u16 l) { return l >> 5 & 7; }
enum StampKind { NO_STAMP, BIRTH, DEATH };
inline u16 stamp(int kind, int pid, int cited) { return pid | cited << 8 | kind << 11; }
inline int stamp_kind(u16 l) { return l >> 11 & 3; }
inline int stamp_pid(u16 l) { return l & 15; }
inline int stamp_cited(u16 l) { return l >> 8 & 7; }

inline u16 due(int earliest, int version) { return earliest | (version & 255) << 4; }
inline int due_earliest(u16 d) { return d & 15; }
inline int due_version(u16 d) { return d >> 4; }
inline int sooner(int a, int b) { return !a ? b : !b || a < b ? a : b; }  // 0: never
constexpr int kForever = 15;                                              // the end of time
inline u16 gap_word(int earliest, int items) { return earliest | items << 4; }
inline int gap_items(u16 w) { return w >> 4; }
inline u16 gaps_of(u16 a, u16 b) { return gap_word(sooner(a & 15, b & 15), gap_items(a) + gap_items(b)); }

// --------------------------------------------------------------------------------------------------------------- page
// LIMBO: off the chain, perhaps uncommitted. RETIRED: off the chain for good, may be recycled.
enum LifeState : u16 { PFREE, BUILDING, LINKED, LIMBO, ZEROING, PSPILLING, RETIRED };
constexpr const char* kLifeName[] = {"FREE", "BUILDING", "LINKED", "LIMBO", "ZEROING", "SPILLING", "RETIRED"};
inline u16 life(int gen, int state, int owner) { return gen << 8 | state << 4 | owner; }
inline int life_gen(u16 l) { return l >> 8; }
inline int life_state(u16 l) { return l >> 4 & 15; }
inline int life_owner(u16 l) { return l & 15; }
inline u16 ref(int page, int gen) { return gen << 8 | (page + 1); }
constexpr u16 kGap = 0x80, kTomb = 0x7f;  // next = kTomb: the stream ends here for good
inline int page_of(u16 r) { return (r & 127) - 1; }
// the page that follows, if any: `next` and `first` may be empty, too (an empty `first` carries a descriptor's generation)
inline u16 target(u16 next) { return (next & 127) == 0 || (next & 127) == kTomb ? 0 : next & ~kGap; }
inline int gen_of(u16 r) { return r >> 8; }
// A descriptor of a stream (or of the lanes of a queue): its state word has the layout of a page's life.
enum DescriptorState : u16 { DFREE, DLIVE, DTOMBED, DCLEARING };  // FREE -> LIVE -> CLEARING -> TOMBED -> FREE of the next generation
constexpr const char* kDescriptorName[] = {"FREE", "LIVE", "TOMBED", "CLEARING"};
inline u16 handle(int index, int gen) { return gen << 8 | (index + 1); }  // what the directory names, and users keep; 0: absent
inline int index_of(u16 h) { return (h & 255) - 1; }
constexpr u16 kParked = 0x80, kEnding = 0x40;  // instead of a handle: next id << 8 | kParked; kEnding: a clear of it has begun
constexpr u16 kHeadOf = 0x00F0;                // `prev` of the page that begins stream k: kHeadOf | k

struct Page {
  u16 life, next, prev, tail, head;
  u8 first_seq, stream, epoch, has_row;  // has_row: a row of the durable tier may bear its first id
  u16 due, owners;                       // owners: a bit for each that has named itself here
  u16 gap_word;                          // of the gap behind, unless that is
  u16 front_of, front_word;              // the gap in front, behind the page that front_of names
  u32 word[kMaxSlots];
  u32 source[kMaxSlots];  // of a move
  u16 lease[kMaxSlots];
  u8 crash_beside[kMaxSlots];  // only with the bug that counts crashes beside the word
};
struct Row {
  u8 first_seq, count, pad[2];
  u32 word[kMaxSlots];
};  // a committed row of the durable tier
struct Undo {
  u8 addr, pad;
  u16 old, now;
};
struct Section {  // a robust mutex with its undo journal
  u8 mutex, entries;
  Undo journal[6];
  u16 due;     // of a stream of delayed items
  u8 trimmed;  // of a log: ids below it are gone; only rises
  u8 dense;    // rows below this id have holes between them, since a rebuild; all that were left then are live
};
struct Stream : Section {
  u16 first, tailp, headp;
  u8 dropped, rewind, bell, sleepers, refills, epoch;  // epoch: raised by whatever returns a record, for the cursors
};

constexpr u8 kAsleep = 1, kRaised = 2, kRing = 4;  // bell

// ------------------------------------------------------------------------------------------------------------ process
struct Buffered {
  u8 addr, gen, pad[2];
  u32 value;
};
struct Passed {
  u16 page;
  u8 off, pad;
  u32 word;
};  // a record that a claim's walk has passed, because it may become READY
struct Proc {
  u16 pc, ret;
  u8 alive, owner, op,
      pinslot;  // alive: 2 is stopped for ever; owner: participant slot; pinslot: differs from it for further threads; op: index in the script
  u8 off, cnt, base, epoch, adv, n, seq, tgt, i, armed;
  u8 held, expired, toff;  // a claim in hand
  u8 to;                   // a mover: destination stream + 1
  u8 until;                // what a claim or an extension promised
  u8 top;                  // a reader: highest id seen
  u8 buffered;
  u8 now, least, least_here, unclean, unclean_here, scan_off, scanning;  // a scan of delayed items, with its clock and what it has met
  u8 alarm, waits, lowered, looked;                                      // when a waiter's wait ends; a pusher's due was the earliest
  u8 after, below;                                                       // a log's reader: the next id wanted; a trimmer: where it ends
  u16 due_gap, gap_from;                           // a scan: the page before a gap with something due; the page that it comes from, over a gap
  u16 due, due_here, scan_page, place, had, must;  // place: a log's reader begins there; had, must: items seen, items there
  u8 clean, start;                                 // a claim: its walk met nothing that may become READY; the stream epoch at its start
  u8 cursor_epoch;                                 // a claimer's private cursor is good while this is the epoch of stream A
  u8 fresh;                                        // the page comes from `first` or a hint, not from a page that was checked
  u8 begun, dgen, last;  // ghost: this operation has begun; a tombed descriptor's generation; the highest id of a cleared stream
  u16 handle[kNames];    // what this process keeps of the directory
  u16 before;            // ghost: the items whose push had returned when this clear began
  u16 cursor;
  u16 lease;            // as it was read
  u16 stamp;            // of a record at its limit
  u16 r, q, tr;         // page worked on, second page, page of the claim
  u16 scan, seen;       // a reader: items of this scan, of all scans
  u32 w, tw;            // expected word, word of the claim
  u32 copy[kMaxSlots];  // a spiller's private copy of a page
  Buffered buffer[4];   // x86 store buffer, oldest first
  Passed passed[3];
  u8 passes, looks;  // how many; the one looked at again
  u16 exempt;        // ghost: items that were claimed or on their way back as this claim began, or since
};
struct State {
  Page page[kMaxPages];
  Stream stream[kStreams];
  Row row[kMaxRows];
  u8 pin[kMaxOwners], hold[kMaxOwners];  // page + 1
  u8 part[kMaxOwners], reaplock[kMaxOwners];
  u8 touched[kMaxOwners];  // by a participant: a set of streams
  Section directory, allocator;
  u16 entry[kNames], desc[kStreams];  // directory: name -> handle; descriptors: generation and state
  u16 floor[kNames];
  u8 cleared_upto[kNames];     // in the journal of the durable tier: what its rows say up to here is cleared
  u8 forgotten_upto;           // of the first name: the durable tier does not know the streams of rows up to here any more
  u8 base[kStreams];           // ids of a descriptor begin above base; those of the name's next one above floor
  u16 bits, size[kMaxPages];   // the allocator's bitmap and the sizes of its pages (one unit each)
  u8 kills, stops, now;        // now: the clock
  u8 open[kNames];             // ghost: clears that have begun and not returned
  u16 swept, safe, cleared;    // ghosts: items that a clear ended, that none may end, that none may deliver
  u16 returned, acked, moved;  // ghosts: sets of items
  u16 since[kMaxItems];        // ghost: the items that have been READY, without interruption, since this one's place was taken
  u8 seq_of[kMaxItems], deaths[kMaxItems], cause[kMaxItems], died[kMaxItems];  // cause: who died with the last claim; died: a set of claims
  Proc p[kMaxProcs + 1];                                                       // the last one in use is the lone survivor of the solo checks
};

// Addresses of words that buffered stores or the undo journal name.
// clang-format off
enum : u8 { A_PIN = 0x00, A_HOLD = 0x10, A_TAIL = 0x20, A_HEAD = 0x28, A_REWIND = 0x30, A_TAILP = 0x34, A_HEADP = 0x38, A_FIRST = 0x3c, A_NEXT = 0x40, A_LIFE = 0x48, A_ENTRY = 0x50, A_DESC = 0x54, A_BITS = 0x58, A_FLOOR = 0x5c, A_SIZE = 0x60, A_GAP = 0x68, A_FRONT = 0x70, A_WORD = 0x80, A_SOURCE = 0xc0 };
// clang-format on
