// The file of export and import: JSON lines, in which bytes that are not UTF-8 are {"base64": "..."}.
//
//   {"headpond":"export","version":2,"pond":"ingest","at_ms":1760000000000,"scopes":1,"scope":"order-42"}   scope: if there is one
//   {"kind":"scope","scope":"order-42","max_items":1000,"max_bytes":0,"durability":"durable"}       if it was ever set to something
//   {"kind":"queue","scope":"order-42","queue":"files","lease_ms":0,"max_attempts":5,"max_items":0,"max_bytes":0,"paused":false,"draining":false}
//   {"kind":"delayed","id":"...","priority":0,"attempts":0,"crashes":0,"due_ms":1760000001000,"payload":"..."}
//   {"kind":"ready","id":"1","priority":2,"attempts":1,"crashes":0,"payload":"..."}      with "claimed":true if a worker has it
//   {"kind":"dead","id":"7","priority":0,"attempts":5,"crashes":0,"cause":"buried","reason":"...","pid":17,"signal":0,"at_ms":...,"payload":"..."}
//   {"kind":"log","scope":"order-42","ns":"audit","key":""}
//   {"kind":"record","seq":1,"value":"..."}
//   {"kind":"cursor","cursor":"mailer","seq":1}         where it stands: behind the records that it has done with
//   {"kind":"end","queues":1,"items":3,"logs":1,"records":1,"cursors":1}
//
// What belongs to a queue or log stands behind its line; times are ms since 1970; a file without its last line is not whole. An import takes no
// notice of ids, seqs, `claimed` and fields that it does not know; priority, attempts, crashes, reason, pid, signal and the settings of a queue or scope
// may be left out. Files may be put together with cat. Version 1 had neither lines of scopes nor `draining`.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "headpond/headpond.h"
#include "text.h"

namespace headpond::command {

constexpr std::uint64_t kTransferVersion = 2;

/// What was transferred so far.
struct Transferred {
  std::uint64_t queues = 0, ready = 0, claimed = 0, delayed = 0, dead = 0;
  std::uint64_t logs = 0, records = 0, cursors = 0;
  std::uint64_t bytes = 0;  // of payloads
  std::uint64_t items() const { return ready + claimed + delayed + dead; }
  std::uint64_t all() const { return items() + records; }
  void count(const WaitingItem& item);
  /// "2 queues (10 ready, 3 dead), 1 log (5 records, 1 cursor)"
  std::string show() const;
  Json json() const;
};

/// A moment as ms since 1970.
std::int64_t moment_ms(std::chrono::system_clock::time_point moment);

// ---- lines that are written

Json header_line(const std::string& pond, std::uint64_t scopes, const std::string* scope);
Json scope_line(const std::string& scope, const ScopeOptions& options);
Json queue_line(const std::string& scope, const std::string& name, const QueueOptions& options,
                const QueueStats& stats);
Json item_line(const WaitingItem& item);
Json log_line(const std::string& scope, const std::string& ns, const std::string& key);
Json record_line(const Record& record);
Json cursor_line(const CursorPlace& cursor);
Json end_line(const Transferred& all);

// ---- lines that are read

/// Thrown for a line that can't be understood: why, without its number.
struct BadLine {
  std::string why;
};

/// An item that owns its bytes.
struct OwnedItem {
  WaitingItem item;  // without payload and reason
  std::string payload, reason;
  WaitingItem view() const;
};

struct ReadHeader {
  std::uint64_t scopes = 1;
  std::optional<std::string> scope;
};

/// A queue's settings as far as they are given.
struct ReadQueue {
  std::string scope, name;
  std::optional<milliseconds> lease;
  std::optional<std::uint64_t> max_attempts, max_items, max_bytes;
  bool paused = false, draining = false;
};

struct ReadScope {
  std::string scope;
  ScopeOptions options;
};

struct ReadLog {
  std::string scope, ns, key;
};

/// An object; else BadLine.
Json parse_line(Bytes text);
bool is_header(const Json& line);
ReadHeader read_header(const Json& line);
/// The kind of any other line.
std::string read_kind(const Json& line);
ReadQueue read_queue(const Json& line);
ReadScope read_scope(const Json& line);
/// `kind`: ready, delayed or dead.
OwnedItem read_item(const Json& line, const std::string& kind);
ReadLog read_log(const Json& line);
/// The bytes that stand under that name.
std::string read_bytes(const Json& line, const char* name, std::size_t most);

constexpr std::size_t kMostNameBytes = 65535, kMostValueBytes = std::size_t{1} << 30;  // the library's limits

}  // namespace headpond::command
