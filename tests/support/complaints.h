// What went wrong in any process of a run, in memory that they share: the first ones in words, all of them counted.
#pragma once

#include <atomic>
#include <cstdarg>
#include <cstdint>
#include <cstdio>

namespace support {

struct Complaints {
  std::atomic<std::uint32_t> complaints{0};
  char complaint[10][300] = {};

  /// As printf(). Thread- and process-safe.
  [[gnu::format(printf, 2, 3)]] void complain(const char* format, ...) {
    const std::uint32_t number = complaints.fetch_add(1);
    if (number >= 10) return;
    va_list values;
    va_start(values, format);
    std::vsnprintf(complaint[number], sizeof complaint[number], format, values);
    va_end(values);
  }
};

}  // namespace support
