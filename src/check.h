// CHECK: our own defect, never something that another process or a disk wrote. Stops the process: recovery is designed for that.
#pragma once

#include <cstdio>
#include <cstdlib>

#define HEADPOND_CHECK(condition)                                                              \
  do {                                                                                         \
    if (!(condition)) [[unlikely]] {                                                           \
      std::fprintf(stderr, "headpond: defect at %s:%d: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                            \
    }                                                                                          \
  } while (0)
