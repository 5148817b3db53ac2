#include "setting_rows.h"

#include "page_codec.h"
#include "trouble.h"

namespace headpond::internal {

namespace {

/// Of the value, in that row and no other.
std::uint64_t checksum_in_place(const TierSetting& setting) {
  std::uint64_t sum = setting.kind;
  for (const std::string* part : {&setting.scope, &setting.ns, &setting.name, &setting.cursor})
    sum = checksum_of(*part, sum);
  return checksum_of(*setting.value, sum);
}

sqlite::Query& name(sqlite::Query& query, const TierSetting& setting) {
  query.with(std::string_view(setting.scope)).with(std::uint64_t{setting.kind});
  return query.with(std::string_view(setting.ns))
      .with(std::string_view(setting.name))
      .with(std::string_view(setting.cursor));
}

}  // namespace

Status SettingRows::put(sqlite::Connection& connection, std::span<const TierSetting> settings) {
  constexpr const char* doing = "write a setting";
  for (const TierSetting& setting : settings) {
    sqlite::Fault fault;
    if (setting.value) {
      sqlite::Query query(connection,
                          "INSERT INTO setting(scope, kind, ns, name, cursor, checksum, value) "
                          "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT(scope, kind, ns, name, cursor) "
                          "DO UPDATE SET checksum = excluded.checksum, value = excluded.value");
      fault =
          name(query, setting).with(checksum_in_place(setting)).with(std::string_view(*setting.value)).run();
    } else {
      sqlite::Query query(
          connection,
          "DELETE FROM setting WHERE scope = ?1 AND kind = ?2 AND ns = ?3 AND name = ?4 AND cursor = ?5");
      fault = name(query, setting).run();
    }
    if (fault) return database_.failed(fault, doing);
  }
  return {};
}

Result<std::vector<TierSetting>> SettingRows::all(std::uint64_t deadline_us) {
  constexpr const char* doing = "read settings";
  std::vector<TierSetting> all;
  Status answer = database_.read(deadline_us, doing, [&](sqlite::Connection& connection) -> Status {
    all.clear();
    sqlite::Query query(connection,
                        "SELECT kind, scope, ns, name, cursor, value, checksum FROM setting "
                        "ORDER BY scope, kind, ns, name, cursor");
    while (query.row()) {
      TierSetting setting{static_cast<std::uint8_t>(query.number(0)),
                          std::string(query.bytes(1)),
                          std::string(query.bytes(2)),
                          std::string(query.bytes(3)),
                          std::string(query.bytes(4)),
                          std::string(query.bytes(5))};
      if (checksum_in_place(setting) != query.number(6))
        return damaged(database_.path(), "a setting or cursor of scope \"" + setting.scope + "\" (\"" +
                                             setting.ns + "\") is damaged");
      all.push_back(std::move(setting));
    }
    return database_.failed(query.fault(), doing);
  });
  if (!answer) return answer;
  return all;
}

}  // namespace headpond::internal
