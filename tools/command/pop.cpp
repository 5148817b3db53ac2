// pop: an item is acked once it is written, and given back if it is not.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "commands.h"
#include "headpond/headpond.h"
#include "progress.h"
#include "session.h"
#include "stop.h"
#include "stream_io.h"
#include "text.h"

namespace headpond::command {

namespace {

using Clock = std::chrono::steady_clock;

/// As long as a signal, or a reader that has gone, may go unnoticed.
constexpr milliseconds kSlice{100};
/// Claims of one round: few at first, so that large items do not pile up, and as many as make this many bytes then.
constexpr std::size_t kFirstClaims = 16, kMostClaims = 4096;
constexpr std::size_t kRoundBytes = 128 << 10;

class Popper {
 public:
  Popper(const Settings& settings, const PopRequest& request, Queue queue)
      : settings_(settings),
        request_(request),
        queue_(std::move(queue)),
        progress_(settings, "popped", !::isatty(STDOUT_FILENO)) {}

  int run() {
    while (given_ < request_.most && stop_signal() == 0) {
      auto claims = claim();
      if (claims.empty()) break;
      deliver(claims);
    }
    progress_.finish();
    if (lost_ > 0) {
      say(
          fmt::format("{} of {} items were not ours any more when they were written (their lease was over): "
                      "others get them, too",
                      show_count(lost_), show_count(given_)));
      return kError;
    }
    return given_ > 0 || request_.most == 0 ? kDone : kNothing;
  }

 private:
  /// What is ready, after waiting as long as was asked; nothing at the end of that, or after a signal.
  std::vector<Claim> claim() {
    const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(round_, request_.most - given_));
    const auto begin = Clock::now();
    while (stop_signal() == 0) {
      const auto waited = std::chrono::duration_cast<milliseconds>(Clock::now() - begin);
      const milliseconds left =
          request_.wait == kForever ? kSlice : std::max(milliseconds(0), request_.wait - waited);
      auto claims = queue_.claim_many(most, std::min(kSlice, left));
      if (claims) return std::move(*claims);
      const Code code = claims.code();
      const bool nothing = code == Code::empty || code == Code::timeout || code == Code::not_found;
      if (!nothing && code != Code::paused)
        throw failure(claims.status(), "queue " + show_name(request_.queue));
      if (left == milliseconds(0)) {
        if (code == Code::paused && given_ == 0)
          throw failure(claims.status(), "queue " + show_name(request_.queue));
        break;
      }
      if (reader_gone()) throw ReaderGone{};
      // Some answers come at once, whatever time they were given.
      if (Clock::now() - begin < waited + milliseconds(1))
        rest(static_cast<int>(std::min(kSlice, left).count()));
    }
    return {};
  }

  /// Writes the items, acks those that are out and lets go of the others, which gives them back.
  void deliver(std::vector<Claim>& claims) {
    buffer_.clear();
    ends_.clear();
    for (const Claim& claim : claims) {
      if (settings_.json)
        buffer_ += line(claim);
      else
        buffer_.append(claim.payload()) += request_.separator;
      ends_.push_back(buffer_.size());
    }
    const Written written = write_out(buffer_);
    const auto whole =
        static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), written.bytes) - ends_.begin());
    if (whole > 0) lost_ += whole - queue_.ack_many(std::span(claims).first(whole));
    given_ += whole;
    bytes_ += written.bytes;
    throw_if_failed(written);
    progress_.show(given_, bytes_);
    if (buffer_.size() > kRoundBytes)
      round_ = std::max<std::size_t>(1, round_ / 2);
    else if (claims.size() == round_)
      round_ = std::min(kMostClaims, round_ * 2);
    if (buffer_.capacity() > 16 * kRoundBytes) buffer_ = {};
  }

  static std::string line(const Claim& claim) {
    return json_line({{"id", std::to_string(claim.id().value)},
                      {"priority", claim.priority()},
                      {"attempts", claim.attempts()},
                      {"crashes", claim.crashes()},
                      {"payload", json_bytes(claim.payload())}});
  }

  const Settings& settings_;
  const PopRequest& request_;
  Queue queue_;
  Progress progress_;
  std::string buffer_;
  std::vector<std::size_t> ends_;  // of each item, in the buffer
  std::size_t round_ = kFirstClaims;
  std::uint64_t given_ = 0, bytes_ = 0, lost_ = 0;
};

}  // namespace

int pop(const Settings& settings, const PopRequest& request) {
  // Who waits may be there before the first producer.
  const Pond pond = open_pond(settings, request.wait > milliseconds(0) ? Missing::create : Missing::fail);
  return Popper(settings, request, pond.scope(settings.scope).queue(request.queue)).run();
}

}  // namespace headpond::command
