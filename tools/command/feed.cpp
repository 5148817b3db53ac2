#include "feed.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "batches.h"
#include "progress.h"
#include "session.h"
#include "stop.h"
#include "stream_io.h"
#include "text.h"

namespace headpond::command {

namespace {

class Feeder {
 public:
  Feeder(const Settings& settings, const FeedRequest& request, const FeedTarget& target, Progress& progress)
      : settings_(settings),
        request_(request),
        target_(target),
        progress_(progress),
        batches_(target.limit_bytes, request.no_wait, progress) {}

  /// All of them, unless a signal comes.
  void put(std::span<const Bytes> items) {
    const Status done = batches_.put(
        items.size(), target_.what, [&](std::size_t i) { return items[i].size(); },
        [&](std::size_t first, std::size_t count, milliseconds wait) -> Status {
          const auto batch = items.subspan(first, count);
          const auto answer = target_.sink(batch, wait);
          if (answer) taken(batch, answer);
          return answer.status();
        });
    if (!done) throw failed(done);
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
  void taken(std::span<const Bytes> batch, const Result<std::uint64_t>& answer) {
    const std::uint64_t first = *answer;
    if (items_ == 0) first_ = first;
    items_ += batch.size();
    last_ = first + batch.size() - 1;
    for (Bytes item : batch) bytes_ += item.size();
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
  Batches batches_;
  Output output_;
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
