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

Result<NewPage> allocate_with_room(ThreadContext& me, std::uint64_t bytes) {
  UseReserve reserve(me);
  auto page = allocate_page(me, bytes);
  if (page || page.code() != Code::full) return page;
  make_room(me);
  Bell& bell = me.pond->segment().header().space_bell;
  bool busy = true;  // somebody is at work on what may make room
  for (std::uint64_t until = sys::precise_us() + kReadPatienceUs; busy && sys::precise_us() < until;) {
    std::uint32_t armed = arm(me.pond->segment(), bell);
    page = allocate_page(me, bytes);
    if (page || page.code() != Code::full) return page;
    Spilled spilled;
    if (Status done = make_space(me, std::max<std::uint64_t>(bytes, 1 << 18), spilled); !done) return done;
    busy = spilled.busy || spilled.bytes;
    if (busy && !spilled.bytes) sleep_on(bell, armed, 20'000);
  }
  if (page = allocate_page(me, bytes); page || page.code() != Code::full) return page;
  if (busy) return Status(Code::timeout);
  return Status(Code::full, "pond " + me.pond->name() + ": there is no room in its " +
                                std::to_string(me.pond->segment().limit_bytes() >> 20) +
                                " MiB to bring spilled items back; settle some claims");
}

}  // namespace headpond::internal
