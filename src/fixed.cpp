#include "fixed.h"

#include <bit>
#include <cerrno>
#include <limits>
#include <nlohmann/json.hpp>

namespace headpond::internal {

namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kFormat = 1;
constexpr std::size_t kMostBytes = 4096;  // of the file: a tenth is used

// Written before the segment has its name (I21), and only while there is none.
std::string path_in(const std::string& folder) { return folder + "/options.json"; }

/// visit(name, member) for each number of a Fixed or const Fixed but the lease, which has a unit.
template <class F, class Visit>
void each_number(F& fixed, Visit visit) {
  visit("limit_bytes", fixed.limit_bytes), visit("max_participants", fixed.max_participants);
  visit("min_page_bytes", fixed.min_page_bytes), visit("max_page_bytes", fixed.max_page_bytes);
  visit("queue_max_attempts", fixed.queue.max_attempts);
  visit("queue_max_items", fixed.queue.max_items), visit("queue_max_bytes", fixed.queue.max_bytes);
}

Result<Fixed> parse(const std::string& path, const std::string& text) {
  auto damaged = [&](const std::string& why) {
    return Status(Code::corruption,
                  path + ": " + why +
                      "; put back a copy, or remove this file alone and open the pond with the options that "
                      "it was created with");
  };
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return damaged("is no JSON object");
  std::string wrong;
  auto number = [&](const char* name, auto& to) {
    auto found = json.find(name);
    using Value = std::remove_reference_t<decltype(to)>;
    if (found == json.end() || !found->is_number_unsigned() ||
        found->template get<std::uint64_t>() > std::numeric_limits<Value>::max())
      wrong = std::string("has no number ") + name;
    else
      to = found->template get<Value>();
  };
  Fixed out;
  std::uint64_t format = 0;
  std::uint32_t lease_ms = 0;
  number("queue_lease_ms", lease_ms), each_number(out, number), number("format", format);
  if (format > kFormat)
    return Status(Code::unsupported, path + ": has format " + std::to_string(format) +
                                         ", and this library knows " + std::to_string(kFormat) +
                                         ": upgrade it");
  if (!wrong.empty()) return damaged(wrong);
  out.queue.lease = milliseconds(lease_ms);
  if (Status good = out.check(); !good) return damaged(good.text());
  return out;
}

}  // namespace

Fixed Fixed::with(const Options& asked) const {
  return {.limit_bytes = asked.limit_bytes.value_or(limit_bytes),
          .max_participants = asked.max_participants.value_or(max_participants),
          .min_page_bytes = asked.min_page_bytes.value_or(min_page_bytes),
          .max_page_bytes = asked.max_page_bytes.value_or(max_page_bytes),
          .queue = {.lease = asked.queue.lease.value_or(queue.lease),
                    .max_attempts = asked.queue.max_attempts.value_or(queue.max_attempts),
                    .max_items = asked.queue.max_items.value_or(queue.max_items),
                    .max_bytes = asked.queue.max_bytes.value_or(queue.max_bytes)}};
}

std::string Fixed::differs_from(const Fixed& other) const {
  std::string out;
  auto compare = [&](const char* name, auto here, auto there) {
    if (here != there && out.empty())
      out = std::string(name) + " " + std::to_string(here) + ", not " + std::to_string(there);
  };
  compare("limit_bytes", limit_bytes, other.limit_bytes);
  compare("max_participants", max_participants, other.max_participants);
  compare("min_page_bytes", min_page_bytes, other.min_page_bytes);
  compare("max_page_bytes", max_page_bytes, other.max_page_bytes);
  compare("queue.lease (ms)", queue.lease.count(), other.queue.lease.count());
  compare("queue.max_attempts", queue.max_attempts, other.queue.max_attempts);
  compare("queue.max_items", queue.max_items, other.queue.max_items);
  compare("queue.max_bytes", queue.max_bytes, other.queue.max_bytes);
  return out;
}

Status Fixed::check() const {
  if (limit_bytes < 1 << 20 || limit_bytes > 64ULL << 30 || limit_bytes % (1 << 20))
    return {Code::invalid, "limit_bytes is " + std::to_string(limit_bytes) +
                               "; it must be a multiple of 1 MiB, from 1 MiB to 64 GiB"};
  if (max_participants < 1 || max_participants > kMaxParticipants)
    return {Code::invalid,
            "max_participants is " + std::to_string(max_participants) + "; it must be from 1 to 4094"};
  for (auto [what, value] : {std::pair{"min_page_bytes", min_page_bytes}, {"max_page_bytes", max_page_bytes}})
    if (value < kUnit || value > 64 * kUnit || !std::has_single_bit(value))
      return {Code::invalid, std::string(what) + " is " + std::to_string(value) +
                                 "; it must be a power of two, from 1024 to 65536"};
  if (min_page_bytes > max_page_bytes) return {Code::invalid, "min_page_bytes is larger than max_page_bytes"};
  return check_queue(queue);
}

Status check_queue(const QueueOptions& options) {
  if (options.lease.count() < 0 || options.lease > kLongestLease)
    return {Code::invalid, "lease is " + std::to_string(options.lease.count()) +
                               " ms; it must be 0, or from 1 ms to 30 days"};
  if (options.max_attempts > 65534)
    return {Code::invalid,
            "max_attempts is " + std::to_string(options.max_attempts) + "; it must be from 0 to 65,534"};
  return {};
}

Result<Fixed> read_fixed(const std::string& folder) {
  const std::string path = path_in(folder);
  sys::Fd file;
  if (int error = sys::open_file(path, false, file)) {
    if (error == ENOENT) return Fixed{};
    return StateFolder::failed(path, "open", error);
  }
  std::string text(kMostBytes, '\0');
  std::size_t got = 0;
  if (int error = sys::read_at(file, 0, text.data(), text.size(), got))
    return StateFolder::failed(path, "read", error);
  text.resize(got);
  return parse(path, text);
}

Status keep_fixed(const StateFolder& state, const Fixed& fixed, bool changed) {
  const std::string path = path_in(state.path());
  if (!changed) {
    int error = sys::sync_folder(state.path());
    return error ? StateFolder::failed(state.path(), "sync the folder", error) : Status();
  }
  Json json = {{"format", kFormat}, {"queue_lease_ms", fixed.queue.lease.count()}};
  each_number(fixed, [&](const char* name, std::uint64_t value) { json[name] = value; });
  if (int error = sys::replace_file(path, json.dump(2) + "\n"))
    return StateFolder::failed(path, ("write it by way of " + sys::next_of(path)).c_str(), error);
  return {};
}

Status forget_fixed(const StateFolder& state) {
  const std::string path_now = path_in(state.path());
  for (const std::string& path : {path_now, sys::next_of(path_now)})
    if (int error = sys::remove_name(path); error && error != ENOENT)
      return StateFolder::failed(path, "remove", error);
  return {};
}

}  // namespace headpond::internal
