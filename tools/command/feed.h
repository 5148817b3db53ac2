// How items from arguments or standard input get into the pond in batches, for push and append.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "commands.h"
#include "headpond/headpond.h"

namespace headpond::command {

/// Takes a batch, waiting up to `wait` for room, and answers the id of its first item; the ids are consecutive.
using Sink = std::function<Result<std::uint64_t>(std::span<const Bytes> batch, milliseconds wait)>;

struct FeedTarget {
  Sink sink;
  std::string what;        // "queue 'files'", for messages
  std::string verb;        // "pushed"
  std::string first_name;  // of the figures in JSON: "first_id"
  std::string last_name;
  std::string id_name;        // of one item in JSON: "id"
  std::uint64_t limit_bytes;  // what is larger can never have room
};

/// All the items, as fast as they come and as there is room. Answers the exit code.
int feed(const Settings& settings, const FeedRequest& request, const FeedTarget& target);

}  // namespace headpond::command
