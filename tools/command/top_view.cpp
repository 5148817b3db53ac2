#include "top_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "table.h"

namespace headpond::command {

namespace {

constexpr std::size_t kHistory = 12;
constexpr std::size_t kBar = 30;

/// What grew by that much; figures of one moment may be a little off, so a rate is never negative.
double rate_of(std::uint64_t before, std::uint64_t now, double seconds) {
  return now > before && seconds > 0 ? static_cast<double>(now - before) / seconds : 0.0;
}

}  // namespace

void TopView::look(Stats stats, double seconds) {
  rates_ = seconds > 0;
  std::map<Key, Row> rows;
  for (StreamInfo& info : stats.details) {
    const Key key{info.kind, info.scope, info.name, info.key};
    const bool queue = info.kind == StreamInfo::Kind::queue;
    const auto found = rows_.find(key);
    const bool known = found != rows_.end();
    Row row = known ? std::move(found->second) : Row{};
    const QueueStats& q = info.queue;
    const std::uint64_t there = q.ready + q.claimed + q.delayed + q.dead;
    const std::uint64_t in = queue ? q.pushed : info.log.last_seq;
    const std::uint64_t out = queue ? in - std::min(in, there) : info.log.trimmed;
    // A stream that appeared since the last look began at 0.
    row.in_rate = rate_of(known ? row.in : 0, in, seconds);
    row.out_rate = rate_of(known ? row.out : 0, out, seconds);
    row.in = in;
    row.out = out;
    row.depth = queue ? q.ready : info.log.records;
    row.history.push_back(row.depth);
    if (row.history.size() > kHistory) row.history.pop_front();
    row.info = std::move(info);
    rows[key] = std::move(row);
  }
  rows_ = std::move(rows);
  commit_rate_ = rate_of(stats_.durable.commits, stats.durable.commits, seconds);
  stats.details.clear();
  stats_ = std::move(stats);
}

std::string TopView::bar(double share, std::size_t width) const {
  const auto full =
      static_cast<std::size_t>(std::lround(std::clamp(share, 0.0, 1.0) * static_cast<double>(width)));
  std::string text;
  for (std::size_t i = 0; i < width; ++i) text += i < full ? (sparks_ ? "█" : "#") : (sparks_ ? "░" : ".");
  return text;
}

std::string TopView::spark(const std::deque<std::uint64_t>& history) const {
  constexpr std::array kBlocks = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  constexpr std::string_view kPlain = "_.:-=+*#";
  const std::uint64_t most = *std::max_element(history.begin(), history.end());
  std::string text;
  for (const std::uint64_t depth : history) {
    const std::size_t level =
        most == 0
            ? 0
            : static_cast<std::size_t>(static_cast<double>(depth) / static_cast<double>(most) * 7.0 + 0.5);
    if (sparks_)
      text += kBlocks[level];
    else
      text += kPlain[level];
  }
  return text;
}

std::vector<const TopView::Row*> TopView::busiest_first() const {
  std::vector<const Row*> rows;
  for (const auto& [key, row] : rows_) rows.push_back(&row);
  std::stable_sort(rows.begin(), rows.end(), [](const Row* a, const Row* b) {
    return std::make_tuple(a->in_rate + a->out_rate, a->depth) >
           std::make_tuple(b->in_rate + b->out_rate, b->depth);
  });
  return rows;
}

std::string TopView::durable_line() const {
  const DurableStats& durable = stats_.durable;
  return fmt::format("disk   {}   WALs {}   free {}   commits/s {} of {:.2f} ms   {} operations wait",
                     show_bytes(durable.file_bytes), show_bytes(durable.wal_bytes),
                     show_bytes(durable.free_bytes), rate(commit_rate_),
                     static_cast<double>(durable.commit_time.count()) / 1e3, show_count(durable.waiting));
}

Json TopView::json_durable() const {
  const DurableStats& durable = stats_.durable;
  Json json = {{"file_bytes", durable.file_bytes},   {"wal_bytes", durable.wal_bytes},
               {"free_bytes", durable.free_bytes},   {"commits", durable.commits},
               {"commits_per_s", commit_rate_},      {"commit_us", durable.commit_time.count()},
               {"last_commit", durable.last_commit}, {"waiting", durable.waiting}};
  if (!durable.trouble) json["trouble"] = json_bytes(durable.trouble.text());
  return json;
}

std::vector<std::string> TopView::lines() const {
  const double share = stats_.limit_bytes == 0
                           ? 0
                           : static_cast<double>(stats_.page_bytes) / static_cast<double>(stats_.limit_bytes);
  std::uint64_t claims = 0;
  for (const WorkerInfo& worker : stats_.workers) claims += worker.claims;
  std::vector<std::string> lines = {
      fmt::format("pond {}   {} streams   {} participants   {} claims", stats_.pond, stats_.streams,
                  stats_.participants, show_count(claims)),
      fmt::format("memory {} {} of {} ({:.1f} %)   segment {}", bar(share, kBar),
                  show_bytes(stats_.page_bytes), show_bytes(stats_.limit_bytes), share * 100,
                  show_bytes(stats_.segment_bytes))};
  if (stats_.durable.used) lines.push_back(durable_line());
  if (!stats_.durable.trouble) lines.push_back("trouble " + stats_.durable.trouble.text());
  lines.emplace_back();

  // What matters most stands left: narrow terminals cut the rest.
  Table streams({"<", "<SCOPE", "<NAME", "IN/S", "OUT/S", "DEPTH", "<LATELY", "CLAIMED", "DELAYED", "DEAD",
                 "MEMORY", "SPILLED", "ON DISK", "<"});
  for (const Row* row : busiest_first()) {
    const StreamInfo& info = row->info;
    const bool queue = info.kind == StreamInfo::Kind::queue;
    const auto of_queue = [&](std::uint64_t figure) { return queue ? show_count(figure) : ""; };
    streams.add({queue ? "queue" : "log", show_name(info.scope),
                 queue ? show_name(info.name) : show_name(info.name) + " " + show_name(info.key),
                 rate(row->in_rate), rate(row->out_rate), show_count(row->depth), spark(row->history),
                 of_queue(info.queue.claimed), of_queue(info.queue.delayed), of_queue(info.queue.dead),
                 show_bytes(queue ? info.queue.page_bytes : info.log.page_bytes),
                 show_count(queue ? info.queue.spilled : info.log.spilled),
                 show_bytes(queue ? info.queue.spilled_bytes : info.log.spilled_bytes),
                 info.queue.paused     ? "paused"
                 : info.queue.draining ? "draining"
                                       : ""});
  }
  for (std::string& line : streams.lines()) lines.push_back(std::move(line));
  lines.emplace_back();

  Table workers({"PID", "SLOT", "CLAIMS", "ATTACHED", "<"});
  std::vector<WorkerInfo> sorted = stats_.workers;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.claims > b.claims; });
  for (const WorkerInfo& worker : sorted)
    workers.add({std::to_string(worker.pid), std::to_string(worker.slot), show_count(worker.claims),
                 show_time(worker.attached), worker.alive ? "" : "dead"});
  for (std::string& line : workers.lines()) lines.push_back(std::move(line));
  return lines;
}

Json TopView::json() const {
  Json streams = Json::array(), workers = Json::array();
  for (const Row* row : busiest_first()) {
    const StreamInfo& info = row->info;
    const bool queue = info.kind == StreamInfo::Kind::queue;
    Json json = {{"kind", queue ? "queue" : "log"}, {"scope", json_bytes(info.scope)}};
    json[queue ? "queue" : "ns"] = json_bytes(info.name);
    if (!queue) json["key"] = json_bytes(info.key);
    json.update({{"in_per_s", row->in_rate}, {"out_per_s", row->out_rate}, {"depth", row->depth}});
    if (queue)
      json.update(
          {{"claimed", info.queue.claimed}, {"delayed", info.queue.delayed}, {"dead", info.queue.dead}});
    json["page_bytes"] = queue ? info.queue.page_bytes : info.log.page_bytes;
    json["spilled"] = queue ? info.queue.spilled : info.log.spilled;
    json["spilled_bytes"] = queue ? info.queue.spilled_bytes : info.log.spilled_bytes;
    json["gaps"] = queue ? info.queue.gaps : info.log.gaps;
    streams.push_back(std::move(json));
  }
  for (const WorkerInfo& worker : stats_.workers)
    workers.push_back({{"pid", worker.pid},
                       {"slot", worker.slot},
                       {"claims", worker.claims},
                       {"attached_ms", worker.attached.count()},
                       {"alive", worker.alive}});
  Json json = {{"pond", stats_.pond},
               {"page_bytes", stats_.page_bytes},
               {"limit_bytes", stats_.limit_bytes},
               {"segment_bytes", stats_.segment_bytes},
               {"participants", stats_.participants}};
  if (stats_.durable.used) json["durable"] = json_durable();
  json["streams"] = std::move(streams);
  json["workers"] = std::move(workers);
  return json;
}

}  // namespace headpond::command
