// A pond over a durable tier in memory, as one participant with a look inside holds it.
//
//   class Spilling : public FakeTierPond { protected: Spilling() : FakeTierPond(small()) {} };
//   TEST_F(Spilling, ...) { queue().push("x"); tier->fail_loads(...); ... }
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "fake_tier.h"
#include "src/attachment.h"
#include "src/tier_side.h"
#include "test_pond.h"

namespace support {

class FakeTierPond : public ::testing::Test {
 protected:
  explicit FakeTierPond(Options options) : test(std::move(options)) {
    attachment = must(internal::Attachment::open(test.name(), test.options(), true));
    attachment->tier_side().use(tier);
    pond.emplace(test.open());
  }

  Queue queue(Bytes name = "work", Bytes scope = "scope") { return pond->scope(scope).queue(name); }
  Log log(Bytes name = "audit") { return pond->scope("scope").log(name); }
  std::vector<std::uint64_t> popped(Bytes name = "work") { return pop_numbers(queue(name)); }
  /// Another participant, of this process and over the same tier. Thread-safe.
  std::shared_ptr<internal::Attachment> join() const {
    auto joined = must(internal::Attachment::join(*attachment));
    joined->tier_side().use(tier);
    return joined;
  }

  std::shared_ptr<FakeTier> tier = std::make_shared<FakeTier>();
  TestPond test;
  std::shared_ptr<internal::Attachment> attachment;
  std::optional<Pond> pond;
};

}  // namespace support
