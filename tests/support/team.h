// Threads that start together.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

namespace support {

class Team {
 public:
  void add(std::function<void()> body) { bodies_.push_back(std::move(body)); }
  void add(int count, const std::function<void(int)>& body) {
    for (int i = 0; i < count; ++i) bodies_.push_back([body, i] { body(i); });
  }
  /// Until all of them have ended; what one throws is a failure of the test.
  void run() {
    std::atomic<bool> go{false};
    std::vector<std::thread> threads;
    for (auto& body : bodies_) {
      threads.emplace_back([&go, &body] {
        while (!go.load()) std::this_thread::yield();
        try {
          body();
        } catch (const std::exception& error) {
          ADD_FAILURE() << error.what();
        }
      });
    }
    go = true;
    for (std::thread& thread : threads) thread.join();
    bodies_.clear();
  }

 private:
  std::vector<std::function<void()>> bodies_;
};

}  // namespace support
