// A queue of a pond of the test's own, and payloads to compare.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "src/sys.h"
#include "support/test_pond.h"

namespace support {

using Strings = std::vector<std::string>;

inline Strings payloads(const std::vector<Claim>& claims) {
  Strings all;
  for (const Claim& claim : claims) all.emplace_back(claim.payload());
  return all;
}
inline Strings payloads(const std::vector<Item>& items) {
  Strings all;
  for (const Item& item : items) all.push_back(item.payload);
  return all;
}
inline Strings payloads(const std::vector<DeadItem>& items) {
  Strings all;
  for (const DeadItem& item : items) all.push_back(item.payload);
  return all;
}

class QueueTest : public ::testing::Test {
 protected:
  ~QueueTest() override { internal::sys::wall_ahead_ms = 0; }
  void TearDown() override { EXPECT_TRUE(clean(pond_)); }
  /// As if so much time had passed since: of delays, not of leases.
  static void ahead(milliseconds by) {
    internal::sys::wall_ahead_ms += static_cast<std::uint64_t>(by.count());
  }

  TestPond test_;
  Pond pond_ = test_.open();
  Queue queue_ = pond_.scope("scope").queue("work");
};

}  // namespace support
