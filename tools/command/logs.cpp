// The commands about one log.
#include <fmt/format.h>

#include "commands.h"
#include "feed.h"
#include "headpond/headpond.h"
#include "session.h"
#include "stop.h"
#include "stream_io.h"
#include "text.h"

namespace headpond::command {

namespace {

/// As long as a signal, or a reader that has gone, may go unnoticed.
constexpr milliseconds kSlice{100};

Log open_log(const Pond& pond, const Settings& settings, const std::string& ns, const std::string& key) {
  return pond.scope(settings.scope).log(ns, key);
}

void print(Output& output, const Settings& settings, const ScanRequest& request, const Record& record) {
  if (settings.json) {
    output.add(json_line({{"seq", record.seq}, {"value", json_bytes(record.payload)}}));
    return;
  }
  output.add(fmt::format_int(record.seq).str());
  output.add('\t');
  output.add(record.payload);
  output.add(request.separator);
}

/// Prints what is there and what comes, until the signal, the count or the end of the reader.
int follow(const Settings& settings, const ScanRequest& request, const Log& log) {
  Follower follower = log.follow(request.after);
  Output output;
  std::uint64_t given = 0;
  bool idle = false;  // what was printed is flushed before it waits
  while (given < request.most && stop_signal() == 0) {
    const auto record = follower.next(idle ? kSlice : milliseconds(0));
    if (record) {
      print(output, settings, request, *record);
      ++given;
      idle = false;
    } else if (record.code() == Code::timeout || record.code() == Code::empty ||
               record.code() == Code::not_found) {
      output.flush();
      if (reader_gone()) throw ReaderGone{};
      // A log that is not there yet may answer at once.
      if (idle && record.code() != Code::timeout) rest(static_cast<int>(kSlice.count()));
      idle = true;
    } else {
      output.flush();
      throw failure(record.status());
    }
  }
  output.flush();
  return kDone;
}

void print_place(const Settings& settings, const char* name, std::uint64_t place) {
  Output output;
  output.add(settings.json ? json_line({{name, place}}) : std::to_string(place) + "\n");
  output.flush();
}

}  // namespace

int append(const Settings& settings, const AppendRequest& request) {
  const Pond pond = open_pond(settings, Missing::create);
  Log log = open_log(pond, settings, request.ns, request.key);
  const FeedTarget target{
      .sink =
          [&](std::span<const Bytes> batch, milliseconds wait) {
            const auto durability = request.durable ? std::optional(Durability::durable) : std::nullopt;
            return log.append_many(batch, {.full_timeout = wait, .durability = durability});
          },
      .what = fmt::format("log {} {}", show_name(request.ns), show_name(request.key)),
      .verb = "appended",
      .first_name = "first_seq",
      .last_name = "last_seq",
      .id_name = "seq",
      .limit_bytes = need(pond.stats()).limit_bytes,
  };
  return feed(settings, request, target);
}

int scan(const Settings& settings, const ScanRequest& request) {
  // Who follows may be there before the first writer.
  const Pond pond = open_pond(settings, request.follow ? Missing::create : Missing::fail);
  const Log log = open_log(pond, settings, request.ns, request.key);
  if (request.follow) return follow(settings, request, log);
  Output output;
  std::uint64_t given = 0;
  Scan records = log.scan({.after = request.after, .limit = request.most});
  for (const Record& record : records) {
    print(output, settings, request, record);
    ++given;
    if (stop_signal() != 0) break;
  }
  output.flush();
  if (records.status() == Code::not_found) return kNothing;
  need(records.status());
  return given > 0 || request.most == 0 ? kDone : kNothing;
}

int trim(const Settings& settings, const TrimRequest& request) {
  const Pond pond = open_pond(settings, Missing::fail);
  Log log = open_log(pond, settings, request.ns, request.key);
  print_place(settings, "trimmed", need(request.below ? log.trim(*request.below) : log.trim_committed()));
  return kDone;
}

int cursor(const Settings& settings, const CursorRequest& request) {
  const Pond pond = open_pond(settings, request.seq ? Missing::create : Missing::fail);
  Log log = open_log(pond, settings, request.ns, request.key);
  if (request.drop) {
    need(log.drop_cursor(request.name));
    if (settings.json) print_place(settings, "dropped", 1);
    return kDone;
  }
  const auto place = request.seq ? log.commit(request.name, *request.seq) : log.committed(request.name);
  if (place) print_place(settings, "committed", *place);
  need_saved(place.status(), fmt::format("cursor {}: committed", show_name(request.name)));
  return kDone;
}

}  // namespace headpond::command
