// A set of ids as ranges that neither touch nor overlap.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>

namespace headpond::internal {

class IdRanges {
 public:
  /// REQUIRES: first <= last < 2^64 - 1.
  void add(std::uint64_t first, std::uint64_t last) {
    auto next = ranges_.upper_bound(first);
    if (next != ranges_.begin()) {
      auto before = std::prev(next);
      if (before->second + 1 >= first)
        first = before->first, last = std::max(last, before->second), next = before;
    }
    while (next != ranges_.end() && next->first <= last + 1) {
      last = std::max(last, next->second);
      next = ranges_.erase(next);
    }
    ranges_.emplace(first, last);
  }
  bool contains(std::uint64_t id) const {
    auto next = ranges_.upper_bound(id);
    return next != ranges_.begin() && std::prev(next)->second >= id;
  }
  /// first -> last, rising.
  const std::map<std::uint64_t, std::uint64_t>& all() const { return ranges_; }

 private:
  std::map<std::uint64_t, std::uint64_t> ranges_;
};

}  // namespace headpond::internal
