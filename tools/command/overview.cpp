// ls and stat: the figures of one moment.
#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "commands.h"
#include "headpond/headpond.h"
#include "session.h"
#include "stream_io.h"
#include "table.h"
#include "text.h"

namespace headpond::command {

namespace {

std::string show_state(const StreamInfo& stream) {
  std::string state;
  const auto add = [&](bool is, const char* name) {
    if (is) state += (state.empty() ? "" : ", ") + std::string(name);
  };
  add(stream.parked, "parked");
  add(stream.queue.paused, "paused");
  add(stream.queue.draining, "draining");
  return state;
}

std::string show_age(milliseconds age) { return age.count() == 0 ? "-" : show_time(age); }

Json json_stream(const StreamInfo& stream) {
  Json json = {{"kind", stream.kind == StreamInfo::Kind::queue ? "queue" : "log"},
               {"scope", json_bytes(stream.scope)}};
  if (stream.kind == StreamInfo::Kind::queue) {
    const QueueStats& queue = stream.queue;
    json.update({{"queue", json_bytes(stream.name)},
                 {"ready", queue.ready},
                 {"claimed", queue.claimed},
                 {"delayed", queue.delayed},
                 {"dead", queue.dead},
                 {"spilled", queue.spilled},
                 {"spilled_bytes", queue.spilled_bytes},
                 {"gaps", queue.gaps},
                 {"pushed", queue.pushed},
                 {"payload_bytes", queue.payload_bytes},
                 {"page_bytes", queue.page_bytes},
                 {"oldest_age_ms", queue.oldest_age.count()},
                 {"paused", queue.paused},
                 {"draining", queue.draining}});
  } else {
    const LogStats& log = stream.log;
    json.update({{"ns", json_bytes(stream.name)},
                 {"key", json_bytes(stream.key)},
                 {"records", log.records},
                 {"spilled", log.spilled},
                 {"spilled_bytes", log.spilled_bytes},
                 {"gaps", log.gaps},
                 {"payload_bytes", log.payload_bytes},
                 {"page_bytes", log.page_bytes},
                 {"first_seq", log.first_seq},
                 {"last_seq", log.last_seq},
                 {"trimmed", log.trimmed}});
  }
  json["parked"] = stream.parked;
  json["idle_ms"] = stream.idle.count();
  return json;
}

/// Queues before logs, then by name; of the wanted scope only.
std::vector<StreamInfo> sorted(std::vector<StreamInfo> streams, const Settings& settings) {
  if (settings.scope_given)
    std::erase_if(streams, [&](const StreamInfo& stream) { return stream.scope != settings.scope; });
  std::sort(streams.begin(), streams.end(), [](const StreamInfo& a, const StreamInfo& b) {
    return std::tie(a.kind, a.scope, a.name, a.key) < std::tie(b.kind, b.scope, b.name, b.key);
  });
  return streams;
}

/// What is in the durable tier, and how that does: a name and its figures each.
template <class Line>
void show_durable(const Stats& stats, Line line) {
  const DurableStats& durable = stats.durable;
  if (!durable.used) return;
  std::uint64_t items = 0, records = 0, bytes = 0, gaps = 0;
  for (const StreamInfo& stream : stats.details) {
    items += stream.queue.spilled, records += stream.log.spilled;
    bytes += stream.queue.spilled_bytes + stream.log.spilled_bytes,
        gaps += stream.queue.gaps + stream.log.gaps;
  }
  line("spilled", fmt::format("{} items, {} records: {} in {} gap{}", show_count(items), show_count(records),
                              show_bytes(bytes), show_count(gaps), gaps == 1 ? "" : "s"));
  if (durable.file_bytes > 0)
    line("files", fmt::format("{}, of these {} in WALs and {} free", show_bytes(durable.file_bytes),
                              show_bytes(durable.wal_bytes), show_bytes(durable.free_bytes)));
  line("commits",
       fmt::format("{}, {:.2f} ms each, {} operations in the last one; {} wait", show_count(durable.commits),
                   static_cast<double>(durable.commit_time.count()) / 1e3, show_count(durable.last_commit),
                   show_count(durable.waiting)));
  if (!durable.trouble) line("trouble", durable.trouble.text());
}

void add_lines(Output& output, const Table& table) {
  if (table.empty()) return;
  for (const std::string& line : table.lines()) output.add(line + "\n");
}

}  // namespace

int ls(const Settings& settings, const NoRequest&) {
  const Pond pond = open_pond(settings, Missing::fail);
  const auto streams = sorted(need(pond.stats()).details, settings);
  Table queues({"<SCOPE", "<QUEUE", "READY", "CLAIMED", "DELAYED", "DEAD", "BYTES", "MEMORY", "SPILLED",
                "ON DISK", "OLDEST", "<STATE"});
  Table logs({"<SCOPE", "<LOG", "<KEY", "RECORDS", "FIRST", "LAST", "BYTES", "MEMORY", "SPILLED", "ON DISK",
              "IDLE", "<STATE"});
  Output output;
  for (const StreamInfo& stream : streams) {
    if (settings.json) {
      output.add(json_line(json_stream(stream)));
    } else if (stream.kind == StreamInfo::Kind::queue) {
      const QueueStats& queue = stream.queue;
      queues.add({show_name(stream.scope), show_name(stream.name), show_count(queue.ready),
                  show_count(queue.claimed), show_count(queue.delayed), show_count(queue.dead),
                  show_bytes(queue.payload_bytes), show_bytes(queue.page_bytes), show_count(queue.spilled),
                  show_bytes(queue.spilled_bytes), show_age(queue.oldest_age), show_state(stream)});
    } else {
      const LogStats& log = stream.log;
      logs.add({show_name(stream.scope), show_name(stream.name), show_name(stream.key),
                show_count(log.records), show_count(log.first_seq), show_count(log.last_seq),
                show_bytes(log.payload_bytes), show_bytes(log.page_bytes), show_count(log.spilled),
                show_bytes(log.spilled_bytes), show_time(stream.idle), show_state(stream)});
    }
  }
  add_lines(output, queues);
  if (!queues.empty() && !logs.empty()) output.add("\n");
  add_lines(output, logs);
  output.flush();
  return streams.empty() ? kNothing : kDone;
}

int stat(const Settings& settings, const NoRequest&) {
  const Pond pond = open_pond(settings, Missing::fail);
  const Stats stats = need(pond.stats());
  Output output;
  if (settings.json) {
    // Read again, so that what goes out is one line.
    output.add(json_line(Json::parse(stats.json())));
    output.flush();
    return kDone;
  }
  QueueStats queues;
  LogStats logs;
  for (const StreamInfo& stream : stats.details) {
    queues.ready += stream.queue.ready;
    queues.claimed += stream.queue.claimed;
    queues.delayed += stream.queue.delayed;
    queues.dead += stream.queue.dead;
    logs.records += stream.log.records;
    logs.payload_bytes += stream.queue.payload_bytes + stream.log.payload_bytes;
  }
  const double used = stats.limit_bytes == 0 ? 0
                                             : 100.0 * static_cast<double>(stats.page_bytes) /
                                                   static_cast<double>(stats.limit_bytes);
  const auto line = [&](const char* name, const std::string& figure) {
    output.add(fmt::format("{:<14} {}\n", name, figure));
  };
  line("pond", stats.pond);
  line("pages",
       fmt::format("{} of {} ({:.1f} %)", show_bytes(stats.page_bytes), show_bytes(stats.limit_bytes), used));
  line("largest free", show_bytes(stats.largest_free_bytes));
  line("segment", show_bytes(stats.segment_bytes));
  line("payloads", show_bytes(logs.payload_bytes));
  line("streams",
       show_count(stats.streams) +
           (stats.parked == 0 ? "" : fmt::format(", {} of them parked", show_count(stats.parked))));
  line("items", fmt::format("{} ready, {} claimed, {} delayed, {} dead", show_count(queues.ready),
                            show_count(queues.claimed), show_count(queues.delayed), show_count(queues.dead)));
  line("records", show_count(logs.records));
  show_durable(stats, line);
  if (const Recovered& back = stats.recovered; back.epoch != 0) {
    line("rebuilt",
         fmt::format("epoch {}: {} items, {} ({} from the journal)", back.epoch, show_count(back.items),
                     show_bytes(back.payload_bytes), show_count(back.from_journal)));
    if (back.damaged_rows != 0)
      line("  damaged", fmt::format("{} rows of about {} items", show_count(back.damaged_rows),
                                    show_count(back.damaged_items)));
    if (back.lost_records != 0)
      line("  lost", fmt::format("{} records of logs", show_count(back.lost_records)));
    if (back.unknown_items != 0)
      line("  unknown", fmt::format("{} items were consumed, or are lost", show_count(back.unknown_items)));
    if (back.settings != 0 || back.cursors != 0)
      line("  set", fmt::format("{} queues and scopes as they were set, {} cursors of logs",
                                show_count(back.settings), show_count(back.cursors)));
  }
  line("participants", fmt::format("{} of {}", stats.participants, stats.max_participants));
  for (const WorkerInfo& worker : stats.workers)
    line("  worker", fmt::format("pid {}, {} claims, attached {}{}", worker.pid, show_count(worker.claims),
                                 show_time(worker.attached), worker.alive ? "" : ", dead"));
  output.flush();
  return kDone;
}

}  // namespace headpond::command
