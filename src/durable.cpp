#include "durable.h"

#include "settings.h"
#include "tier_side.h"

namespace headpond::internal {

namespace {

/// Before the first entry of a stream: whoever clears it leaves its name in the tier to who trims the journal. The lane's id there.
Result<std::uint64_t> make_known(Lane& lane) {
  std::uint64_t until = durable_deadline(*lane.me.pond);
  auto id = lane.me.pond->tier_side().declared_id(lane);
  // Others keep the tier busy, or were stopped with us: once more at the end, too.
  for (bool over = false; id.code() == Code::timeout && !over;) {
    over = sys::precise_us() >= until;
    id = lane.me.pond->tier_side().declared_id(lane);
  }
  if (!id) return id.status();
  Word& used = lane.segment.header().journal_used;
  if (!used.load(std::memory_order_relaxed)) used.store(1, std::memory_order_seq_cst);
  return *id;
}

ItemId item_at(const Lane& lane, std::uint64_t seq) {
  return {static_cast<std::uint64_t>(lane.number) << 60 | seq};
}

class PostBeforeReady final : public BeforeReady {
 public:
  PostBeforeReady(const Lane& lane, std::uint64_t in_tier, std::span<const Parts> records, Post& post)
      : lane_(lane), in_tier_(in_tier), records_(records), post_(post) {}
  void run(std::uint64_t first_id) override {
    for (const Parts& record : records_) {
      post_.add({journal_push(in_tier_, item_at(lane_, first_id), first_id, 0), lane_.binding}, record);
      first_id++;
    }
    post_.publish();
  }

 private:
  const Lane& lane_;
  const std::uint64_t in_tier_;
  std::span<const Parts> records_;
  Post& post_;
};

Code append(Lane& lane, std::span<const Parts> records, std::uint64_t& first_id, std::uint64_t due_ms) {
  return records.size() == 1 ? append_one(lane, records[0], first_id, due_ms)
                             : append_all(lane, records, first_id, due_ms);
}

Code append_and_commit(Lane& lane, std::uint64_t in_tier, std::span<const Parts> records,
                       std::uint64_t due_ms, std::uint64_t& first_id, Sent& out) {
  std::uint64_t until = durable_deadline(*lane.me.pond);
  CommitLock lock;
  if (Status taken = lock.take(lane.me, until); !taken) return out.refused = std::move(taken), Code::ok;
  if (Code code = append(lane, records, first_id, due_ms); code != Code::ok) return code;
  std::vector<JournalEntry> entries;
  std::vector<std::string> joined;
  joined.reserve(records.size());
  for (std::size_t i = 0; i < records.size(); i++) {
    JournalEntry entry = journal_push(in_tier, item_at(lane, first_id + i), first_id + i, 0);
    entry.payload = records[i].first;
    if (!records[i].second.empty())
      entry.payload = joined.emplace_back(std::string(records[i].first).append(records[i].second));
    entries.push_back(entry);
  }
  out.answer = commit_own(lane.me, lock, entries, until);
  return Code::ok;
}

}  // namespace

Code append_durably(Lane& lane, std::span<const Parts> records, std::uint64_t due_ms, std::uint64_t& first_id,
                    Sent& out) {
  // The id of this life of the descriptor: in another the append finds the stream gone.
  auto known = make_known(lane);
  if (known.code() == Code::not_found) return Code::not_found;
  if (!known) return out.refused = known.status(), Code::ok;
  std::uint64_t in_page = 0, in_post = 0;
  for (const Parts& record : records) {
    in_page += record_bytes(record.size(), size_flags(record.size()));
    in_post += Post::bytes_for(record.size());
  }
  lane.record_flags = kDurable;
  if (in_page > largest_shared(lane.segment) || in_post > Post::kMostBytes)
    return append_and_commit(lane, *known, records, due_ms, first_id, out);
  if (!out.post) {
    if (Status room = room_for_posts(lane.me); !room) return out.refused = std::move(room), Code::ok;
    if (Status reserved = out.post.reserve(lane.me, in_post); !reserved)
      return lane.failed(std::move(reserved));
  }
  PostBeforeReady post(lane, *known, records, out.post);
  lane.before_ready = &post;
  Code code = append(lane, records, first_id, due_ms);
  lane.before_ready = nullptr;
  return code;
}

Status finish_append(ThreadContext& me, Sent& sent) {
  if (!sent.post.published()) follow_tier(me);
  if (!sent.refused.ok()) return std::move(sent.refused);
  if (!sent.post.published()) return std::move(sent.answer);
  return finish_acks(me, {&sent.post, 1}, sent.wanted, {});
}

// --------------------------------------------------------------------------------------------------------------------- acks

Status prepare_ack(Lane& lane, RecordWord item, Durability wanted, Post& post, Status& note) {
  if (!needs_post(item, wanted)) return {};
  Status ready;
  if (wanted != Durability::memory) ready = make_known(lane).status();
  if (ready.code() == Code::not_found) return {};  // cleared under the claim: nothing is in the journal
  if (ready) ready = room_for_posts(lane.me);
  if (ready) ready = post.reserve(lane.me, Post::bytes_for(0));
  if (ready || wanted != Durability::memory) return ready;
  note = Status::in_memory(ready);
  return {};
}

void post_ack(const Lane& lane, Post& post, ItemId birth) {
  // Of a stream that was cleared meanwhile it is not written, whatever id this is.
  post.add({journal_ack(TierSide::id_of(lane), birth), lane.binding});
  post.publish();
}

Status finish_acks(ThreadContext& me, std::span<Post> posts, Durability wanted, const Status& note) {
  if (wanted != Durability::durable) return commit_if_many(me), note;
  Status waited = wait_for_posts(me, posts, durable_deadline(*me.pond));
  follow_tier(me);
  return waited;
}

}  // namespace headpond::internal
