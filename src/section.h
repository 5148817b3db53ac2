// A critical section that happens wholly or not at all: a robust mutex with an undo journal in shared memory.
//
// Every change inside goes through set(), which first writes {word, before, after} to the journal. Leaving empties the journal: that is the
// commit. Who gets the mutex of a dead holder replays the journal backwards before it marks the mutex consistent; killed in the replay, the
// next one goes on where it was. A word is restored only if it still has the new value, because some of them others compare-exchange too.
//
//   died                          found by the next holder          cure
//   before the record counts      the word has its old value        nothing to undo
//   after it counts, before set   the word has its old value        `after` is not there: nothing to undo
//   after set                     the word has `after`              restored
//   while leaving, entries = 0    journal empty                     committed; EOWNERDEAD only repairs the mutex
//
// Rules: one section at a time per thread; no system call inside but the mutex's own; nothing that a lock-free walker follows is
// published through set() unless the walker may as well see it undone (protocol 3).
#pragma once

#include "attachment.h"

namespace headpond::internal {

class Section {
 public:
  /// How long to wait for a holder. A stopped one is `timeout`, not a hang.
  static constexpr std::uint64_t kPatienceMs = 200;

  /// Names the section in the thread's pin words, then locks it. `timeout`: a live process keeps it.
  static Result<Section> enter(ThreadContext& me, std::uint32_t number) {
    return enter(me, number, kPatienceMs);
  }
  static Result<Section> enter(ThreadContext& me, std::uint32_t number, std::uint64_t patience_ms);
  /// The same for work that can be left to the next one: `timeout` at once if somebody is inside.
  static Result<Section> try_enter(ThreadContext& me, std::uint32_t number) { return enter(me, number, 0); }
  Section(Section&& other) noexcept
      : me_(std::exchange(other.me_, nullptr)), words_(other.words_), entries_(other.entries_) {}
  Section& operator=(Section&&) = delete;
  /// Undoes what was not committed by leave().
  ~Section();

  /// Changes a word; undone if the section is not left properly.
  void set(Word& word, std::uint64_t value);
  /// The same for `count` words that all have the value `before`.
  void fill(Word& first, std::uint32_t count, std::uint64_t before, std::uint64_t after);
  /// The same for a word that others compare-exchange; false if it had another value (what was set before is undone by the caller's
  /// going away without leave()).
  bool exchange(Word& word, std::uint64_t before, std::uint64_t after);

  /// The commit.
  void leave();

 private:
  Section(ThreadContext& me, SectionWords& words) : me_(&me), words_(&words) {}
  UndoRecord& note(Word& word, std::uint32_t count, std::uint64_t before, std::uint64_t after);
  void undo();
  void unlock();

  ThreadContext* me_;
  SectionWords* words_;
  std::uint64_t entries_ = 0;  // in the journal: our own count, whatever becomes of the one in the segment
};

/// Is it of the kind that make_mutex() makes? Other kinds would have libc follow other rules, and abort by its own assertions.
bool is_our_mutex(const pthread_mutex_t& mutex);

/// The section of a stream's lanes.
inline std::uint32_t stream_section(std::uint32_t index) {
  return kFirstStreamSection + index % (kCommitSection - kFirstStreamSection);
}

}  // namespace headpond::internal
