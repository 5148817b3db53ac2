#include "journal.h"

#include <algorithm>
#include <map>
#include <utility>

#include "journal_row.h"
#include "page_codec.h"
#include "src/id_ranges.h"
#include "trouble.h"

namespace headpond::internal {

namespace {

constexpr std::uint64_t kEnd = 1ULL << 63;
constexpr std::uint64_t kRowsAtOnce = 64;
constexpr std::size_t kSurvivorBytes = 1 << 20;  // of a row that a trim writes

// What a trim keeps, as it was first said: entries own their payload, acks are united.
struct Kept {
  std::vector<JournalEntry> entries;                                // payloads are views of the rows read
  std::map<std::pair<std::uint64_t, std::uint8_t>, IdRanges> acks;  // by stream and flags

  void take(const JournalEntry& entry) {
    if (entry.kind == JournalEntry::Kind::ack)
      acks[{entry.birth_stream, entry.flags}].add(entry.birth_seq, entry.birth_last);
    else
      entries.push_back(entry);
  }
  void unite_acks() {
    for (const auto& [of, ranges] : acks)
      for (auto [first, last] : ranges.all()) {
        JournalEntry ack;
        ack.kind = JournalEntry::Kind::ack, ack.flags = of.second;
        ack.birth_stream = of.first, ack.birth_seq = first, ack.birth_last = last;
        entries.push_back(ack);
      }
  }
  // At least one row, if an empty one.
  std::vector<std::string> as_rows() const {
    std::vector<std::string> out;
    std::size_t bytes = 0, begin = 0;
    for (std::size_t i = 0; i <= entries.size(); i++) {
      if (i < entries.size() && (i == begin || bytes + entries[i].payload.size() < kSurvivorBytes)) {
        bytes += entries[i].payload.size() + 48;
        continue;
      }
      out.push_back(encode_entries(std::span(entries).subspan(begin, i - begin)));
      if (i == entries.size()) break;
      begin = i, bytes = entries[i].payload.size();
    }
    return out;
  }
};

}  // namespace

// ------------------------------------------------------------------------------------------------------------------- rows

Status Journal::top(sqlite::Connection& connection, std::uint64_t& lsn) {
  sqlite::Query query(connection, "SELECT max(lsn) FROM journal");
  lsn = query.row() ? query.number(0) : 0;
  if (query.fault()) return database_.failed(query.fault(), "read the journal");
  if (lsn >= kEnd / 2) return damaged(database_.path(), "its rows have impossible numbers");
  return {};
}

Status Journal::put(sqlite::Connection& connection, std::uint64_t lsn, std::string_view entries) {
  sqlite::Query query(connection, "INSERT INTO journal(lsn, checksum, entries) VALUES(?1, ?2, ?3)");
  query.with(lsn).with(checksum_of(entries, lsn)).with(entries);
  return database_.failed(query.run(), "write the journal");
}

Result<std::vector<Journal::Row>> Journal::read(std::uint64_t after, std::uint64_t most,
                                                std::uint64_t deadline_us) {
  std::vector<Row> rows;
  constexpr const char* doing = "read the journal";
  Status answer = database_.read(deadline_us, doing, [&](sqlite::Connection& connection) {
    rows.clear();
    sqlite::Query query(connection,
                        "SELECT lsn, checksum, entries FROM journal WHERE lsn > ?1 ORDER BY lsn LIMIT ?2");
    query.with(after).with(most);
    while (query.row()) rows.push_back({query.number(0), query.number(1), std::string(query.bytes(2))});
    return database_.failed(query.fault(), doing);
  });
  if (!answer) return answer;
  return rows;
}

Status Journal::visit(const Row& row, const std::function<Status(const JournalEntry&)>& visit) const {
  Status visited;
  if (row.lsn < kEnd && checksum_of(row.entries, row.lsn) == row.checksum &&
      decode_entries(row.entries, visit, visited))
    return visited;
  return damaged(database_.path(), "row " + std::to_string(row.lsn) + " of the journal is damaged");
}

// --------------------------------------------------------------------------------------------------------------- commit

Result<std::uint64_t> Journal::commit(std::span<const JournalEntry> entries, const Database::Work& beside,
                                      std::uint64_t after, std::uint64_t deadline_us) {
  if (entries.empty() && !beside) return Status(Code::invalid, "there is nothing to commit");
  std::uint64_t bytes = 0;
  for (const JournalEntry& entry : entries) {
    if (Status good = check_entry(entry); !good) return good;
    bytes += entry.payload.size() + 64;
  }
  if (bytes > kMaxPageBytes)
    return Status(Code::too_large,
                  "these journal entries have more than " + std::to_string(kMaxPageBytes) + " bytes");
  std::string row = encode_entries(entries);
  std::uint64_t lsn = 0;
  Status answer =
      database_.write(deadline_us, "write the journal", [&](sqlite::Connection& connection) -> Status {
        if (Status read = top(connection, lsn); !read) return read;
        if (lsn < after)
          return damaged(database_.path(), "went back to an older state: its last row is " +
                                               std::to_string(lsn) + ", but row " + std::to_string(after) +
                                               " was committed once");
        if (Status put_beside = beside ? beside(connection) : Status(); !put_beside) return put_beside;
        return entries.empty() ? database_.leave_a_trace(connection, "write the journal")
                               : put(connection, ++lsn, row);
      });
  if (!answer) return answer;
  return lsn;
}

Result<std::uint64_t> Journal::last_lsn(std::uint64_t deadline_us) {
  std::uint64_t lsn = 0;
  Status answer = database_.read(deadline_us, "read the journal",
                                 [&](sqlite::Connection& connection) { return top(connection, lsn); });
  if (!answer) return answer;
  return lsn;
}

Result<std::uint64_t> Journal::rows(std::uint64_t deadline_us) {
  std::uint64_t rows = 0;
  constexpr const char* doing = "read the journal";
  Status answer = database_.read(deadline_us, doing, [&](sqlite::Connection& connection) {
    sqlite::Query query(connection, "SELECT count(*) FROM journal");
    if (query.row()) rows = query.number(0);
    return database_.failed(query.fault(), doing);
  });
  if (!answer) return answer;
  return rows;
}

// Rows that a trim writes meanwhile have the highest numbers, so what it moves comes again and nothing is passed over.
Status Journal::replay(const std::function<Status(const JournalEntry&)>& visit_entry,
                       std::uint64_t deadline_us) {
  for (std::uint64_t after = 0;;) {
    auto rows = read(after, kRowsAtOnce, deadline_us);
    if (!rows) return rows.status();
    for (const Row& row : *rows) {
      if (row.lsn <= after) return damaged(database_.path(), "the journal is not in order");
      if (Status visited = visit(row, visit_entry); !visited) return visited;
      after = row.lsn;
    }
    if (rows->empty()) return {};
  }
}

// ------------------------------------------------------------------------------------------------------------------- trim

Status Journal::trim(std::uint32_t most, const std::function<bool(const JournalEntry&)>& keep,
                     const std::function<Status()>& barrier, std::uint64_t deadline_us) {
  auto old = read(0, most, deadline_us);
  if (!old) return old.status();
  if (old->empty()) return {};
  Kept kept;
  for (const Row& row : *old) {
    Status visited = visit(row, [&](const JournalEntry& entry) -> Status {
      if (keep(entry)) kept.take(entry);
      return {};
    });
    if (!visited) return visited;
  }
  if (old->size() == 1 && kept.entries.empty() && kept.acks.empty() &&
      old->front().entries == encode_entries({}))
    return {};  // the row which keeps the table from being empty
  kept.unite_acks();
  std::vector<std::string> rows = kept.as_rows();
  if (Status safe = barrier(); !safe) return safe;

  constexpr const char* doing = "trim the journal";
  std::uint64_t begin = old->front().lsn, end = old->back().lsn;
  return database_.write(deadline_us, doing, [&](sqlite::Connection& connection) -> Status {
    {
      sqlite::Query query(connection, "SELECT count(*) FROM journal WHERE lsn <= ?1 AND lsn >= ?2");
      bool same = query.with(end).with(begin).row() && query.number(0) == old->size();
      if (query.fault()) return database_.failed(query.fault(), doing);
      if (!same) return {};  // another one was faster, and has trimmed these
    }
    std::uint64_t lsn = 0;
    if (Status read = top(connection, lsn); !read) return read;
    for (const std::string& row : rows)
      if (Status written = put(connection, ++lsn, row); !written) return written;
    sqlite::Query query(connection, "DELETE FROM journal WHERE lsn <= ?1");
    return database_.failed(query.with(end).run(), doing);
  });
}

}  // namespace headpond::internal
