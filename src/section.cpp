#include "section.h"

#include <cerrno>
#include <cstring>
#include <ctime>

#include "check.h"
#include "sanitizer.h"

namespace headpond::internal {

namespace {

int lock_within_slice(pthread_mutex_t& mutex, std::uint64_t patience_us) {
#if HEADPOND_THREAD_SANITIZER
  const clockid_t clock =
      CLOCK_REALTIME;  // ThreadSanitizer of g++ 12 and clang 14 takes no notice of clocklock
#else
  const clockid_t clock = CLOCK_MONOTONIC;
#endif
  std::uint64_t until = sys::clock_us(clock) + patience_us;
  timespec time{static_cast<time_t>(until / 1'000'000), static_cast<long>(until % 1'000'000 * 1000)};
#if HEADPOND_THREAD_SANITIZER
  return pthread_mutex_timedlock(&mutex, &time);
#else
  return pthread_mutex_clocklock(&mutex, clock, &time);
#endif
}

/// In slices: where the whole machine stood still, or this process with whoever has the mutex, one of them is lost, and in the others he goes on.
int lock_within(pthread_mutex_t& mutex, std::uint64_t patience_ms) {
  constexpr std::uint64_t kSlices = 8;
  int error = ETIMEDOUT;
  for (std::uint64_t slice = 0; slice < kSlices && error == ETIMEDOUT; slice++)
    error = lock_within_slice(mutex, patience_ms * 1000 / kSlices);
  return error;
}

}  // namespace

bool is_our_mutex(const pthread_mutex_t& mutex) {
#if defined(__GLIBC__)
  static const int kind = [] {
    pthread_mutex_t made;
    make_mutex(made);
    return made.__data.__kind;
  }();
  return mutex.__data.__kind == kind;
#else
  (void)mutex;
  return true;
#endif
}

Result<Section> Section::enter(ThreadContext& me, std::uint32_t number, std::uint64_t patience_ms) {
  SectionWords& words = me.pond->segment().section(number);
  HEADPOND_CHECK(!me.in_section);
  // the reaper must know what to unlock before it walks
  me.pins->section.store(number + 1, std::memory_order_seq_cst);
  int error = is_our_mutex(words.mutex) ? pthread_mutex_trylock(&words.mutex) : EINVAL;
  if (error == EBUSY && patience_ms) {
    error = lock_within(words.mutex, patience_ms);
  }
  me.in_section = true;
  Section section(me, words);
  if (error == EOWNERDEAD) {
    section.undo();
    pthread_mutex_consistent(&words.mutex);
    error = 0;
  }
  if (error) {
    section.me_ = nullptr;
    me.in_section = false;
    me.pins->section.store(0, std::memory_order_release);
    if (error == EBUSY) return Code::timeout;
    if (error == ETIMEDOUT)
      return Status(Code::timeout, "pond " + me.pond->name() + ": another process holds up section " +
                                       std::to_string(number) + " (is it stopped?); try again");
    return Status(Code::corruption,
                  "pond " + me.pond->name() + ": the mutex of section " + std::to_string(number) +
                      " is damaged: " + std::strerror(error),
                  error);
  }
  if (words.entries.load(std::memory_order_acquire) != 0) section.undo();  // I7: only damage can do this
  return section;
}

Section::~Section() {
  if (!me_) return;
  undo();
  unlock();
}

UndoRecord& Section::note(Word& word, std::uint32_t count, std::uint64_t before, std::uint64_t after) {
  HEADPOND_CHECK(entries_ < kUndoRecords);
  UndoRecord& record = words_->undo[entries_];
  record = {me_->pond->segment().offset_of(&word) | static_cast<std::uint64_t>(count) << 40, before, after};
  words_->entries.store(++entries_, std::memory_order_release);
  return record;
}

void Section::set(Word& word, std::uint64_t value) {
  std::uint64_t before = word.load(std::memory_order_relaxed);
  if (before == value) return;
  note(word, 1, before, value);
  word.store(value, std::memory_order_release);
}

void Section::fill(Word& first, std::uint32_t count, std::uint64_t before, std::uint64_t after) {
  if (count == 0) return;
  note(first, count, before, after);
  for (std::uint32_t i = 0; i < count; i++) (&first)[i].store(after, std::memory_order_release);
}

bool Section::exchange(Word& word, std::uint64_t before, std::uint64_t after) {
  note(word, 1, before, after);
  return word.compare_exchange_strong(before, after, std::memory_order_acq_rel);
}

// Backwards, one record at a time; each step may be repeated. What the journal says is checked: a dying process wrote it.
void Section::undo() {
  Segment& segment = me_->pond->segment();
  std::uint64_t n = words_->entries.load(std::memory_order_acquire);
  for (n = n > kUndoRecords ? 0 : n; n > 0; n--) {
    UndoRecord record = words_->undo[n - 1];
    std::uint64_t offset = bits(record.place, 0, 40), count = bits(record.place, 40, 24);
    if (count > segment.capacity(Table::bitmap)) count = 0;  // no run is as long: damaged
    for (std::uint64_t i = count; i > 0; i--) {
      Word* word = segment.word_at(offset + (i - 1) * 8);
      std::uint64_t expected = record.after;
      if (word) word->compare_exchange_strong(expected, record.before, std::memory_order_acq_rel);
    }
    words_->entries.store(n - 1, std::memory_order_release);
  }
  words_->entries.store(0, std::memory_order_release);
}

void Section::leave() {
  words_->entries.store(0, std::memory_order_release);
  unlock();
  me_ = nullptr;
}

void Section::unlock() {
  pthread_mutex_unlock(&words_->mutex);
  me_->in_section = false;
  me_->pins->section.store(0, std::memory_order_release);
}

}  // namespace headpond::internal
