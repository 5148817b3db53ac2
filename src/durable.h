// Durable operations as the rooms above ask for them: what a call wants, and how pushes and acks come into the posting queue.
#pragma once

#include <optional>

#include "group_commit.h"
#include "posting.h"

namespace headpond::internal {

inline Durability default_durability(std::uint32_t policy) {
  return policy & kDurableByDefault  ? Durability::durable
         : policy & kPostedByDefault ? Durability::posted
                                     : Durability::memory;
}
/// What the call asked for, else what its stream's scope has for a default.
inline Durability wanted(const StreamWords& stream, std::optional<Durability> asked) {
  if (asked) return *asked;
  return default_durability(stream.policy.load(std::memory_order_relaxed));
}

/// An append on its way to the disk.
struct Sent {
  Durability wanted = Durability::memory;
  Post post;
  Status answer;   // ok; or of a commit of its own
  Status refused;  // nothing happened
};

/// append_all() with a post before READY, or with a commit of its own if it is large. `out.wanted` is set. Codes as append_all(), and ok with
/// `out.refused`: it was not even begun.
Code append_durably(Lane& lane, std::span<const Parts> records, std::uint64_t due_ms, std::uint64_t& first_id,
                    Sent& out);
/// What the call answers once the append is done: waits, if that is wanted.
Status finish_append(ThreadContext& me, Sent& sent);

/// An ack's place in the posting queue, before the ack: if it is wanted, or the item is in the journal. Not ok: nothing happened. `note`: the
/// item is in the journal, nothing more was wanted, and there is no place: the ack will be in memory alone.
Status prepare_ack(Lane& lane, RecordWord item, Durability wanted, Post& post, Status& note);
inline bool needs_post(RecordWord item, Durability wanted) {
  return item.has(kDurable) || wanted != Durability::memory;
}
/// After the ack.
void post_ack(const Lane& lane, Post& post, ItemId birth);
/// What a call answers that has posted these.
Status finish_acks(ThreadContext& me, std::span<Post> posts, Durability wanted, const Status& note);

}  // namespace headpond::internal
