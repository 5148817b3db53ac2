#include "transfer.h"

#include <fmt/format.h>

#include <algorithm>

namespace headpond::command {

namespace {

using Moment = std::chrono::system_clock::time_point;
using Where = WaitingItem::Where;

constexpr std::int64_t kLatestMs = std::chrono::floor<milliseconds>(Moment::max().time_since_epoch()).count();
constexpr milliseconds kLongestDelay = std::chrono::hours(24 * 365);
constexpr const char* kBuried = "buried";
constexpr const char* kSpent = "max_attempts";

std::string some(std::uint64_t count, const char* one, const char* many) {
  return fmt::format("{} {}", show_count(count), count == 1 ? one : many);
}

const Json& field(const Json& line, const char* name) {
  const auto found = line.find(name);
  if (found == line.end()) throw BadLine{fmt::format("\"{}\" is missing", name)};
  return *found;
}

std::uint64_t number(const Json& json, const char* name, std::uint64_t most) {
  // What is negative is not unsigned.
  if (!json.is_number_unsigned() || json.get<std::uint64_t>() > most)
    throw BadLine{fmt::format("\"{}\" must be a whole number from 0 to {}", name, most)};
  return json.get<std::uint64_t>();
}

std::optional<std::uint64_t> number_if_given(const Json& line, const char* name, std::uint64_t most) {
  const auto found = line.find(name);
  if (found == line.end()) return {};
  return number(*found, name, most);
}

std::uint64_t number_or_0(const Json& line, const char* name, std::uint64_t most) {
  return number_if_given(line, name, most).value_or(0);
}

bool flag(const Json& line, const char* name) {
  const auto found = line.find(name);
  if (found == line.end()) return false;
  if (!found->is_boolean()) throw BadLine{fmt::format("\"{}\" must be true or false", name)};
  return found->get<bool>();
}

Moment moment(const Json& line, const char* name) {
  return Moment(milliseconds(
      static_cast<std::int64_t>(number(field(line, name), name, static_cast<std::uint64_t>(kLatestMs)))));
}

Cause cause(const Json& line) {
  const Json& json = field(line, "cause");
  if (json == kBuried) return Cause::buried;
  if (json == kSpent) return Cause::max_attempts;
  throw BadLine{fmt::format("\"cause\" must be \"{}\" or \"{}\"", kBuried, kSpent)};
}

}  // namespace

// ------------------------------------------------------------------------------------------------------------------ figures

void Transferred::count(const WaitingItem& item) {
  switch (item.where) {
    case Where::ready: ++ready; break;
    case Where::claimed: ++claimed; break;
    case Where::delayed: ++delayed; break;
    case Where::dead: ++dead; break;
  }
  bytes += item.payload.size();
}

std::string Transferred::show() const {
  std::string text = some(queues, "queue", "queues") + fmt::format(" ({} ready", show_count(ready));
  if (claimed > 0) text += fmt::format(", {} claimed", show_count(claimed));
  if (delayed > 0) text += fmt::format(", {} delayed", show_count(delayed));
  if (dead > 0) text += fmt::format(", {} dead", show_count(dead));
  text += fmt::format("), {} ({}", some(logs, "log", "logs"), some(records, "record", "records"));
  if (cursors > 0) text += ", " + some(cursors, "cursor", "cursors");
  return text + ")";
}

Json Transferred::json() const {
  return {{"queues", queues},   {"ready", ready},     {"claimed", claimed},
          {"delayed", delayed}, {"dead", dead},       {"logs", logs},
          {"records", records}, {"cursors", cursors}, {"bytes", bytes}};
}

std::int64_t moment_ms(Moment moment) {
  return std::chrono::floor<milliseconds>(moment.time_since_epoch()).count();
}

// -------------------------------------------------------------------------------------------------------------------- write

Json header_line(const std::string& pond, std::uint64_t scopes, const std::string* scope) {
  Json line = {{"headpond", "export"},
               {"version", kTransferVersion},
               {"pond", pond},
               {"at_ms", moment_ms(std::chrono::system_clock::now())},
               {"scopes", scopes}};
  if (scope != nullptr) line["scope"] = json_bytes(*scope);
  return line;
}

Json scope_line(const std::string& scope, const ScopeOptions& options) {
  return {{"kind", "scope"},
          {"scope", json_bytes(scope)},
          {"max_items", options.max_items},
          {"max_bytes", options.max_bytes},
          {"durability", std::string(name(options.durability))}};
}

Json queue_line(const std::string& scope, const std::string& name, const QueueOptions& options,
                const QueueStats& stats) {
  return {{"kind", "queue"},
          {"scope", json_bytes(scope)},
          {"queue", json_bytes(name)},
          {"lease_ms", options.lease.count()},
          {"max_attempts", options.max_attempts},
          {"max_items", options.max_items},
          {"max_bytes", options.max_bytes},
          {"paused", stats.paused},
          {"draining", stats.draining}};
}

Json item_line(const WaitingItem& item) {
  const char* kind = item.where == Where::delayed ? "delayed" : item.where == Where::dead ? "dead" : "ready";
  Json line = {{"kind", kind},
               {"id", std::to_string(item.id.value)},
               {"priority", item.priority},
               {"attempts", item.attempts},
               {"crashes", item.crashes}};
  if (item.where == Where::claimed) line["claimed"] = true;
  if (item.where == Where::delayed) line["due_ms"] = moment_ms(item.at);
  if (item.where == Where::dead) {
    line["cause"] = item.cause == Cause::buried ? kBuried : kSpent;
    line["reason"] = json_bytes(item.reason);
    line["pid"] = item.pid;
    line["signal"] = item.signal;
    line["at_ms"] = moment_ms(item.at);
  }
  line["payload"] = json_bytes(item.payload);
  return line;
}

Json log_line(const std::string& scope, const std::string& ns, const std::string& key) {
  return {{"kind", "log"}, {"scope", json_bytes(scope)}, {"ns", json_bytes(ns)}, {"key", json_bytes(key)}};
}

Json record_line(const Record& record) {
  return {{"kind", "record"}, {"seq", record.seq}, {"value", json_bytes(record.payload)}};
}

Json cursor_line(const CursorPlace& cursor) {
  return {{"kind", "cursor"}, {"cursor", json_bytes(cursor.name)}, {"seq", cursor.seq}};
}

Json end_line(const Transferred& all) {
  return {{"kind", "end"},    {"queues", all.queues},   {"items", all.items()},
          {"logs", all.logs}, {"records", all.records}, {"cursors", all.cursors}};
}

// --------------------------------------------------------------------------------------------------------------------- read

WaitingItem OwnedItem::view() const {
  WaitingItem out = item;
  out.payload = payload;
  out.reason = reason;
  return out;
}

Json parse_line(Bytes text) {
  Json line;
  try {
    line = Json::parse(text);
  } catch (const Json::exception& error) {
    // Its own "line 1" is of no use.
    std::string_view why = error.what();
    why.remove_prefix(std::min(why.find("column "), why.size()));
    throw BadLine{fmt::format("no JSON, {}", show_value(why))};
  }
  if (!line.is_object()) throw BadLine{"no JSON object"};
  return line;
}

bool is_header(const Json& line) { return line.contains("headpond"); }

ReadHeader read_header(const Json& line) {
  if (field(line, "headpond") != "export") throw BadLine{"\"headpond\" must be \"export\""};
  const std::uint64_t version = number(field(line, "version"), "version", UINT64_MAX);
  if (version == 0 || version > kTransferVersion)
    throw BadLine{fmt::format(
        "the file has version {} of the format, and this headpond reads up to version {}: upgrade headpond",
        version, kTransferVersion)};
  ReadHeader header{number(field(line, "scopes"), "scopes", UINT64_MAX), {}};
  if (line.contains("scope")) header.scope = read_bytes(line, "scope", kMostNameBytes);
  return header;
}

std::string read_kind(const Json& line) {
  const Json& kind = field(line, "kind");
  if (!kind.is_string()) throw BadLine{"\"kind\" must be a string"};
  return kind.get<std::string>();
}

std::string read_bytes(const Json& line, const char* name, std::size_t most) {
  auto bytes = bytes_of(field(line, name));
  if (!bytes) throw BadLine{fmt::format("\"{}\" must be a string or {{\"base64\": \"...\"}}", name)};
  if (bytes->size() > most)
    throw BadLine{fmt::format("\"{}\" has {} bytes; the limit is {}", name, show_count(bytes->size()),
                              show_count(most))};
  return std::move(*bytes);
}

ReadQueue read_queue(const Json& line) {
  constexpr std::uint64_t kMostLeaseMs = 30ULL * 24 * 3600 * 1000, kMostAttempts = 65534;
  ReadQueue queue;
  queue.scope = read_bytes(line, "scope", kMostNameBytes);
  queue.name = read_bytes(line, "queue", kMostNameBytes);
  if (const auto ms = number_if_given(line, "lease_ms", kMostLeaseMs))
    queue.lease = milliseconds(static_cast<std::int64_t>(*ms));
  queue.max_attempts = number_if_given(line, "max_attempts", kMostAttempts);
  queue.max_items = number_if_given(line, "max_items", UINT64_MAX);
  queue.max_bytes = number_if_given(line, "max_bytes", UINT64_MAX);
  queue.paused = flag(line, "paused");
  queue.draining = flag(line, "draining");
  return queue;
}

ReadScope read_scope(const Json& line) {
  constexpr std::uint64_t kMostLimit = (1ULL << 62) - 1;
  ReadScope scope{read_bytes(line, "scope", kMostNameBytes), {}};
  scope.options.max_items = number_or_0(line, "max_items", kMostLimit);
  scope.options.max_bytes = number_or_0(line, "max_bytes", kMostLimit);
  if (!line.contains("durability")) return scope;
  for (Durability durability : {Durability::memory, Durability::posted, Durability::durable})
    if (line["durability"] == std::string(name(durability)))
      return scope.options.durability = durability, scope;
  throw BadLine{R"("durability" must be "memory", "posted" or "durable")"};
}

OwnedItem read_item(const Json& line, const std::string& kind) {
  OwnedItem owned;
  WaitingItem& item = owned.item;
  owned.payload = read_bytes(line, "payload", kMostValueBytes);
  item.priority = static_cast<int>(number_or_0(line, "priority", 7));
  item.attempts = static_cast<std::uint32_t>(number_or_0(line, "attempts", 65535));
  item.crashes = static_cast<std::uint32_t>(number_or_0(line, "crashes", 255));
  if (kind == "delayed") {
    item.where = Where::delayed;
    item.at = moment(line, "due_ms");
    if (item.at > std::chrono::system_clock::now() + kLongestDelay)
      throw BadLine{"\"due_ms\" is more than 365 days ahead"};
  } else if (kind == "dead") {
    item.where = Where::dead;
    item.cause = cause(line);
    if (line.contains("reason"))
      owned.reason = read_bytes(line, "reason", kMostValueBytes - owned.payload.size());
    item.pid = static_cast<std::int32_t>(number_or_0(line, "pid", INT32_MAX));
    item.signal = static_cast<int>(number_or_0(line, "signal", UINT16_MAX));
    item.at = moment(line, "at_ms");
  }
  return owned;
}

ReadLog read_log(const Json& line) {
  return {read_bytes(line, "scope", kMostNameBytes), read_bytes(line, "ns", kMostNameBytes),
          read_bytes(line, "key", kMostNameBytes)};
}

}  // namespace headpond::command
