// push, claim, ack and append make no system call, allocate nothing and take no lock: within a page, once a thread is warm.
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

#include "support/test_pond.h"

namespace {
std::atomic<std::uint64_t> allocations{0};
}

// Counted for this program and the library in it.
[[gnu::noinline]] void* operator new(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using namespace headpond;
using namespace support;

struct Report {
  std::atomic<bool> finished{false};
  std::atomic<int> failed{0};
};

/// Of a process that ends with 77 if it cannot be sealed.
void expect_no_system_call(Process& sealed, const Report& report) {
  const int code = sealed.wait();
  if (code == 77) GTEST_SKIP() << "needs seccomp";
  EXPECT_EQ(code, 0) << "killed: a system call";
  EXPECT_EQ(report.failed.load(), 0) << "1000: it allocated";
  EXPECT_TRUE(report.finished.load());
}

/// Runs the operations where the kernel answers any system call (but read, write, exit) with SIGKILL.
template <class Body>
void without_system_calls(const TestPond& test, Body body) {
  Shared<Report> report;
  Process sealed([&] {
    Pond pond = test.open();
    Queue queue = pond.scope("s").queue("q");
    Log log = pond.scope("s").log("l");
    for (int i = 0; i < 3000; ++i) {  // pages have their full size, the thread its places
      must(queue.push("0123456789012345"));
      must(log.append("0123456789012345"));
      if (i % 4 == 0) must(must(queue.claim()).ack());
    }
    for (int i = 0; i < 3; ++i) body(queue, log, *report);
    const std::uint64_t before = allocations;
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) return 77;
    body(queue, log, *report);
    if (allocations != before) report->failed = 1000;
    report->finished = true;
    ::syscall(SYS_exit, 0);
    return 0;
  });
  expect_no_system_call(sealed, *report);
}

TEST(HotPath, PushClaimAckAndAppendMakeNoSystemCallAndAllocateNothing) {
  TestPond test;
  without_system_calls(test, [](Queue& queue, Log& log, Report& report) {
    for (int i = 0; i < 50; ++i) {
      if (!queue.push("0123456789").ok()) ++report.failed;
      Result<Claim> claim = queue.claim();
      if (!claim || !claim->ack().ok()) ++report.failed;
      if (!log.append("0123456789").ok()) ++report.failed;
    }
  });
}

TEST(HotPath, NackExtendAndLastSeqMakeNone) {
  TestPond test;
  without_system_calls(test, [](Queue& queue, Log& log, Report& report) {
    for (int i = 0; i < 20; ++i) {
      Result<Claim> claim = queue.claim();
      if (!claim || !claim->extend(1h).ok() || !claim->nack().ok()) ++report.failed;
      if (!log.last_seq().ok()) ++report.failed;
    }
  });
}

TEST(HotPath, AScanMakesNone) {
  TestPond test;
  Shared<Report> report;
  Process sealed([&] {
    Log log = test.log();
    for (int i = 0; i < 3000; ++i) must(log.append("0123456789012345"));
    for (const Record& record : log.scan()) report->failed += record.payload.size() != 16;
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) return 77;
    for (const Record& record : log.scan()) report->failed += record.payload.size() != 16;
    report->finished = true;
    ::syscall(SYS_exit, 0);
    return 0;
  });
  expect_no_system_call(sealed, *report);
}

}  // namespace
