// headpond: the queue and log state that the worker processes of one host share, at memory speed and without a daemon.
//
//   auto pond = headpond::Pond::open("ingest", {.limit_bytes = 64 << 20});   // create or attach
//   headpond::Queue files = pond->scope("order-42").queue("files");
//   auto id = files.push("/etc/hosts");                                      // Result<ItemId>
//   while (auto claim = files.claim(100ms)) {                                // waits; empty after the time-out
//     if (work(claim->payload())) claim->ack();                              // a Claim that goes out of scope is nacked
//   }
//   files.push("/etc/shadow", {.durability = headpond::Durability::durable});   // returns once SQLite has it
//   for (const headpond::Record& r : pond->scope("order-42").log("audit").scan({.after = 17})) print(r.seq, r.payload);
//
// Read in this order: status.h (how calls answer), options.h, queue.h, log.h, scope.h, pond.h.
//
// Promises. A process may be killed at any instruction: the others go on, lose no item whose push returned, get none again after its ack
// returned, see no torn value, and nothing leaks once the dead one is reaped. A killed worker's claims are ready again as soon as somebody
// looks. Full is `full`, damaged is `corruption`. push, claim, ack and append make no system call, allocate nothing and take no lock.
//
// Threads: every object may be used from several threads unless its comment says otherwise. Signals: not async-signal-safe.
#pragma once

#include "headpond/log.h"
#include "headpond/options.h"
#include "headpond/pond.h"
#include "headpond/queue.h"
#include "headpond/scope.h"
#include "headpond/status.h"

namespace headpond {

/// The library's version, "0.1.0", and the version of the segment layout that it reads and writes.
HEADPOND_API const char* version() noexcept;
HEADPOND_API std::uint32_t layout_version() noexcept;

}  // namespace headpond
