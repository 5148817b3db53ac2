// The subcommands: what each is asked, and the function that does it. They answer an exit code, or throw Failure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "headpond/options.h"
#include "settings.h"

namespace headpond::command {

constexpr std::uint64_t kAll = UINT64_MAX;

/// Where push and append take their items, and how.
struct FeedRequest {
  std::vector<std::string> items;  // none: those of standard input
  char separator = '\n';
  bool no_wait = false;   // `full` is an error instead of a pause
  bool durable = false;   // goes on once SQLite has the batch
  bool show_ids = false;  // print each item's id or seq
};

struct PushRequest : FeedRequest {
  std::string queue;
  milliseconds delay{0};
  int priority = 0;
};

struct AppendRequest : FeedRequest {
  std::string ns, key;
};

struct PopRequest {
  std::string queue;
  std::uint64_t most = 1;
  milliseconds wait{0};
  char separator = '\n';
};

struct PeekRequest {
  std::string queue;
  std::uint64_t most = 1;
  bool details = false;
  char separator = '\n';
};

struct DeadRequest {
  std::string queue;
  std::uint64_t most = kAll;
  bool redrive = false;
};

struct ScanRequest {
  std::string ns, key;
  std::int64_t after = 0;
  std::uint64_t most = kAll;
  bool follow = false;
  char separator = '\n';
};

struct TrimRequest {
  std::string ns, key;
  std::optional<std::uint64_t> below;  // none: what every cursor has committed
};

struct CursorRequest {
  std::string ns, key, name;
  std::optional<std::uint64_t> seq;
  bool drop = false;
};

/// Limits of a queue; what is not given stays as it is.
struct QueueLimits {
  std::optional<milliseconds> lease;
  std::optional<std::uint64_t> max_attempts, max_items, max_bytes;
  bool any() const { return lease || max_attempts || max_items || max_bytes; }
  void apply(QueueOptions& options) const;
};

struct CreateRequest {
  std::optional<std::uint64_t> limit_bytes, max_participants, min_page_bytes, max_page_bytes;
  QueueLimits limits;
};

struct QueueRequest {
  std::string queue;
};

struct CancelRequest : QueueRequest {
  std::uint64_t id = 0;
};

struct DrainRequest : QueueRequest {
  milliseconds wait = milliseconds::max();
};

struct ConfigureRequest : QueueRequest {
  QueueLimits limits;
};

struct ClearRequest {
  std::optional<std::string> queue;  // none: the whole scope
};

struct RemoveRequest {
  bool keep_state = false;
};

struct GcRequest {
  GcOptions limits;
};

struct ExportRequest {
  std::string file = "-";  // standard output
  bool all = false;        // every scope
};

struct ImportRequest {
  std::string file = "-";  // standard input
  bool fresh = false;      // only where nothing is yet
  bool durable = false;
};

/// Of commands that need no more than the settings.
struct NoRequest {};

struct TopRequest {
  milliseconds interval{1000};
  std::uint64_t count = kAll;
};

int push(const Settings& settings, const PushRequest& request);
int pop(const Settings& settings, const PopRequest& request);
int peek(const Settings& settings, const PeekRequest& request);
int dead(const Settings& settings, const DeadRequest& request);
int cancel(const Settings& settings, const CancelRequest& request);
int pause(const Settings& settings, const QueueRequest& request);
int resume(const Settings& settings, const QueueRequest& request);
int drain(const Settings& settings, const DrainRequest& request);
int configure(const Settings& settings, const ConfigureRequest& request);
int clear(const Settings& settings, const ClearRequest& request);

int append(const Settings& settings, const AppendRequest& request);
int scan(const Settings& settings, const ScanRequest& request);
int trim(const Settings& settings, const TrimRequest& request);
int cursor(const Settings& settings, const CursorRequest& request);

int export_lines(const Settings& settings, const ExportRequest& request);
int import_lines(const Settings& settings, const ImportRequest& request);

int create(const Settings& settings, const CreateRequest& request);
int ls(const Settings& settings, const NoRequest& request);
int stat(const Settings& settings, const NoRequest& request);
int top(const Settings& settings, const TopRequest& request);
int verify(const Settings& settings, const NoRequest& request);
int reap(const Settings& settings, const NoRequest& request);
int gc(const Settings& settings, const GcRequest& request);
int flush(const Settings& settings, const NoRequest& request);
int rm(const Settings& settings, const RemoveRequest& request);
int doctor(const Settings& settings, const NoRequest& request);

}  // namespace headpond::command
