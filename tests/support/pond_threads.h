// Threads that are several participants of one pond, over a durable tier in memory.
#pragma once

#include <functional>
#include <utility>

#include "fake_tier_pond.h"
#include "team.h"

namespace support {

class PondThreads : public FakeTierPond {
 protected:
  using FakeTierPond::FakeTierPond;
  ~PondThreads() override { EXPECT_TRUE(clean(*pond)); }

  void add(std::function<void()> body) { team_.add(std::move(body)); }
  void run() { team_.run(); }

 private:
  Team team_;
};

}  // namespace support
