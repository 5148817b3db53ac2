#include "importer.h"

#include <fmt/format.h>

#include <algorithm>

#include "stop.h"

namespace headpond::command {

namespace {

using Where = WaitingItem::Where;

bool go_together(const WaitingItem& a, const WaitingItem& b) {
  return a.where == b.where && (a.where != Where::ready || a.priority == b.priority);
}

}  // namespace

Importer::Importer(const Settings& settings, const ImportRequest& request, const Pond& pond,
                   Progress& progress, const std::string& file)
    : settings_(settings),
      request_(request),
      pond_(pond),
      progress_(progress),
      file_(file),
      batches_(need(pond.stats()).limit_bytes, false, progress) {}

void Importer::fail(std::uint64_t line, const std::string& why) const {
  throw Failure{kError, fmt::format("{}:{}: {} (imported before it: {})", file_, line, why, all_.show())};
}

void Importer::fail(const Status& status, const std::string& what) const {
  fail(first_waiting_line_, failure(status, what).text);
}

/// It holds in any case; where it should be on disk and is not, that is said as it is of items.
void Importer::need_set(const Status& status, const std::string& what) const {
  if (!status) fail(status, what);
  if (status.cause() != Code::ok)
    fail(first_waiting_line_, "what is set of " + what + " is in memory alone: " + status.text());
}

// -------------------------------------------------------------------------------------------------------------------- lines

void Importer::take(Bytes text) {
  ++line_;
  if (text.find_first_not_of(" \t\r") == Bytes::npos) return;
  try {
    const Json line = parse_line(text);
    if (is_header(line)) return take_header(line);
    if (!begun_) throw BadLine{"this is no export of headpond: its first line must say so"};
    const std::string kind = read_kind(line);
    if (ended_) throw BadLine{"a line behind the last one"};
    take_kind(line, kind);
  } catch (const BadLine& bad) {
    put();
    fail(line_, bad.why);
  }
}

void Importer::take_header(const Json& line) {
  const ReadHeader header = read_header(line);
  if (begun_ && !ended_) throw BadLine{"another file begins before the last line of the one before"};
  put();
  if (settings_.scope_given && header.scopes > 1)
    throw BadLine{fmt::format("the file has {} scopes, and --scope names one", show_count(header.scopes))};
  if (request_.fresh && !begun_) refuse_unless_fresh(header);
  begun_ = true;
  ended_ = false;
}

void Importer::take_kind(const Json& line, const std::string& kind) {
  if (kind == "ready" || kind == "delayed" || kind == "dead") {
    if (!queue_) throw BadLine{"an item outside of a queue"};
    OwnedItem item = read_item(line, kind);
    if (!items_.empty() && !go_together(items_.back().item, item.item)) put();
    before(item.payload.size() + item.reason.size());
    items_.push_back(std::move(item));
  } else if (kind == "record") {
    if (!log_) throw BadLine{"a record outside of a log"};
    std::string record = read_bytes(line, "value", kMostValueBytes);
    before(record.size());
    records_.push_back(std::move(record));
  } else if (kind == "cursor") {
    if (!log_) throw BadLine{"a cursor outside of a log"};
    take_cursor(line);
  } else if (kind == "scope") {
    take_scope(read_scope(line));
  } else if (kind == "queue") {
    const ReadQueue queue = read_queue(line);
    close();
    open_queue(queue);
  } else if (kind == "log") {
    const ReadLog log = read_log(line);
    close();
    open_log(log);
  } else if (kind == "end") {
    close();
    set_scopes();
    ended_ = true;
  } else {
    throw BadLine{fmt::format("\"kind\" is {}, which this headpond does not know", show_name(kind))};
  }
}

void Importer::finish() {
  if (!begun_) throw Failure{kError, fmt::format("{}: this is no export of headpond: it is empty", file_)};
  if (ended_) return;
  put();
  fail(line_, "the file ends before its last line: it is not whole");
}

// ---------------------------------------------------------------------------------------------------------- queues and logs

std::string Importer::scope_of(const std::string& in_file) {
  if (!settings_.scope_given) return in_file;
  if (!only_scope_) only_scope_ = in_file;
  if (*only_scope_ != in_file) throw BadLine{"a second scope, and --scope names one"};
  return settings_.scope;
}

bool Importer::was_there(const std::string& scope, StreamName::Kind kind, const std::string& name,
                         const std::string& key) {
  auto found = there_.find(scope);
  if (found == there_.end()) {
    const auto streams = need(pond_.scope(scope).streams());
    found = there_.emplace(scope, std::set<StreamName>(streams.begin(), streams.end())).first;
  }
  return !found->second.insert({kind, name, key}).second;
}

/// A scope that is set to something here stays as it is, as a queue that is here does.
void Importer::take_scope(const ReadScope& read) {
  const std::string scope = scope_of(read.scope);
  const auto here = pond_.scope(scope).options();
  first_waiting_line_ = line_;
  if (!here) fail(here.status(), "scope " + show_name(scope));
  if (here->max_items == 0 && here->max_bytes == 0 && here->durability == Durability::memory)
    scopes_[scope] = read.options;
}

/// What is more than its limits had a place once.
void Importer::set_scopes() {
  first_waiting_line_ = line_;
  for (const auto& [scope, options] : scopes_)
    if (stop_signal() == 0) need_set(pond_.scope(scope).configure(options), "scope " + show_name(scope));
  scopes_.clear();
}

void Importer::open_queue(const ReadQueue& read) {
  const std::string scope = scope_of(read.scope);
  Queue queue = pond_.scope(scope).queue(read.name);
  queue_.emplace(OpenQueue{queue, "queue " + show_name(read.name), {}, false});
  first_waiting_line_ = line_;
  ++all_.queues;
  if (was_there(scope, StreamName::Kind::queue, read.name, {})) {
    ++kept_queues_;
    return;
  }
  // Nobody takes an item before all is as it was; and what is more than its limits had a place once.
  if (read.paused) need_set(queue.pause(), queue_->what);
  auto options = queue.options();
  if (!options) fail(options.status(), queue_->what);
  if (read.lease) options->lease = *read.lease;
  if (read.max_attempts) options->max_attempts = static_cast<std::uint32_t>(*read.max_attempts);
  QueueOptions limits = *options;
  limits.max_items = read.max_items.value_or(options->max_items);
  limits.max_bytes = read.max_bytes.value_or(options->max_bytes);
  options->max_items = options->max_bytes = 0;
  need_set(queue.configure(*options), queue_->what);
  queue_->limits = limits, queue_->draining = read.draining;
}

void Importer::open_log(const ReadLog& read) {
  const std::string scope = scope_of(read.scope);
  Log log = pond_.scope(scope).log(read.ns, read.key);
  log_.emplace(OpenLog{log, fmt::format("log {} {}", show_name(read.ns), show_name(read.key)), 0, {}});
  first_waiting_line_ = line_;
  ++all_.logs;
  if (!was_there(scope, StreamName::Kind::log, read.ns, read.key)) return;
  const auto last = log.last_seq();
  if (!last) fail(last.status(), log_->what);
  log_->last_seq = *last;
  const auto cursors = log.cursors();
  if (!cursors) fail(cursors.status(), log_->what);
  for (const CursorPlace& cursor : *cursors) log_->had.insert(cursor.name);
}

/// The queue or log that is open is over.
void Importer::close() {
  put();
  if (queue_ && queue_->limits && stop_signal() == 0) {
    first_waiting_line_ = line_;
    need_set(queue_->queue.configure(*queue_->limits), queue_->what);
    if (queue_->draining) {  // not waited for: it has what was just put there
      const Status drained = queue_->queue.drain(milliseconds(0));
      const bool waits = drained.code() == Code::timeout && drained.cause() == Code::ok;
      if (!waits) need_set(drained, queue_->what);
    }
  }
  queue_.reset();
  log_.reset();
}

void Importer::take_cursor(const Json& line) {
  const std::string name = read_bytes(line, "cursor", kMostNameBytes);
  put();
  if (stop_signal() != 0) return;
  if (log_->had.contains(name)) {
    ++kept_cursors_;
    return;
  }
  first_waiting_line_ = line_;
  const auto durability = request_.durable ? std::optional(Durability::durable) : std::nullopt;
  const auto place = log_->log.commit(name, log_->last_seq, durability);
  if (place) ++all_.cursors;
  need_set(place.status(), log_->what);
}

void Importer::refuse_unless_fresh(const ReadHeader& header) const {
  std::optional<std::string> only = header.scope;
  if (settings_.scope_given) only = settings_.scope;
  for (const StreamInfo& stream : need(pond_.stats()).details) {
    if (only && stream.scope != *only) continue;
    const QueueStats& queue = stream.queue;
    if (queue.ready + queue.claimed + queue.delayed + queue.dead + stream.log.records == 0) continue;
    throw Failure{kError, fmt::format("--fresh: scope {} has items or records already: nothing was imported",
                                      show_name(stream.scope))};
  }
}

// ------------------------------------------------------------------------------------------------------------------ batches

/// So many bytes are to come to what waits: it is put first if that would be too much.
void Importer::before(std::size_t bytes) {
  const std::size_t waiting = items_.size() + records_.size();
  if (waiting == Batches::kMostThings || (waiting > 0 && waiting_bytes_ + bytes > Batches::kMostBytes)) put();
  if (items_.empty() && records_.empty()) first_waiting_line_ = line_;
  waiting_bytes_ += bytes;
}

void Importer::put() {
  if (!items_.empty()) put_items();
  if (!records_.empty()) put_records();
  waiting_bytes_ = 0;
}

void Importer::note(const Status& answer) {
  durable_ = durable_ && answer.durability() == Durability::durable;
  progress_.show(all_.all(), all_.bytes);
  // They are there, so nobody should give them again.
  if (answer.cause() != Code::ok)
    fail(first_waiting_line_, "this and what follows is in memory alone: " + answer.text());
}

void Importer::put_items() {
  std::vector<WaitingItem> views;
  views.reserve(items_.size());
  for (const OwnedItem& item : items_) views.push_back(item.view());
  const auto durability = request_.durable ? std::optional(Durability::durable) : std::nullopt;
  std::size_t done = 0;
  const Status put = batches_.put(
      views.size(), queue_->what, [&](std::size_t i) { return views[i].payload.size(); },
      [&](std::size_t first, std::size_t count, milliseconds wait) -> Status {
        const auto batch = std::span(views).subspan(first, count);
        const auto answer =
            queue_->queue.restore_many(batch, {.full_timeout = wait, .durability = durability});
        if (!answer) return answer.status();
        for (const WaitingItem& item : batch) all_.count(item);
        done += count;
        note(answer.status());
        return {};
      });
  items_.clear();
  first_waiting_line_ += done;
  if (!put) fail(put, queue_->what);
}

void Importer::put_records() {
  const auto durability = request_.durable ? std::optional(Durability::durable) : std::nullopt;
  const std::vector<Bytes> views(records_.begin(), records_.end());
  std::size_t done = 0;
  const Status put = batches_.put(
      views.size(), log_->what, [&](std::size_t i) { return views[i].size(); },
      [&](std::size_t first, std::size_t count, milliseconds wait) -> Status {
        const auto batch = std::span(views).subspan(first, count);
        const auto answer = log_->log.append_many(batch, {.full_timeout = wait, .durability = durability});
        if (!answer) return answer.status();
        log_->last_seq = *answer + count - 1;
        all_.records += count, done += count;
        for (Bytes record : batch) all_.bytes += record.size();
        note(answer.status());
        return {};
      });
  records_.clear();
  first_waiting_line_ += done;
  if (!put) fail(put, log_->what);
}

}  // namespace headpond::command
