// The posting queue J: what is to become durable, from the hand that did it to the hand that commits it.
//
// J is a lane of its own, no scope's member, which never spills; its pages may come from the allocator's reserve. A record of J is a post: one
// operation's entries, end to end. It goes through three of a record's states:
//
//   WRITING(me)  reserved, before the operation changes anything that others see
//   READY        posted: whoever leads the next commit writes it (group_commit.h)
//   DONE         written and synced; or withdrawn by its author, who answers `memory`; or abandoned, nothing was posted
//
// When a post becomes READY, by what it says (X is the item):
//
//   push   after X is WRITING, so that it has its id, and before X is READY
//   move   after X's new record is WRITING, and before X's old one is DONE
//   ack    after X is DONE: a claim that is lost meanwhile must not be in the journal
//
// P1  Whatever is posted of an item after others could see it has a place in J behind the item's push and its moves so far, and these were READY
//     before that place was reserved. (Who acks or moves X claims it first, and reserves after claiming.)
// P2  A leader takes the READY posts before an end that it fixes before it looks at the first of them. So with P1 no push or move of an item is
//     in a later row of the journal than its ack, nor than a later move: a trim that sees an ack sees everything that it ends.
// P3  Nothing of the author's but WRITING keeps J's page from going, and nothing else is needed: a page goes when all is DONE.
//
//   killed                          found                     becomes
//   before READY                    WRITING(dead)             DONE, by the reaper. A push: X is abandoned, too. An ack: X is DONE in memory, its ack
//                                                             never returned; after a reboot it comes again.
//   a push, between its post        READY, X WRITING(dead)    X is abandoned, and its reaper posts an ack for it
//     and X READY
//   a move, between its post        READY, X as it was        the journal says a place where X never was. The next move, with the same count of
//     and its commit                                          moves and behind it in the journal, says better; an ack ends X wherever it is.
//   after READY                     READY                     DONE, by the next leader: durable, though nobody is told
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "append.h"
#include "tier.h"

namespace headpond::internal {

/// What a post says of one item, or of a setting. `entry.payload` is of the moment only.
struct PostEntry {
  JournalEntry entry;
  Binding stream;  // in the segment: what is posted of a stream that is cleared by now is not written
  bool setting =
      false;  // `entry.payload` is an encoded Key, and nothing else is said: who leads looks what there is (settings.h)
};

/// One record of J in its author's hands, from reserve() to its end. Abandoned if it goes before it was published.
class Post {
 public:
  Post() = default;
  Post(Post&& other) noexcept { *this = std::move(other); }
  Post& operator=(Post&& other) noexcept;
  Post(const Post&) = delete;
  Post& operator=(const Post&) = delete;
  ~Post() { abandon(); }

  /// Bytes in J of one entry with that payload.
  static std::uint64_t bytes_for(std::uint64_t payload);
  /// The most bytes of entries that a post may have: what is larger is committed by its author.
  static constexpr std::uint64_t kMostBytes = 64 << 10;

  /// WRITING(me), with room for so many bytes of entries. Uses the operation pin and leaves it free. Not ok: nothing happened.
  Status reserve(ThreadContext& me, std::uint64_t bytes);
  explicit operator bool() const { return state_ != State::none; }
  bool published() const { return state_ == State::published; }
  /// It says what is so in memory whatever becomes of the commit: an ack, a setting.
  bool stands() const { return stands_; }
  ThreadContext& owner() const { return *me_; }  // REQUIRES: not none

  /// REQUIRES: reserved, and room left. `payload` comes in parts.
  void add(const PostEntry& entry, const Parts& payload = {});
  /// READY. REQUIRES: the room is used up.
  void publish();
  void abandon();

  /// Published: is it written? Uses the operation pin.
  bool is_done() const;
  /// Takes it back. False: it is written. Uses the operation pin.
  bool withdraw();

 private:
  enum class State { none, reserved, published };
  State state_ = State::none;
  ThreadContext* me_ = nullptr;
  Binding queue_;
  Place place_;
  std::uint64_t bytes_ = 0, used_ = 0;
  bool stands_ = false;  // of what was added last
};

/// Posts as a leader takes them.
struct Collected {
  struct Taken {
    Reference page;
    std::uint64_t offset;
    RecordWord word;
    bool setting = false;  // it names some
  };
  std::vector<Taken> posts;
  std::vector<JournalEntry> entries;  // their payloads are in `bytes`
  std::string bytes;
  std::set<std::string> settings;  // encoded keys
  std::uint64_t posted = 0;        // Header::posted when J's end was fixed
  bool more = false;               // some were left for the next commit
};

/// The READY posts up to the end of J as it is now, of some MiB. Damaged ones are left out, and said. REQUIRES: the commit lock.
Status collect_posts(ThreadContext& me, Collected& out);
/// DONE, all of them; then J's pages that are over go. REQUIRES: the commit lock, and their entries are committed.
void finish_posts(ThreadContext& me, const Collected& collected);
/// Posts since the last commit began to collect: a hint.
std::uint64_t posts_waiting(ThreadContext& me);
/// `full`: so many posts wait for the disk that they fill a sixteenth of the segment.
Status room_for_posts(ThreadContext& me);
/// The id behind J's last record: what is posted later is at it or above. 0: nothing was ever posted.
Result<std::uint64_t> end_of_posts(ThreadContext& me);
/// Is there a READY post below `end` of which `of` answers true for an entry?
Result<bool> any_posted(ThreadContext& me, std::uint64_t end,
                        const std::function<bool(const PostEntry&)>& of);

/// Are these bytes of a post entries, end to end?
bool is_post(std::span<const char> bytes);

/// The names under which the journal knows this item; `stream`: a lane of its stream in the tier.
JournalEntry journal_ack(std::uint64_t stream, ItemId birth, std::uint64_t ids = 1);
/// The item that is at {stream, seq}.
JournalEntry journal_push(std::uint64_t stream, ItemId birth, std::uint64_t seq, std::uint32_t moves);

}  // namespace headpond::internal
