// What a call answers: a Status, or a Result that holds a value or a Status. No exception crosses the API.
//
// Three kinds of trouble are never mixed. An expected outcome (empty, full, timeout, fenced, ...) is a Status without text of its own.
// Damaged bytes, a foreign file or a failing system call is a Status whose text says what failed, on which object, why, and what to do.
// A defect of the library itself stops the process: recovery is designed for that.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "headpond/export.h"

namespace headpond {

enum class Code : std::uint8_t {
  ok,
  empty,  // nothing there now
  // nothing happened in the time allowed, or a stopped process holds up what is needed: try again
  timeout,
  full,         // no room: the segment's limit, the shared-memory file system, a queue's limit or a table
  fenced,       // this claim is no longer yours: it was reaped, it expired, or it was settled already
  not_found,    // no such pond, scope, queue, log, item or cursor
  exists,       // there already, with other fixed options
  busy,         // somebody else has it just now
  paused,       // the queue delivers nothing until it is resumed
  draining,     // the queue takes no more items
  removed,      // the pond was removed while this process was attached
  forked,       // this handle was made before a fork: attach anew in the child
  closed,       // the pond was closed in this process
  invalid,      // an argument is out of its range
  too_large,    // a name or value is larger than the limit that the text names
  corruption,   // bytes in shared memory or on disk are not what the protocol allows
  unsupported,  // another layout version, another pid namespace, a missing kernel facility
  permission,   // owner, mode or kind of a file is not what is required
  system,       // a system call failed: see error_number()
};

/// The name of a code, as printed: "full".
HEADPOND_API std::string_view name(Code code) noexcept;

/// What an operation survives. Asked for by the call, or by its scope's default.
enum class Durability : std::uint8_t {
  memory,  // every process
  // as `memory` when the call returns; it goes with the next commit of anybody, and flush() waits for that
  posted,
  durable,  // the host: SQLite has it, synced
};
/// The name, as printed: "durable".
HEADPOND_API std::string_view name(Durability durability) noexcept;

/// Outcome of a call. Copyable; 16 bytes; an expected outcome allocates nothing.
///
/// What succeeded says how durable it is. An operation that was asked to be durable and happened in memory alone is ok, `memory`, and has a
/// cause: it is done, and must not be done again. Where a call says that it answers so for a part of what it does (Queue::drain), it need not be ok.
class [[nodiscard]] HEADPOND_API Status {
 public:
  Status() noexcept = default;
  Status(Code code) noexcept : code_(code) {}  // NOLINT: an outcome is a status
  Status(Code code, std::string text, int error_number = 0)
      : code_(code), error_number_(error_number), text_(std::make_unique<std::string>(std::move(text))) {}
  Status(const Status& other)
      : code_(other.code_),
        durability_(other.durability_),
        cause_(other.cause_),
        error_number_(other.error_number_) {
    if (other.text_) text_ = std::make_unique<std::string>(*other.text_);
  }
  Status& operator=(const Status& other) { return *this = Status(other); }
  Status(Status&&) noexcept = default;
  Status& operator=(Status&&) noexcept = default;

  bool ok() const noexcept { return code_ == Code::ok; }
  explicit operator bool() const noexcept { return ok(); }
  Code code() const noexcept { return code_; }
  /// The errno of the system call that failed, else 0.
  int error_number() const noexcept { return error_number_; }
  /// `memory` or `durable`.
  Durability durability() const noexcept { return durability_; }
  /// Why it is `memory` though it was asked to be durable: `full`, `timeout`, `corruption`, ...; text() says more. ok: nothing kept it.
  Code cause() const noexcept { return cause_; }
  /// One line for people: what failed, on which object, why, and what to do.
  std::string text() const;

  friend bool operator==(const Status& status, Code code) noexcept { return status.code_ == code; }

  static Status durable() noexcept {
    Status status;
    status.durability_ = Durability::durable;
    return status;
  }
  /// `answer` of a call that had done a part by then: `done` says how durable that is, and why it is in memory alone.
  static Status after(const Status& done, Status answer) noexcept {
    answer.durability_ = done.durability_, answer.cause_ = done.cause_;
    return answer;
  }
  /// ok, in memory alone for that reason. REQUIRES: `why` is not ok.
  static Status in_memory(const Status& why) {
    Status status(Code::ok, why.text(), why.error_number());
    status.cause_ = why.code();
    return status;
  }

 private:
  Code code_ = Code::ok;
  Durability durability_ = Durability::memory;
  Code cause_ = Code::ok;
  int error_number_ = 0;
  std::unique_ptr<std::string> text_;
};

/// A value, or the Status that says why there is none. `if (result) use(*result); else complain(result.status());`
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}                   // NOLINT
  Result(Status status) noexcept : status_(std::move(status)) {}  // NOLINT
  Result(Code code) noexcept : status_(code) {}                   // NOLINT
  /// A value, and how durable it is.
  Result(T value, Status done) : status_(std::move(done)), value_(std::move(value)) {}

  bool ok() const noexcept { return value_.has_value(); }
  explicit operator bool() const noexcept { return ok(); }
  const Status& status() const noexcept { return status_; }
  Code code() const noexcept { return status_.code(); }
  Durability durability() const noexcept { return status_.durability(); }

  /// REQUIRES: ok().
  T& operator*() & noexcept { return *value_; }
  const T& operator*() const& noexcept { return *value_; }
  T&& operator*() && noexcept { return std::move(*value_); }
  T* operator->() noexcept { return &*value_; }
  const T* operator->() const noexcept { return &*value_; }
  T value_or(T other) const& { return value_ ? *value_ : std::move(other); }

 private:
  Status status_;
  std::optional<T> value_;
};

}  // namespace headpond
