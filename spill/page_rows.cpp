#include "page_rows.h"

#include <algorithm>
#include <utility>

#include "page_codec.h"
#include "trouble.h"

namespace headpond::internal {

namespace {

constexpr std::uint64_t kEnd = 1ULL << 63;  // SQLite's integers are signed
constexpr std::uint64_t kRowsErasedAtOnce = 4096;
constexpr std::uint64_t kRowsListedAtOnce = 1024;

#define HEADPOND_PAGE_COLUMNS "stream, first, last, n, created, encoding, checksum, bytes"

Status check(const TierPage& page) {
  std::string what =
      "page of stream " + std::to_string(page.stream) + " from id " + std::to_string(page.first);
  if (std::max({page.stream, page.first, page.last, page.created_ms}) >= kEnd || page.first > page.last)
    return {Code::invalid, what + ": its numbers are out of range"};
  if (page.bytes.size() > kMaxPageBytes)
    return {Code::too_large, what + ": has " + std::to_string(page.bytes.size()) +
                                 " bytes, a page may have " + std::to_string(kMaxPageBytes)};
  return {};
}

// No row has such numbers, and they cannot be bound.
bool in_range(std::uint64_t stream, std::uint64_t seq) { return stream < kEnd && seq < kEnd; }
std::uint64_t capped(std::uint64_t seq) { return std::min(seq, kEnd - 1); }

sqlite::Fault put(sqlite::Connection& connection, const TierPage& page, const StoredPage& stored) {
  sqlite::Query query(
      connection, "INSERT INTO page(" HEADPOND_PAGE_COLUMNS
                  ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) "
                  "ON CONFLICT(stream, first) DO UPDATE SET last = excluded.last, n = excluded.n, "
                  "created = excluded.created, encoding = excluded.encoding, checksum = excluded.checksum, "
                  "bytes = excluded.bytes");
  query.with(page.stream).with(page.first).with(page.last).with(page.records).with(page.created_ms);
  query.with(static_cast<std::uint64_t>(stored.encoding)).with(stored.checksum).with(stored.bytes(page));
  return query.run();
}

/// The rows of a stream that begin below its end, and in no range which is to be kept.
sqlite::Fault erase_others(sqlite::Connection& connection, const TierKept& kept) {
  auto erase = [&](std::uint64_t from, std::uint64_t to) {
    sqlite::Query query(connection, "DELETE FROM page WHERE stream = ?1 AND first BETWEEN ?2 AND ?3");
    return query.with(kept.stream).with(from).with(capped(to)).run();
  };
  std::uint64_t from = 0;
  for (auto [first, last] : kept.ranges) {
    if (first > from)
      if (auto fault = erase(from, first - 1)) return fault;
    from = last + 1;
  }
  if (kept.end <= from) return {};
  return erase(from, kept.end - 1);
}

}  // namespace

Status PageRows::store(std::span<const TierPage> pages, std::span<const TierKept> whole,
                       std::uint64_t deadline_us) {
  if (database_.forked()) return Code::forked;
  if (pages.empty() && whole.empty()) return {};
  std::vector<StoredPage> stored;  // packed before anybody has to wait for it
  stored.reserve(pages.size());
  for (const TierPage& page : pages) {
    if (Status good = check(page); !good) return good;
    stored.push_back(encode(page));
  }
  constexpr const char* doing = "store pages";
  Status answer = database_.write(deadline_us, doing, [&](sqlite::Connection& connection) -> Status {
    for (const TierKept& stream : whole)
      if (auto fault = erase_others(connection, stream)) return database_.failed(fault, doing);
    for (std::size_t i = 0; i < pages.size(); i++)
      if (auto fault = put(connection, pages[i], stored[i])) return database_.failed(fault, doing);
    return {};
  });
  if (!answer) return answer;
  for (std::size_t i = 0; i < pages.size(); i++) {
    counts_.bytes_stored.fetch_add(pages[i].bytes.size(), std::memory_order_relaxed);
    counts_.bytes_kept.fetch_add(stored[i].bytes(pages[i]).size(), std::memory_order_relaxed);
  }
  counts_.stored.fetch_add(pages.size(), std::memory_order_relaxed);
  return answer;
}

Result<TierRow> PageRows::checked(const sqlite::Query& row) const {
  TierPage page;
  page.stream = row.number(0), page.first = row.number(1), page.last = row.number(2);
  page.records = static_cast<std::uint32_t>(row.number(3)), page.created_ms = row.number(4);
  std::string_view bytes = row.bytes(7);
  if (row.number(3) == page.records &&
      checksum_of(page, static_cast<Encoding>(row.number(5)), bytes) == row.number(6)) {
    if (auto plain = decode(row.number(5), bytes))
      return TierRow{page.stream, page.first, page.last, page.records, page.created_ms, std::move(*plain)};
  }
  return Status(Code::corruption,
                database_.path() + ": the page of stream " + std::to_string(page.stream) + " with ids " +
                    std::to_string(page.first) + " to " + std::to_string(page.last) +
                    " is damaged: its checksum is wrong; restore it from a backup, or clear the stream");
}

Result<TierRow> PageRows::load_one(const char* sql, std::uint64_t stream, std::uint64_t seq,
                                   std::uint64_t deadline_us) {
  if (!in_range(stream, seq)) return Code::not_found;
  constexpr const char* doing = "load a page";
  Result<TierRow> found = Code::not_found;
  Status answer = database_.read(deadline_us, doing, [&](sqlite::Connection& connection) {
    sqlite::Query query(connection, sql);
    query.with(stream).with(seq);
    found = query.row() ? checked(query) : Code::not_found;
    if (found && found->stream != stream) found = damaged(database_.path(), "its index leads to other pages");
    return database_.failed(query.fault(), doing);
  });
  if (!answer) return answer;
  if (found) counts_.loaded.fetch_add(1, std::memory_order_relaxed);
  return found;
}

Result<TierRow> PageRows::load(std::uint64_t stream, std::uint64_t first, std::uint64_t deadline_us) {
  return load_one("SELECT " HEADPOND_PAGE_COLUMNS " FROM page WHERE stream = ?1 AND first = ?2", stream,
                  first, deadline_us);
}
Result<TierRow> PageRows::load_from(std::uint64_t stream, std::uint64_t at_least, std::uint64_t deadline_us) {
  return load_one("SELECT " HEADPOND_PAGE_COLUMNS
                  " FROM page WHERE stream = ?1 AND first >= ?2 ORDER BY first LIMIT 1",
                  stream, at_least, deadline_us);
}
Result<TierRow> PageRows::load_holding(std::uint64_t stream, std::uint64_t seq, std::uint64_t deadline_us) {
  return load_one("SELECT " HEADPOND_PAGE_COLUMNS
                  " FROM (SELECT * FROM page WHERE stream = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1) "
                  "WHERE last >= ?2",
                  stream, seq, deadline_us);
}

Status PageRows::erase(std::uint64_t stream, std::span<const std::uint64_t> firsts,
                       std::uint64_t deadline_us) {
  if (firsts.empty() || stream >= kEnd) return {};
  constexpr const char* doing = "erase pages";
  return database_.write(deadline_us, doing, [&](sqlite::Connection& connection) -> Status {
    for (std::uint64_t first : firsts) {
      if (first >= kEnd) continue;
      sqlite::Query query(connection, "DELETE FROM page WHERE stream = ?1 AND first = ?2");
      if (auto fault = query.with(stream).with(first).run()) return database_.failed(fault, doing);
    }
    return {};
  });
}

Status PageRows::erase_upto(std::span<const std::uint64_t> streams, std::uint64_t seq,
                            std::uint64_t deadline_us) {
  constexpr const char* doing = "erase pages";
  for (std::size_t at = 0; at < streams.size();) {
    std::size_t next = at;
    Status answer = database_.write(deadline_us, doing, [&](sqlite::Connection& connection) -> Status {
      std::uint64_t left = kRowsErasedAtOnce;
      for (next = at; next < streams.size(); next++) {
        if (streams[next] >= kEnd) continue;
        sqlite::Query query(
            connection,
            "DELETE FROM page WHERE id IN (SELECT id FROM page WHERE stream = ?1 AND first <= ?2 "
            "AND last <= ?2 ORDER BY first LIMIT ?3)");
        if (auto fault = query.with(streams[next]).with(capped(seq)).with(left).run())
          return database_.failed(fault, doing);
        left -= std::min(left, connection.changes());
        if (left == 0) break;  // of this stream there may be more
      }
      return {};
    });
    if (!answer) return answer;
    at = next;
  }
  return {};
}

Result<TierTotals> PageRows::totals(std::uint64_t stream, std::uint64_t first, std::uint64_t last,
                                    std::uint64_t deadline_us) {
  TierTotals totals;
  if (!in_range(stream, first)) return totals;
  constexpr const char* doing = "count pages";
  Status answer = database_.read(deadline_us, doing, [&](sqlite::Connection& connection) {
    sqlite::Query query(connection,
                        "SELECT count(*), total(n), total(length(bytes)) FROM page "
                        "WHERE stream = ?1 AND first BETWEEN ?2 AND ?3 AND last <= ?3");
    query.with(stream).with(first).with(capped(last));
    if (query.row()) totals = {query.number(0), query.number(1), query.number(2)};
    return database_.failed(query.fault(), doing);
  });
  if (!answer) return answer;
  return totals;
}

Status PageRows::list(std::uint64_t stream, const std::function<Status(const TierSpan&)>& visit,
                      std::uint64_t deadline_us) {
  if (stream >= kEnd) return {};
  constexpr const char* doing = "list pages";
  std::vector<TierSpan> some;
  for (std::uint64_t from = 0;;) {
    Status answer = database_.read(deadline_us, doing, [&](sqlite::Connection& connection) {
      some.clear();
      sqlite::Query query(connection,
                          "SELECT first, last, n, length(bytes) FROM page WHERE stream = ?1 AND first >= ?2 "
                          "ORDER BY first LIMIT ?3");
      query.with(stream).with(from).with(kRowsListedAtOnce);
      while (query.row())
        some.push_back(
            {query.number(0), query.number(1), static_cast<std::uint32_t>(query.number(2)), query.number(3)});
      return database_.failed(query.fault(), doing);
    });
    if (!answer) return answer;
    for (const TierSpan& span : some)
      if (Status visited = visit(span); !visited) return visited;
    if (some.size() < kRowsListedAtOnce) return {};
    if (some.back().first < from) return damaged(database_.path(), "its index is not in order");
    from = some.back().first + 1;
  }
}

Result<std::vector<std::uint64_t>> PageRows::streams(std::uint64_t deadline_us) {
  constexpr const char* doing = "list streams";
  std::vector<std::uint64_t> streams;
  // From one to the next by the index, instead of over every row.
  for (std::uint64_t after = 0; after < kEnd;) {
    std::uint64_t next = kEnd;
    Status answer = database_.read(deadline_us, doing, [&](sqlite::Connection& connection) {
      sqlite::Query query(connection, "SELECT stream FROM page WHERE stream >= ?1 ORDER BY stream LIMIT 1");
      query.with(after);
      if (query.row()) next = query.number(0);
      return database_.failed(query.fault(), doing);
    });
    if (!answer) return answer;
    if (next < after) return damaged(database_.path(), "its index is not in order");
    if (next < kEnd) streams.push_back(next);
    after = next < kEnd ? next + 1 : kEnd;
  }
  return streams;
}

Status PageRows::barrier(std::uint64_t deadline_us) {
  constexpr const char* doing = "make pages safe";
  return database_.write(
      deadline_us, doing,
      [&](sqlite::Connection& connection) { return database_.leave_a_trace(connection, doing); },
      Database::Sync::full);
}

}  // namespace headpond::internal
