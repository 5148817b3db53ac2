// Options, with units, ranges and defaults.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "headpond/status.h"

namespace headpond {

/// Bytes of a name or a value: any bytes, 0 included; may be empty. Not owned.
using Bytes = std::string_view;

using std::chrono::milliseconds;

/// What an operation does when there is no room.
enum class OnFull : std::uint8_t {
  fail,   // answer `full` at once
  block,  // wait until there is room, at most `full_timeout`, then answer `full`
  // Move what was not used for longest to the durable tier in the pond's folder, 1 MiB at a time: some ms. What that tier answers if it
  // can't; `full` if nothing can be moved. After `full_timeout`, and up to 1 s more: `full` if others are still moving it, `timeout` if
  // others, or a foreign program, keep the tier's files locked.
  spill,
};

enum class Severity : std::uint8_t { debug, info, warning, error };

/// Limits and policies of one queue. They live in the segment: a change holds for every process from then on.
struct QueueOptions {
  /// How long a claim is its claimer's. After that others may have the item and an ack is `fenced`. 1 ms to 30 days; 0: for ever, which is
  /// safe, since the claims of a dead process come back without a lease. Steps of 4 ms.
  milliseconds lease{0};
  /// After this many claims that ended without an ack the item goes to the dead letters. 1 to 65,534; 0: never.
  std::uint32_t max_attempts = 0;
  /// Items that may wait or be claimed at once, and bytes of their payloads. 0: no limit. With several producers at once the limit may be
  /// passed by a sixteenth.
  std::uint64_t max_items = 0;
  std::uint64_t max_bytes = 0;

  bool operator==(const QueueOptions&) const = default;
};

/// What queues begin with, each value by itself; see QueueOptions.
struct QueueDefaults {
  std::optional<milliseconds> lease = std::nullopt;
  std::optional<std::uint32_t> max_attempts = std::nullopt;
  std::optional<std::uint64_t> max_items = std::nullopt;
  std::optional<std::uint64_t> max_bytes = std::nullopt;
};

/// Limits of one scope: the sum over its queues, below 2^62. 0: no limit.
struct ScopeOptions {
  std::uint64_t max_items = 0;
  std::uint64_t max_bytes = 0;
  /// What its pushes, appends, acks and pops are that don't ask themselves. Holds for handles and processes that have looked at the queue or
  /// log before, too; a claim taken before keeps what was. With `durable` each waits for the disk, some 0.3 ms, shared among all who wait.
  Durability durability = Durability::memory;
};

/// When streams (queues and logs) that nobody uses leave the segment, and the pond. Every operation is use, pops and reads, too; stats() is none. Coarse: whether
/// a stream was popped from is noticed by the next look. Never taken are streams with claims, reservations, delayed items, scans, or somebody waiting.
struct GcOptions {
  /// Idle for so long: its items move to the durable tier and its pages go; the name keeps 0.4 KiB. Whoever comes to it next brings it back, in some ms. 1 ms
  /// to 10 years; 0: never.
  milliseconds spill_idle{0};
  /// Idle for so long: it is dropped, with its items, its dead letters and its name, and the cursors of a log; ids go on above if the name comes again. 0: never.
  milliseconds drop_idle{0};
};

/// How a pond is opened. What the creator fixes is marked (fixed): another explicit value when attaching is the error `exists`; no value
/// takes what is there. It is kept in the pond's folder, too (options.json): whoever makes the segment anew, because a reboot took it, has what was
/// fixed, but for what he says explicitly, which holds from then on.
struct Options {
  /// (fixed) Bytes of pages that the segment may use; the file is sparse and takes what is used. 1 MiB to 64 GiB, a multiple of 1 MiB.
  /// Default 256 MiB.
  std::optional<std::uint64_t> limit_bytes = std::nullopt;
  /// (fixed) Processes that may be attached at once. 1 to 4,094. Default 4,094.
  std::optional<std::uint32_t> max_participants = std::nullopt;
  /// (fixed) Streams get pages of at least min_page_bytes when they are small, growing to max_page_bytes: powers of two, 1 KiB to 64 KiB.
  /// Defaults 1 KiB and 64 KiB.
  std::optional<std::uint32_t> min_page_bytes = std::nullopt;
  std::optional<std::uint32_t> max_page_bytes = std::nullopt;
  /// (fixed) Defaults for queues made later; each can be changed by Queue::configure. Default: no lease, no limits.
  QueueDefaults queue = {};

  /// Where the pond's files live. Default $HEADPOND_HOME, else $XDG_STATE_HOME/headpond, else ~/.local/state/headpond; the pond gets a
  /// folder of its own there, mode 0700.
  std::filesystem::path state_home = {};

  // The rest is this process's own choice.
  OnFull on_full = OnFull::spill;
  milliseconds full_timeout{1000};
  /// How long a durable operation waits for its commit. Then it answers `memory`, with the cause `timeout`.
  milliseconds durable_timeout{5000};
  /// How long a waiting claim spins before it sleeps. 0 to 10 ms. Spinning uses a core and saves a wake-up of some 10 us.
  std::chrono::microseconds spin{20};
  /// A thread that reaps dead processes as soon as the kernel shows their death, and gives back memory. Without it the next
  /// participant that waits, finds nothing, or attaches does so.
  bool maintenance = false;
  /// What that thread parks and drops, some times in the shorter of both limits, and once a second at most. Off by default.
  GcOptions gc = {};
  /// Receives what the library has to say; it says nothing if this is empty. May be called by any thread, the maintenance thread too.
  std::function<void(Severity, std::string_view)> log = {};
};

struct PushOptions {
  /// The item is ready after this time; 0 to 365 days, wall-clock, steps of 4 ms.
  milliseconds delay{0};
  /// 0 to 7; a higher one is claimed first.
  int priority = 0;
  /// Overrides Options::full_timeout for this call: how long to wait for room. 0: neither waits nor spills.
  std::optional<milliseconds> full_timeout = std::nullopt;
  /// Default: the scope's. Of a durable item its moves, too, are written: to the dead letters, back, to another time.
  std::optional<Durability> durability = std::nullopt;
};

struct AppendOptions {
  /// As in PushOptions.
  std::optional<milliseconds> full_timeout = std::nullopt;
  std::optional<Durability> durability = std::nullopt;
};

struct AckOptions {
  /// Default: the scope's. An item that was pushed `durable` or `posted` has its ack written with the next commit in any case.
  std::optional<Durability> durability = std::nullopt;
};

struct NackOptions {
  /// The item is ready again after this time; with 0 at once, at its old place.
  milliseconds delay{0};
};

struct ScanOptions {
  /// Records with a greater seq. 0 and negative: from the first there is.
  std::int64_t after = 0;
  /// At most this many.
  std::uint64_t limit = UINT64_MAX;
};

}  // namespace headpond
