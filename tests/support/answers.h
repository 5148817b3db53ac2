// What a call answered, for expectations: EXPECT_OK(queue.push("x")), EXPECT_ANSWER(full, queue.push("x")), must(queue.push("x")).
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <stdexcept>
#include <string>
#include <utility>

#include "headpond/headpond.h"
#include "process.h"

// {.priority = 3} is how options are written; what is left out has its default.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace headpond {
inline void PrintTo(Code code, std::ostream* out) { *out << name(code); }
inline void PrintTo(const Status& status, std::ostream* out) {
  *out << name(status.code()) << ": " << status.text();
}
inline void PrintTo(ItemId id, std::ostream* out) { *out << "item " << id.seq() << " of lane " << id.lane(); }
}  // namespace headpond

namespace support {

inline const headpond::Status& status_of(const headpond::Status& status) { return status; }
template <class T>
const headpond::Status& status_of(const headpond::Result<T>& result) {
  return result.status();
}

inline std::string describe(const headpond::Status& status) {
  return std::string(headpond::name(status.code())) + (status.ok() ? "" : " (" + status.text() + ")");
}

template <class Answer>
::testing::AssertionResult answers(headpond::Code expected, const Answer& answer) {
  if (status_of(answer).code() == expected) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "answered " << describe(status_of(answer)) << ", not " << headpond::name(expected);
}

/// The value, or the end of the test with the status's text.
template <class T>
T must(headpond::Result<T> result) {
  if (!result.ok()) throw std::runtime_error("answered " + describe(result.status()));
  return std::move(*result);
}
inline void must(const headpond::Status& status) {
  if (!status.ok()) throw std::runtime_error("answered " + describe(status));
}

/// That, again while it answers `timeout`: then nothing has happened. Where processes do not run for long, one of them holds a section, the disk or
/// the folder for longer than a call waits; that is nothing that a test is about.
template <class Work>
auto patiently(Work work) {
  auto done = work();
  for (const auto until = Clock::now() + stretched(60s);
       status_of(done).code() == headpond::Code::timeout && Clock::now() < until;)
    done = work();
  return done;
}

/// The payload of a claim, or the code that came instead of one: "<empty>".
inline std::string shown(const headpond::Result<headpond::Claim>& claim) {
  return claim.ok() ? std::string(claim->payload()) : "<" + std::string(headpond::name(claim.code())) + ">";
}
inline std::string shown(const headpond::Result<std::string>& item) {
  return item.ok() ? *item : "<" + std::string(headpond::name(item.code())) + ">";
}

}  // namespace support

#define EXPECT_ANSWER(expected, expression) \
  EXPECT_TRUE(::support::answers(::headpond::Code::expected, (expression)))
#define ASSERT_ANSWER(expected, expression) \
  ASSERT_TRUE(::support::answers(::headpond::Code::expected, (expression)))
#define EXPECT_OK(expression) EXPECT_ANSWER(ok, expression)
#define ASSERT_OK(expression) ASSERT_ANSWER(ok, expression)
