// What import does with each line.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "batches.h"
#include "commands.h"
#include "session.h"
#include "transfer.h"

namespace headpond::command {

/// Takes the lines of a file in their order. What is wrong is thrown as a Failure that names the file and the line, after everything that stood
/// before it was put into the pond; nothing of the line itself was.
class Importer {
 public:
  Importer(const Settings& settings, const ImportRequest& request, const Pond& pond, Progress& progress,
           const std::string& file);

  /// The next line. It is perhaps put into the pond later, with those behind it.
  void take(Bytes line);
  /// All that was taken is put into the pond, unless a signal comes.
  void put();
  /// There are no more lines: the file must have ended there.
  void finish();

  const Transferred& all() const { return all_; }
  bool durable() const { return durable_; }
  std::uint64_t kept_queues() const { return kept_queues_; }
  std::uint64_t kept_cursors() const { return kept_cursors_; }

 private:
  struct OpenQueue {
    Queue queue;
    std::string what;                    // "queue files", for messages
    std::optional<QueueOptions> limits;  // to be set behind its last item; none: it was there
    bool draining = false;               // the same
  };
  struct OpenLog {
    Log log;
    std::string what;
    std::uint64_t last_seq = 0;  // of what was appended, or was there before
    std::set<std::string> had;   // cursors that were there before
  };

  void take_header(const Json& line);
  void take_kind(const Json& line, const std::string& kind);
  void take_scope(const ReadScope& scope);
  void set_scopes();
  void open_queue(const ReadQueue& queue);
  void open_log(const ReadLog& log);
  void close();
  void take_cursor(const Json& line);
  std::string scope_of(const std::string& in_file);
  bool was_there(const std::string& scope, StreamName::Kind kind, const std::string& name,
                 const std::string& key);
  void refuse_unless_fresh(const ReadHeader& header) const;
  void put_items();
  void put_records();
  void note(const Status& answer);
  void before(std::size_t bytes);
  [[noreturn]] void fail(std::uint64_t line, const std::string& why) const;
  [[noreturn]] void fail(const Status& status, const std::string& what) const;
  void need_set(const Status& status, const std::string& what) const;

  const Settings& settings_;
  const ImportRequest& request_;
  const Pond& pond_;
  Progress& progress_;
  const std::string file_;
  Batches batches_;

  std::uint64_t line_ = 0, first_waiting_line_ = 0;
  bool begun_ = false, ended_ = false;  // a header came; its last line came
  std::optional<OpenQueue> queue_;
  std::optional<OpenLog> log_;
  std::vector<OwnedItem> items_;  // that wait to be put, all of one place and priority
  std::vector<std::string> records_;
  std::size_t waiting_bytes_ = 0;
  std::optional<std::string> only_scope_;              // with --scope: the one of the file
  std::map<std::string, std::set<StreamName>> there_;  // of each scope, before its first line
  std::map<std::string, ScopeOptions> scopes_;         // to be set behind the file's last item
  Transferred all_;
  bool durable_ = true;
  std::uint64_t kept_queues_ = 0, kept_cursors_ = 0;
};

}  // namespace headpond::command
