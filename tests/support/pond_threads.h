// Threads that are several participants of one pond, over a durable tier in memory.
#pragma once

#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "fake_tier_pond.h"

namespace support {

class PondThreads : public FakeTierPond {
 protected:
  using FakeTierPond::FakeTierPond;
  ~PondThreads() override { EXPECT_TRUE(clean(*pond)); }

  /// Begins a thread; what it throws is a failure of the test.
  void add(std::function<void()> body) {
    threads_.emplace_back([body = std::move(body)] {
      try {
        body();
      } catch (const std::exception& error) {
        ADD_FAILURE() << error.what();
      }
    });
  }
  /// Until all of them have ended.
  void run() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  std::vector<std::thread> threads_;
};

}  // namespace support
