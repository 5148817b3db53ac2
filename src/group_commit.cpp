#include "group_commit.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "check.h"
#include "directory.h"
#include "journal_trim.h"
#include "section.h"
#include "tier_side.h"

namespace headpond::internal {

namespace {

constexpr std::uint64_t kLongestGatherUs = 300, kShortestSleepUs = 1'000, kLongestSleepOnBellUs = 10'000;
constexpr std::uint64_t kManyPosts = 512;
constexpr std::uint32_t kCommitsATrim = 512;

void ring_waiters(Header& header) {
  header.commit_bell.fetch_add(1, std::memory_order_acq_rel);
  sys::futex_wake(header.commit_bell, INT32_MAX);
}

void sleep_on_bell(Header& header, std::uint32_t seen, std::uint64_t left_us) {
  std::uint64_t commits = 4ULL * header.commit_us.load(std::memory_order_relaxed);
  sys::futex_wait(header.commit_bell, seen,
                  std::min(left_us, std::clamp(commits, kShortestSleepUs, kLongestSleepOnBellUs)));
}

Status too_late(const ThreadContext& me) {
  return {Code::timeout, "pond " + me.pond->name() +
                             ": no commit came in the time allowed: the disk is slow, or another process is "
                             "stopped in its commit"};
}

}  // namespace

// --------------------------------------------------------------------------------------------------------------------- lock

Status CommitLock::try_take(ThreadContext& me) {
  HEADPOND_CHECK(!me_);
  pthread_mutex_t& mutex = me.pond->segment().section(kCommitSection).mutex;
  int error = is_our_mutex(mutex) ? pthread_mutex_trylock(&mutex) : EINVAL;
  if (error == EBUSY) return Code::busy;
  if (error == EOWNERDEAD) error = pthread_mutex_consistent(&mutex);
  if (error)
    return Status(Code::corruption,
                  "pond " + me.pond->name() + ": the mutex of commits is damaged: " + std::strerror(error),
                  error);
  me_ = &me;
  return {};
}

Status CommitLock::take(ThreadContext& me, std::uint64_t until_us) {
  Header& header = me.pond->segment().header();
  for (;;) {
    std::uint32_t bell = header.commit_bell.load(std::memory_order_acquire);
    Status taken = try_take(me);
    if (!(taken == Code::busy)) return taken;
    std::uint64_t now = sys::precise_us();
    if (now >= until_us) return too_late(me);
    sleep_on_bell(header, bell, until_us - now);
  }
}

void CommitLock::release() {
  if (!me_) return;
  Segment& segment = me_->pond->segment();
  pthread_mutex_unlock(&segment.section(kCommitSection).mutex);
  me_ = nullptr;
  ring_waiters(segment.header());
}

// ------------------------------------------------------------------------------------------------------------------ leading

namespace {

enum class Gather { yes, no };

class Leader {
 public:
  Leader(ThreadContext& me, std::uint64_t until_us)
      : me_(me), header_(me.pond->segment().header()), until_us_(until_us) {}

  /// Everything that is posted, or some MiB of it. Not ok: nothing was written.
  Status run(Gather gather) {
    if (gather == Gather::yes) wait_for_others();
    Collected batch;
    if (Status collected = collect_posts(me_, batch); !collected) return collected;
    if (batch.posts.empty()) return {};
    std::vector<TierSetting> settings;
    if (Status read = settings_of(batch.settings, settings); !read) {
      // A directory that is held up keeps back what is posted of names, not what others wait for.
      settings.clear();
      std::erase_if(batch.posts, [](const Collected::Taken& post) { return post.setting; });
      if (batch.posts.empty()) return read;
    }
    if (!batch.entries.empty() || !settings.empty())
      if (Status written = write(batch.entries, settings); !written) return written;
    finish_posts(me_, batch);
    header_.collected.store(batch.posted, std::memory_order_release);
    header_.commit_records.store(static_cast<std::uint32_t>(batch.posts.size() + posts_waiting(me_)),
                                 std::memory_order_relaxed);
    // Whoever lets the lock go rings. Were they rung here, they would be back with their next posts before that, and sleep once more.
    if (trim_is_due()) {
      ring_waiters(header_);
      trim();
    }
    return {};
  }

  Status write(std::span<const JournalEntry> entries, std::span<const TierSetting> settings = {}) {
    auto tier = me_.pond->tier_side().tier(me_);
    if (!tier) return tier.status();
    std::uint64_t begin = sys::precise_us(), bytes = 0;
    auto lsn =
        (*tier)->commit(entries, settings, header_.durable_lsn.load(std::memory_order_acquire), until_us_);
    if (!lsn) return lsn.status();
    for (std::uint64_t told = header_.durable_lsn.load();
         told < *lsn && !header_.durable_lsn.compare_exchange_weak(told, *lsn);) {
    }
    auto took = static_cast<std::uint32_t>(std::min<std::uint64_t>(sys::precise_us() - begin, 1'000'000)),
         before = header_.commit_us.load(std::memory_order_relaxed);
    header_.commit_us.store(before ? (before * 7 + took) / 8 : took, std::memory_order_relaxed);
    for (const JournalEntry& entry : entries) bytes += entry.payload.size() + 48;
    if (!entries.empty()) add(header_.bytes_since_trim, bytes), add(header_.commits_since_trim, 1u);
    // What is not marked for lack of time is written again some day.
    for (const TierSetting& setting : settings)
      if (!Directory(me_).note_saved(setting)) break;
    return {};
  }

 private:
  /// What they are now: later than what was posted of them, if anything.
  Status settings_of(const std::set<std::string>& keys, std::vector<TierSetting>& out) {
    for (const std::string& bytes : keys) {
      Key key;
      if (!Key::decode(bytes, key)) continue;  // damage of a post's bytes, of which nobody vouches
      auto now = Directory(me_).setting(key);
      if (now.code() == Code::too_large) continue;  // the same
      if (!now) return now.status();
      out.push_back(std::move(*now));
    }
    return {};
  }

  /// Those whom the last commit let go are on their way back.
  void wait_for_others() {
    std::uint32_t want = header_.commit_records.load(std::memory_order_relaxed);
    std::uint64_t most = std::min<std::uint64_t>(header_.commit_us.load(std::memory_order_relaxed) * 3ULL / 4,
                                                 kLongestGatherUs);
    if (posts_waiting(me_) >= want) return;
    for (std::uint64_t end = sys::precise_us() + most; posts_waiting(me_) < want && sys::precise_us() < end;)
      sys::yield();
  }

  /// The journal is written anew when it has doubled: so each entry is written again once, on average.
  bool trim_is_due() const {
    return header_.commits_since_trim.load(std::memory_order_relaxed) >= kCommitsATrim &&
           header_.bytes_since_trim.load(std::memory_order_relaxed) >=
               header_.bytes_kept.load(std::memory_order_relaxed);
  }
  void trim() {
    auto tier = me_.pond->tier_side().tier(me_);
    Status done = tier.status();
    std::uint64_t kept = 0;
    if (tier) done = trim_journal(me_, **tier, kept, sys::precise_us() + kStorePatienceUs);
    // failed: after as many commits again
    header_.commits_since_trim.store(0, std::memory_order_relaxed);
    if (done.ok())
      header_.bytes_since_trim.store(0, std::memory_order_relaxed),
          header_.bytes_kept.store(kept, std::memory_order_relaxed);
    if (!done && done.code() != Code::timeout)
      me_.pond->say(Severity::warning,
                    "pond " + me_.pond->name() + ": the journal cannot be trimmed: " + done.text());
  }

  /// We alone write it: the commit lock is ours.
  template <class T>
  static void add(std::atomic<T>& word, T more) {
    word.store(word.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
  }

  ThreadContext& me_;
  Header& header_;
  const std::uint64_t until_us_;
};

}  // namespace

std::uint64_t durable_deadline(const Attachment& pond) {
  return sys::precise_us() +
         static_cast<std::uint64_t>(std::max<std::int64_t>(0, pond.options().durable_timeout.count())) * 1000;
}

// ------------------------------------------------------------------------------------------------------------------ waiting

namespace {

Status give_up(ThreadContext& me, std::span<Post> posts, const Status& why) {
  bool all = true;
  for (Post& post : posts) {
    if (post.is_done()) continue;
    all = post.stands() && posts_waiting(me) < kManyPosts ? false : !post.withdraw() && all;
  }
  return all ? Status::durable() : Status::in_memory(why);
}

}  // namespace

Status wait_for_posts(ThreadContext& me, std::span<Post> posts, std::uint64_t until_us) {
  Header& header = me.pond->segment().header();
  std::size_t done = 0;
  auto all_done = [&] {
    while (done < posts.size() && posts[done].is_done()) done++;
    return done == posts.size();
  };
  for (;;) {
    std::uint32_t bell = header.commit_bell.load(std::memory_order_acquire);
    if (all_done()) return Status::durable();
    if (Code usable = me.pond->usable(); usable != Code::ok) return Status::in_memory(usable);
    std::uint64_t now = sys::precise_us();
    if (now >= until_us) return give_up(me, posts, too_late(me));
    CommitLock lock;
    Status led = lock.try_take(me);
    if (led == Code::busy) {
      sleep_on_bell(header, bell, until_us - now);
      continue;
    }
    if (led.ok() && !all_done()) led = Leader(me, until_us).run(Gather::yes);
    lock.release();
    if (!led) return give_up(me, posts, led);
  }
}

Status commit_own(ThreadContext& me, const CommitLock&, std::span<const JournalEntry> entries,
                  std::uint64_t until_us) {
  Status written = Leader(me, until_us).write(entries);
  return written ? Status::durable() : Status::in_memory(written);
}

Status commit_settings(ThreadContext& me, const CommitLock&, std::span<const TierSetting> settings,
                       std::uint64_t until_us) {
  return Leader(me, until_us).write({}, settings);
}

Status flush_posts(ThreadContext& me, std::uint64_t until_us,
                   const std::function<bool(const PostEntry&)>& of) {
  Header& header = me.pond->segment().header();
  auto end = end_of_posts(me);
  if (!end) return end.status();
  for (;;) {
    std::uint32_t bell = header.commit_bell.load(std::memory_order_acquire);
    auto left = any_posted(me, *end, of);
    if (!left) return left.status();
    if (!*left) return Status::durable();
    if (Code usable = me.pond->usable(); usable != Code::ok) return usable;
    std::uint64_t now = sys::precise_us();
    if (now >= until_us) return too_late(me);
    CommitLock lock;
    Status led = lock.try_take(me);
    if (led == Code::busy) {
      sleep_on_bell(header, bell, until_us - now);
      continue;
    }
    if (led.ok()) led = Leader(me, until_us).run(Gather::no);
    lock.release();
    if (!led) return led;
  }
}

void commit_if_many(ThreadContext& me) {
  if (posts_waiting(me) % kManyPosts != 0) return;
  CommitLock lock;
  if (lock.try_take(me)) (void)Leader(me, sys::precise_us() + kReadPatienceUs).run(Gather::no);
}

}  // namespace headpond::internal
