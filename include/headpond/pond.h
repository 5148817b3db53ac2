// Pond: one named segment of shared memory and its folder. Open it, take scopes, queues and logs from it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "headpond/export.h"
#include "headpond/options.h"
#include "headpond/scope.h"
#include "headpond/status.h"

namespace headpond {

struct StreamInfo {
  enum class Kind : std::uint8_t { queue, log } kind = Kind::queue;
  std::string scope;
  std::string name;      // a queue's name, a log's ns
  std::string key;       // a log's key
  QueueStats queue;      // if it is a queue
  LogStats log;          // if it is a log
  milliseconds idle{0};  // since the last operation on it
};

struct WorkerInfo {
  std::int32_t pid = 0;
  std::uint32_t slot = 0;
  bool alive = true;
  std::uint64_t claims = 0;  // items that it holds now
  milliseconds attached{0};  // since it attached
};

struct HEADPOND_API Stats {
  std::string pond;
  std::uint64_t limit_bytes = 0;
  std::uint64_t page_bytes = 0;     // pages in use
  std::uint64_t segment_bytes = 0;  // shared memory that the segment takes, tables included
  std::uint64_t largest_free_bytes = 0;
  std::uint64_t streams = 0;
  std::uint64_t participants = 0;
  std::uint64_t max_participants = 0;
  std::vector<WorkerInfo> workers;
  std::vector<StreamInfo> details;  // every queue and log

  /// Every figure with its unit in its name. Names that are not UTF-8 are given as {"base64": ...}.
  std::string json() const;
};

/// What verify() found; clean if there is nothing.
struct Findings {
  std::vector<std::string> problems;                  // each: which invariant, where, what was found
  std::uint64_t pages = 0, streams = 0, records = 0;  // looked at
  std::uint64_t rows = 0;                             // of the durable tier
  bool clean() const noexcept { return problems.empty(); }
};

struct RemoveOptions {
  /// Keep what the state folder holds.
  bool keep_state = false;
  std::filesystem::path state_home = {};
};

/// An attached pond. Move-only, safe to use from every thread. All ponds of the same name opened in a process share one attachment, which
/// ends with the last Pond, Scope, Queue or Log handle. Nothing here is ever needed after a crash: whoever looks next cleans up.
class HEADPOND_API Pond {
 public:
  /// Creates the pond or attaches to it. Names: 1 to 128 of [A-Za-z0-9._-], not beginning with a dot. Takes some 100 us.
  static Result<Pond> open(const std::string& name, const Options& options = {});
  /// Attaches; `not_found` if there is none.
  static Result<Pond> open_existing(const std::string& name, const Options& options = {});
  /// Removes the name at once; attached processes get `removed` from then on, and the memory goes with the last of them.
  static Status remove(const std::string& name, const RemoveOptions& options = {});

  Pond(Pond&&) noexcept;
  Pond& operator=(Pond&&) noexcept;
  ~Pond();

  const std::string& name() const noexcept;
  /// Any bytes, up to 65,535.
  Scope scope(Bytes name = {}) const;

  Result<Stats> stats() const;
  /// Walks the whole segment and checks every invariant. Takes locks for moments; others go on.
  Result<Findings> verify() const;
  /// Finishes or undoes what dead processes left, and recycles their memory; returns how many were reaped. Done by itself, too, whenever
  /// somebody waits, finds nothing, meets `full` or attaches.
  Result<std::uint32_t> reap() const;

 private:
  explicit Pond(std::shared_ptr<internal::Attachment> attachment);
  std::shared_ptr<internal::Attachment> attachment_;
};

}  // namespace headpond
