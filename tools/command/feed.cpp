#include "feed.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "progress.h"
#include "session.h"
#include "stop.h"
#include "stream_io.h"
#include "text.h"

namespace headpond::command {

namespace {

// A batch is one page of the pond at most, so that it costs no page of its own.
constexpr std::size_t kBatchItems = 512;
constexpr std::size_t kBatchBytes = 48 << 10;
/// How long one call waits for room: as long as a signal may go unnoticed.
constexpr milliseconds kSlice{100};
constexpr milliseconds kBriefly{1};  // long enough to spill

class Feeder {
 public:
  Feeder(const Settings& settings, const FeedRequest& request, const FeedTarget& target, Progress& progress)
      : settings_(settings), request_(request), target_(target), progress_(progress) {}

  /// All of them, unless a signal comes.
  void put(std::span<const Bytes> items) {
    while (!items.empty() && stop_signal() == 0) {
      const auto batch = items.first(batch_size(items));
      const auto first = try_put(batch, request_.no_wait ? milliseconds(0) : kBriefly);
      if (first) {
        taken(batch, first);
        items = items.subspan(batch.size());
      } else if (first.code() != Code::full) {
        throw failed(first.status());
      } else if (batch.size() > 1) {
        most_ = batch.size() / 2;  // a batch has room as a whole or not at all: perhaps half of it has
      } else {
        wait_for_room(batch, first.status());
        items = items.subspan(stop_signal() == 0 ? 1 : 0);
      }
    }
  }

  void finish() {
    progress_.finish();
    if (settings_.json && !request_.show_ids) {
      Json figures = {{target_.verb, items_}, {"bytes", bytes_}};
      if (items_ > 0) figures["durability"] = name(durable_ ? Durability::durable : Durability::memory);
      if (items_ > 0) {
        figures[target_.first_name] = std::to_string(first_);
        figures[target_.last_name] = std::to_string(last_);
      }
      output_.add(json_line(figures));
    }
    output_.flush();
  }

  void flush() { output_.flush(); }
  std::uint64_t items() const { return items_; }

 private:
  std::size_t batch_size(std::span<const Bytes> items) const {
    std::size_t bytes = 0, count = 0;
    const std::size_t most = std::min(most_, items.size());
    while (count < most && (count == 0 || bytes + items[count].size() <= kBatchBytes))
      bytes += items[count++].size();
    return count;
  }

  Result<std::uint64_t> try_put(std::span<const Bytes> batch, milliseconds wait) {
    return target_.sink(batch, wait);
  }

  void wait_for_room(std::span<const Bytes> item, const Status& full) {
    if (request_.no_wait || item.front().size() > target_.limit_bytes) throw failed(full);
    if (!noticed_) progress_.notice(fmt::format("{} is full: waiting for room", target_.what));
    noticed_ = true;
    while (stop_signal() == 0) {
      const auto first = try_put(item, kSlice);
      if (first) return taken(item, first);
      if (first.code() != Code::full && first.code() != Code::timeout) throw failed(first.status());
      progress_.show(items_, bytes_);
    }
  }

  void taken(std::span<const Bytes> batch, const Result<std::uint64_t>& answer) {
    const std::uint64_t first = *answer;
    if (items_ == 0) first_ = first;
    items_ += batch.size();
    last_ = first + batch.size() - 1;
    for (Bytes item : batch) bytes_ += item.size();
    most_ = std::min(kBatchItems, most_ * 2);
    if (request_.show_ids) {
      for (std::uint64_t id = first; id <= last_; ++id) {
        if (settings_.json)
          output_.add(json_line({{target_.id_name, std::to_string(id)}}));
        else
          output_.add(std::to_string(id) + "\n");
      }
    }
    progress_.show(items_, bytes_);
    durable_ = durable_ && answer.durability() == Durability::durable;
    if (answer.status().cause() != Code::ok) throw in_memory(answer.status());
  }

  /// They are there, so nobody should give them again.
  Failure in_memory(const Status& status) {
    output_.flush();
    return {kError, fmt::format("{}: {} {}, the last batch in memory alone: {}", target_.what,
                                show_count(items_), target_.verb, status.text())};
  }

  Failure failed(const Status& status) const {
    Failure failure = command::failure(status, target_.what);
    failure.exit = kError;
    failure.text += fmt::format(" ({} {})", show_count(items_), target_.verb);
    return failure;
  }

  const Settings& settings_;
  const FeedRequest& request_;
  const FeedTarget& target_;
  Progress& progress_;
  Output output_;
  std::size_t most_ = kBatchItems;
  bool noticed_ = false;
  bool durable_ = true;  // all of them so far
  std::uint64_t items_ = 0, bytes_ = 0, first_ = 0, last_ = 0;
};

}  // namespace

int feed(const Settings& settings, const FeedRequest& request, const FeedTarget& target) {
  const bool from_input = request.items.empty();
  Progress progress(settings, target.verb, from_input && !::isatty(STDIN_FILENO) && !request.show_ids);
  Feeder feeder(settings, request, target, progress);
  if (from_input) {
    ItemReader reader(STDIN_FILENO, request.separator);
    std::vector<Bytes> items;
    while (reader.read(items)) {
      feeder.put(items);
      feeder.flush();
    }
  } else {
    feeder.put({std::vector<Bytes>(request.items.begin(), request.items.end())});
  }
  feeder.finish();
  if (stop_signal() != 0)
    progress.notice(fmt::format("stopped: {} {}", show_count(feeder.items()), target.verb));
  return kDone;
}

}  // namespace headpond::command
