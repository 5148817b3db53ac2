#include "stream_names.h"

#include <algorithm>
#include <utility>

namespace headpond::internal {

namespace {

constexpr std::uint64_t kEnd = 1ULL << 63;
constexpr const char* kDeclare = "declare a stream";

std::string called(std::uint64_t stream) { return "stream " + std::to_string(stream); }

}  // namespace

Status StreamNames::declare(std::span<const TierNames> all, std::uint64_t deadline_us) {
  for (const TierNames& names : all)
    if (names.stream >= kEnd || names.cleared_upto >= kEnd)
      return {Code::invalid, called(names.stream) + ": its numbers are out of range"};
  Status answer = database_.write(deadline_us, kDeclare, [&](sqlite::Connection& connection) -> Status {
    for (const TierNames& names : all)
      if (Status declared = declare_one(connection, names); !declared) return declared;
    return {};
  });
  if (answer) {
    std::lock_guard lock(mutex_);
    for (const TierNames& names : all) known_.insert(names.stream);
  }
  return answer;
}

Status StreamNames::declare_one(sqlite::Connection& connection, const TierNames& names) {
  {
    sqlite::Query query(connection, "SELECT scope, ns, name, kind FROM stream WHERE id = ?1");
    query.with(names.stream);
    if (query.row() && (query.bytes(0) != names.scope || query.bytes(1) != names.ns ||
                        query.bytes(2) != names.name || query.number(3) != names.kind))
      return {Code::exists, database_.path() + ": " + called(names.stream) +
                                " stands for another name already, and ids are never used again"};
    if (query.fault()) return database_.failed(query.fault(), kDeclare);
  }
  sqlite::Query query(
      connection,
      "INSERT INTO stream(id, scope, ns, name, kind, cleared_upto) VALUES(?1, ?2, ?3, ?4, ?5, ?6) "
      "ON CONFLICT(id) DO UPDATE SET cleared_upto = max(cleared_upto, excluded.cleared_upto)");
  query.with(names.stream).with(std::string_view(names.scope)).with(std::string_view(names.ns));
  query.with(std::string_view(names.name)).with(std::uint64_t{names.kind}).with(names.cleared_upto);
  return database_.failed(query.run(), kDeclare);
}

Status StreamNames::clear(std::span<const std::uint64_t> streams, std::uint64_t upto,
                          std::uint64_t deadline_us) {
  constexpr const char* doing = "clear a stream";
  Database::Work trace;  // who asks whether it could is told of a full disk, too
  if (upto == 0)
    trace = [&](sqlite::Connection& connection) { return database_.leave_a_trace(connection, doing); };
  auto change = [&](sqlite::Connection& connection, std::uint64_t stream) {
    sqlite::Query query(connection, "UPDATE stream SET cleared_upto = max(cleared_upto, ?2) WHERE id = ?1");
    return query.with(stream).with(std::min(upto, kEnd - 1)).run();
  };
  return change_each(streams, doing, deadline_us, change, trace);
}

Status StreamNames::forget(std::span<const std::uint64_t> streams, std::uint64_t deadline_us) {
  if (database_.forked()) return Code::forked;  // before the mutex, as in known()
  {
    std::lock_guard lock(mutex_);
    for (std::uint64_t stream : streams) known_.erase(stream);
  }
  return change_each(streams, "forget a stream", deadline_us,
                     [](sqlite::Connection& connection, std::uint64_t stream) {
                       sqlite::Query query(connection, "DELETE FROM stream WHERE id = ?1");
                       return query.with(stream).run();
                     });
}

// `not_found`: no row was there for any of them.
template <class Change>
Status StreamNames::change_each(std::span<const std::uint64_t> streams, const char* doing,
                                std::uint64_t deadline_us, Change change, const Database::Work& also) {
  return database_.write(deadline_us, doing, [&](sqlite::Connection& connection) -> Status {
    std::uint64_t changed = 0;
    for (std::uint64_t stream : streams) {
      if (stream >= kEnd) continue;
      if (auto fault = change(connection, stream)) return database_.failed(fault, doing);
      changed += connection.changes();
    }
    if (!changed) return Code::not_found;
    return also ? also(connection) : Status();
  });
}

Result<std::vector<TierNames>> StreamNames::all(std::uint64_t deadline_us) {
  constexpr const char* doing = "list streams";
  std::vector<TierNames> all;
  Status answer = database_.read(deadline_us, doing, [&](sqlite::Connection& connection) {
    all.clear();
    sqlite::Query query(connection, "SELECT id, scope, ns, name, kind, cleared_upto FROM stream ORDER BY id");
    while (query.row())
      all.push_back({query.number(0), std::string(query.bytes(1)), std::string(query.bytes(2)),
                     std::string(query.bytes(3)), static_cast<std::uint8_t>(query.number(4)),
                     query.number(5)});
    return database_.failed(query.fault(), doing);
  });
  if (!answer) return answer;
  return all;
}

Status StreamNames::known(std::uint64_t stream, std::uint64_t deadline_us) {
  if (database_.forked()) return Code::forked;  // before the mutex: a thread of the parent may have had it
  {
    std::lock_guard lock(mutex_);
    if (known_.contains(stream)) return {};
  }
  bool there = false;
  constexpr const char* doing = "look for a stream";
  Status answer = database_.read(deadline_us, doing, [&](sqlite::Connection& connection) {
    sqlite::Query query(connection, "SELECT 1 FROM stream WHERE id = ?1");
    there = query.with(std::min(stream, kEnd - 1)).row();
    return database_.failed(query.fault(), doing);
  });
  if (!answer) return answer;
  if (!there) return {Code::invalid, database_.path() + ": " + called(stream) + " was never declared"};
  std::lock_guard lock(mutex_);
  known_.insert(stream);
  return {};
}

}  // namespace headpond::internal
