#include "room.h"

#include <algorithm>

#include "park.h"
#include "reap.h"
#include "settings.h"
#include "tier_side.h"
#include "wait.h"

namespace headpond::internal {

namespace {

Status spill_or_park(ThreadContext& me, std::uint64_t bytes, Spilled& out) {
  if (Status spilled = spill_some(me, bytes, out, {SpillFrom::cold}); !spilled || out.bytes) return spilled;
  // Whole streams at once, many a transaction, rather than a page or two of each: that is a commit each, and leaves what cannot be put together.
  ParkCount parked;
  if (Status done = park_some(me, bytes, parked); !done) return done;
  out.bytes += parked.bytes;
  if (out.bytes) return {};
  Status spilled = spill_some(me, bytes, out, {SpillFrom::any});
  out.busy |= parked.busy > 1;
  return spilled;
}

}  // namespace

Status make_space(ThreadContext& me, std::uint64_t bytes, Spilled& out) {
  Status made = spill_or_park(me, bytes, out);
  if (made.ok()) follow_tier(me);
  return made;
}

Status make_room_for_move(Attachment& pond) {
  ThreadContext* me = pond.thread();
  if (!me || pond.options().on_full != OnFull::spill) return Code::full;
  Spilled out;
  if (Status made = make_space(*me, spill_step(pond.segment()), out); !made) return made;
  if (!out.bytes) make_room(*me);
  return {};
}

Result<NewPage> allocate_with_room(ThreadContext& me, std::uint64_t bytes) {
  UseReserve reserve(me);
  Segment& segment = me.pond->segment();
  Bell& bell = segment.header().space_bell;
  bool looked = false;
  auto look_around = [&] { make_room(me), looked = true; };
  bool busy = true;  // somebody is at work on what may make room
  for (std::uint64_t until = sys::precise_us() + kReadPatienceUs; busy && sys::precise_us() < until;) {
    std::uint32_t armed = arm(segment, bell);
    auto page = allocate_page(me, bytes);
    if (page || page.code() != Code::full) return page;
    // Like space that is made, a look at every lane costs the more the more streams there are: now and then, and where nothing else helps.
    if (!looked && me.pond->tick_begins()) {
      look_around();
      continue;
    }
    Spilled spilled;
    Status made = make_space(me, std::max(bytes, spill_step(segment)), spilled);
    if (!made && looked) return made;
    busy = spilled.busy || spilled.bytes || !looked;
    if (spilled.bytes) continue;
    if (!looked)
      look_around();  // also where the tier refuses: memory may be over all the same
    else if (busy)
      sleep_on(bell, armed, 20'000);
  }
  auto page = allocate_page(me, bytes);
  if (page || page.code() != Code::full) return page;
  if (busy) return Status(Code::timeout);
  return Status(Code::full, "pond " + me.pond->name() + ": there is no room in its " +
                                std::to_string(segment.limit_bytes() >> 20) +
                                " MiB to bring spilled items back; settle some claims");
}

}  // namespace headpond::internal
