// Scope: an opaque name that owns queues and logs and is cleared as one.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "headpond/export.h"
#include "headpond/log.h"
#include "headpond/queue.h"

namespace headpond {

namespace internal {
class Attachment;
}

/// What a scope holds by that name.
struct StreamName {
  enum class Kind : std::uint8_t { queue, log } kind = Kind::queue;
  std::string name;  // a queue's name, a log's ns
  std::string key;   // a log's key
  friend auto operator<=>(const StreamName&, const StreamName&) = default;
};

/// A handle; names nothing in the segment until something is put there. Cheap to copy, safe to share between threads.
class HEADPOND_API Scope {
 public:
  Bytes name() const noexcept { return *name_; }

  /// The scope's queue of that name; the unnamed one is its default. Nothing is created before the first push. A name of over 65,535
  /// bytes gives a handle whose every call answers `too_large`.
  Queue queue(Bytes name = {}) const;
  Log log(Bytes ns, Bytes key = {}) const;
  /// Its queues and logs, by name, without a look at their items; a log of which there is but a cursor, too. Never sleeps for long; from
  /// every thread and process.
  Result<std::vector<StreamName>> streams() const;

  /// Limits over all its queues, from now on. Clears leave them as they are. Outlives processes and the host as Queue::configure() does, which see. `invalid`:
  /// a limit of 2^62 or more.
  Status configure(const ScopeOptions& options) const;
  /// As configured; its defaults if it never was.
  Result<ScopeOptions> options() const;
  /// Drops every queue, log and cursor of this scope with their settings, on disk, too, and nothing else; returns how many items and records that were.
  /// Repeatable; ids are never used again; handles stay good.
  Result<std::uint64_t> clear() const;

 private:
  friend class Pond;
  Scope(std::shared_ptr<internal::Attachment> attachment, std::string name);
  std::shared_ptr<internal::Attachment> attachment_;
  std::shared_ptr<const std::string> name_;
};

}  // namespace headpond
