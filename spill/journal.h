// The table of the journal: a row a commit.
//
// J1  lsn rises by one with each row, and never falls: the table is not left empty once it had a row.
// J2  A row's checksum is seeded with its lsn: a row in another's place shows.
// J3  A row never changes. So who has read rows and finds them there again, by number and count, has their entries.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "database.h"
#include "src/tier.h"

namespace headpond::internal {

class Journal {
 public:
  explicit Journal(Database& database) : database_(database) {}

  /// `beside` runs in the same transaction, if there is one. Answers the highest lsn.
  Result<std::uint64_t> commit(std::span<const JournalEntry> entries, const Database::Work& beside,
                               std::uint64_t after, std::uint64_t deadline_us);
  Result<std::uint64_t> last_lsn(std::uint64_t deadline_us);
  Result<std::uint64_t> rows(std::uint64_t deadline_us);
  Status replay(const std::function<Status(const JournalEntry&)>& visit, std::uint64_t deadline_us);
  /// `barrier` makes page rows safe; it comes after every question to `keep`, and before the old rows go.
  Status trim(std::uint32_t rows, const std::function<bool(const JournalEntry&)>& keep,
              const std::function<Status()>& barrier, std::uint64_t deadline_us);

 private:
  struct Row {
    std::uint64_t lsn = 0, checksum = 0;
    std::string entries;
  };
  /// The rows after that lsn, some at a time.
  Result<std::vector<Row>> read(std::uint64_t after, std::uint64_t most, std::uint64_t deadline_us);
  Status visit(const Row& row, const std::function<Status(const JournalEntry&)>& visit) const;
  Status put(sqlite::Connection& connection, std::uint64_t lsn, std::string_view entries);
  Status top(sqlite::Connection& connection, std::uint64_t& lsn);

  Database& database_;
};

}  // namespace headpond::internal
