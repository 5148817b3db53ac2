// Park: an idle stream leaves the segment wholly; its name keeps parked words (parked_words.h). Unpark, the other way: unpark.h.
//
//   1 LIVE for good: seen in the directory's section; the gap versions, seen in the stream's, so that a refill is seen whole or fails 5;
//     every lane from `first` on: each page LINKED -> SPILLING(me); the tail is sealed; every gap walked over remembered
//   2 a copy of every page: records READY or DONE; nobody else has a pin on one of them, so nobody is between an ack and its post
//   3 COMMIT, for many streams at once: a row of each page that is not all DONE, and no other rows of the stream below the tail's end but those in the gaps
//     as walked. (Above it are rows of pages that were linked behind the tail and spilled since: 5 fails, and they are needed.)
//   4 READY -> SPILLING(me) for every copied record of a queue; nothing posted of it waits for the disk; not used since it was found idle; slots kept
//   5 in the stream's section: LIVE, the gap versions as they were; the end of every lane -> tomb. Leaving it commits, for all lanes
//   6 in the directory's section, by whoever meets a tomb of a LIVE descriptor: the entry names the parked words, the descriptor is PARKED
//   7 by anybody who saw PARKED in the directory's section, where no journal takes it back: SPILLING -> DONE, whoever took it; pages LINKED; then they are
//     unlinked, the gaps with them, their rows stay; the descriptor is FREE
//
// Anything in the way up to 5 (another at work, a claim, a record being written, delayed items, a sleeper, a page linked behind the tail): all is given back.
//
//   killed before      found                                        becomes
//   3                  pages SPILLING(dead)                         LINKED; the tail is sealed, the next push links a page
//   5                  pages and records SPILLING(dead)             READY, LINKED; rows are those of pages with `row`
//   the commit of 5    a journal with some tombs                    undone: as above. A clear that met them looks again, in the section
//   6                  LIVE, every lane ends in a tomb              the reaper does 6 before it lets go what the dead one had taken
//   7                  PARKED                                       7, by whoever reaps, sweeps or is short of memory
//
// Several lanes are one because their tombs are words of one section, and no tomb counts for good that was not seen in that section: who meets one looks the
// name up, and there enters it. A log's records are not taken and stay READY: appends find the tail sealed, and readers see the state.
#pragma once

#include <span>
#include <vector>

#include "attachment.h"
#include "headpond/status.h"

namespace headpond::internal {

/// A stream as it was when somebody found it idle.
struct Idle {
  Binding stream;
  std::uint64_t last_use = 0;
};

struct ParkCount {
  std::uint64_t streams = 0, items = 0, bytes = 0;  // bytes: of pages that left the segment
  std::uint64_t busy = 0;                           // streams that stayed
};

/// Parks those of them that nobody uses, several a transaction. ok: perhaps some could not. Else what the tier or a section answered; what was not parked by then
/// is as it was. Sleeps, on the disk; pins and unpins.
Status park(ThreadContext& me, std::span<const Idle> streams, ParkCount& out);

/// A mark of use becomes a time. The time first: whoever dies here has forgotten no use.
inline void note_use(StreamWords& words, std::uint64_t now_us) {
  if (!words.used.load(std::memory_order_relaxed)) return;
  words.last_use.store(now_us, std::memory_order_relaxed);
  words.used.store(0, std::memory_order_release);
}

/// Every stream that may be parked, the longest idle first, and not used for `idle_us`. A mark of use counts as use just now.
std::vector<Idle> idle_streams(ThreadContext& me, std::uint64_t idle_us);

/// Memory is short, and nothing can be spilled: parks the longest idle until about so many bytes of pages have left.
Status park_some(ThreadContext& me, std::uint64_t bytes, ParkCount& out);

/// Step 6 and 7 for a LIVE stream whose lanes all end in a tomb; nothing for any other. Not ok: held up.
Status finish_park(ThreadContext& me, Binding stream);

/// Step 7 for a PARKED descriptor; nothing for any other.
void sweep_parked(ThreadContext& me, Binding stream);

}  // namespace headpond::internal
