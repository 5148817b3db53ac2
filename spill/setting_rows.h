// The table of settings and cursors: a row a name, which is replaced when it changes.
#pragma once

#include <span>
#include <vector>

#include "database.h"
#include "src/tier.h"

namespace headpond::internal {

class SettingRows {
 public:
  explicit SettingRows(Database& database) : database_(database) {}

  /// Within a transaction of that database. One without a value goes; one that is not there is fine.
  Status put(sqlite::Connection& connection, std::span<const TierSetting> settings);
  /// By name. `corruption` names the one whose checksum is wrong.
  Result<std::vector<TierSetting>> all(std::uint64_t deadline_us);

 private:
  Database& database_;
};

}  // namespace headpond::internal
