#include "survivor.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "settings_found.h"
#include "src/attachment.h"
#include "src/reap.h"
#include "src/retire.h"

namespace crash {

using namespace headpond;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

// What the survivor pushes after the kill: with a priority, and at the end.
constexpr std::uint64_t kFirst = 98, kLast = 99;
constexpr auto kBound = 200ms;

std::string token(const Claim& claim, std::uint64_t number) {
  std::string out = std::to_string(number);
  if (claim.attempts() != 1 || claim.crashes() != 0)
    out += ":" + std::to_string(claim.attempts()) + "/" + std::to_string(claim.crashes());
  return out;
}
}  // namespace

int time_factor() {
  const char* text = std::getenv("HEADPOND_TIME_FACTOR");
  return text ? std::max(1, std::atoi(text)) : 1;
}

std::string joined(const std::vector<std::string>& tokens) {
  std::string out;
  for (auto& t : tokens) out += (out.empty() ? "" : " ") + t;
  return out;
}
void Survivor::sweep() {
  auto attachment = must(internal::Attachment::open(stage_.name, {}, false), "open");
  internal::sweep_all_tombed(*attachment->thread());
  internal::recover_pages(*attachment->thread());
}

void Survivor::recover(bool waiter) {
  auto begin = Clock::now();
  if (!stage_.pond) stage_.open(op_.options, true);
  must(stage_.pond->reap(), "reap");
  verify("after the reaping");
  must(stage_.work->push(item(kFirst), {.priority = 3}), "push with a priority");
  must(stage_.work->push(item(kLast)), "push");
  auto took = Clock::now() - begin;
  recoveries_.slowest_us =
      std::max<std::uint64_t>(recoveries_.slowest_us, static_cast<std::uint64_t>(took / 1us));
  if (took > kBound * time_factor()) throw Slow("the survivor needed " + std::to_string(took / 1ms) + " ms");
  if (waiter) {
    while (!scratch_.got && Clock::now() - begin < kBound * time_factor()) ::usleep(50);
    if (!scratch_.got)
      throw Slow("the process that waits in claim() got nothing in " + std::to_string(kBound.count()) +
                 " ms");
    if (Clock::now() - begin > 60ms) recoveries_.late_wakes++;
  }
}

void Survivor::verify(const char* when) {
  auto findings = must(stage_.pond->verify(), "verify");
  if (findings.clean()) return;
  std::string text = std::string("verify ") + when + ": ";
  for (auto& problem : findings.problems) text += problem + "; ";
  throw Problem(text);
}

void Survivor::only_survivors_are_left(std::uint64_t others) {
  auto stats = must(stage_.pond->stats(), "stats");
  if (stats.participants != 1 + others)
    throw Problem(std::to_string(stats.participants) + " participants are left, and " +
                  std::to_string(1 + others) + " live");
  auto attachment = must(internal::Attachment::open(stage_.name, {}, false), "open");
  auto& segment = attachment->segment();
  std::uint64_t pins = 0, used = segment.header().pins_used.load();
  for (std::uint32_t i = 0; i < used; i++) {
    auto& words = segment.pins(i);
    pins += words.owner.load() != 0;
    if (words.pin.load() || words.hold.load() || words.section.load())
      throw Problem("pin slot " + std::to_string(i) + " still names a page or a section");
  }
  if (pins != 1 + others) throw Problem(std::to_string(pins) + " pin slots are left");
}

std::string Survivor::save() {
  must(stage_.pond->flush(), "flush");
  nothing_is_unsaved(stage_);
  verify("after the flush");
  return after_reboot(stage_.name, op_.options);
}

std::string Survivor::settings() {
  std::string found = settings_found(stage_, op_.options);
  must(stage_.work->resume(), "resume");
  return found;
}

std::string Survivor::observe() {
  for (Claim& claim : stage_.claims)
    if (Status back = claim.nack(); !back && back.code() != Code::fenced) must(back, "nack");
  stage_.claims.clear();
  std::vector<std::string> ready = drain(*stage_.work);
  for (std::uint64_t probe : {kFirst, kLast})
    if (std::erase(ready, std::to_string(probe)) != 1 && !(op_.waiter && scratch_.got == 1 + probe))
      throw Problem("item " + std::to_string(probe) +
                    ", pushed after the kill, was not delivered exactly once: " + joined(ready));
  if (op_.waiter && scratch_.got != 1 + kLast && scratch_.got != 1 + kFirst) {
    std::string got = std::to_string(scratch_.got - 1);
    if (scratch_.got_attempts != 1 || scratch_.got_crashes)
      got += ":" + std::to_string(scratch_.got_attempts) + "/" + std::to_string(scratch_.got_crashes);
    ready.insert(ready.begin(), got);
  }
  std::string out = joined(ready);
  auto dead = must(stage_.work->dead(), "dead");
  if (!dead.empty()) {
    out += " | dead";
    std::vector<std::string> numbers;
    for (auto& letter : dead) {
      if (number_of(letter.payload) == UINT64_MAX) throw Problem("a dead letter is torn");
      numbers.push_back(std::to_string(number_of(letter.payload)));
      out +=
          " " + numbers.back() + ":" + std::to_string(letter.attempts) + "/" + std::to_string(letter.crashes);
    }
    if (must(stage_.work->redrive(), "redrive") != dead.size())
      throw Problem("not every dead letter could be redriven");
    if (drain(*stage_.work) != numbers) throw Problem("redriven dead letters came back differently");
  }
  if (auto others = drain(*stage_.other); !others.empty()) out += " | other " + joined(others);
  Scan scan = stage_.audit->scan();
  std::vector<std::string> records;
  for (const Record& record : scan) {
    if (number_of(record.payload) == UINT64_MAX) throw Problem("a record is torn");
    records.push_back(std::to_string(record.seq) + "=" + std::to_string(number_of(record.payload)));
  }
  must(scan.status(), "scan");
  if (!records.empty()) out += " | log " + joined(records);
  return out;
}

void Survivor::nothing_is_left_on_disk() {
  must(stage_.pond->scope("scope").configure({}), "configure");
  if (std::string left = after_reboot(stage_.name, op_.options); !left.empty())
    throw Problem("everything was dropped, and a loss of the segment brings back \"" + left + "\"");
}

void Survivor::nothing_is_left() {
  must(stage_.pond->reap(), "reap");
  auto stats = must(stage_.pond->stats(), "stats");
  for (auto& stream : stats.details)
    if (stream.kind == StreamInfo::Kind::queue && stream.queue.page_bytes > 3 * 4096 + 4096)
      throw Problem("the drained queue keeps " + std::to_string(stream.queue.page_bytes) + " bytes of pages");
  verify("of the drained pond");
  must(stage_.pond->scope("scope").clear(), "scope clear");
  must(stage_.pond->reap(), "reap");
  verify("of the cleared pond");
  stats = must(stage_.pond->stats(), "stats");
  if (op_.posts) {
    must(stage_.pond->flush(), "flush");
    stats = must(stage_.pond->stats(), "stats");
  }
  if (stats.page_bytes > (op_.posts ? 4096 : 0) || stats.streams)
    throw Problem("after draining and clearing, " + std::to_string(stats.page_bytes) +
                  " bytes of pages and " + std::to_string(stats.streams) + " streams are left");
}

std::vector<std::string> Survivor::drain(Queue& queue) {
  std::vector<std::string> out;
  auto until = Clock::now() + kLong * time_factor();
  for (;;) {
    auto claim = queue.claim(milliseconds(0));
    if (!claim && claim.code() == Code::empty) {
      if (must(queue.stats(), "stats").delayed == 0) return out;
      if (Clock::now() > until) throw Problem("a delayed item never comes: " + joined(out));
      claim = queue.claim(20ms);
      if (!claim && (claim.code() == Code::timeout || claim.code() == Code::empty)) continue;
    }
    if (!claim) must(claim.status(), "claim");
    std::uint64_t number = number_of(claim->payload());
    if (number == UINT64_MAX) throw Problem("an item is torn");
    if (number == 101 && scratch_.id && claim->id().value != scratch_.id)
      throw Problem("item 101 has another id than its push returned");
    out.push_back(token(*claim, number));
    must(claim->ack(), "ack");
  }
}

}  // namespace crash
