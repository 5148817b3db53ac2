#include "headpond/log.h"

#include <algorithm>
#include <utility>

#include "durable.h"
#include "each.h"
#include "settings.h"
#include "stats.h"
#include "straight.h"
#include "stream.h"
#include "tier_side.h"
#include "unlink.h"

namespace headpond {

using namespace internal;

namespace {

constexpr std::uint64_t kLargestRecord = 1ULL << 30;

Status check_record(std::uint64_t size) {
  if (size > kLargestRecord)
    return {Code::too_large, "a record has " + std::to_string(size) + " bytes; the limit is 1 GiB"};
  return {};
}

}  // namespace

Result<std::uint64_t> Log::append(Bytes record, std::optional<milliseconds> full_timeout) {
  if (Status good = check_record(record.size()); !good) return good;
  std::uint64_t seq = 0;
  if (push_straight(stream_->pond(), stream_->binding(), record, Wake::all, seq)) [[likely]]
    return seq;
  return append(record, AppendOptions{full_timeout, {}});
}

Result<std::uint64_t> Log::append(Bytes record, const AppendOptions& options) {
  if (Status good = check_record(record.size()); !good) return good;
  std::uint64_t seq = 0;
  Parts parts{record, {}};
  Status done = stream_->append({&parts, 1}, 0, 0, options.full_timeout, options.durability, seq);
  if (!done) return done;
  return {seq, std::move(done)};
}

Result<std::uint64_t> Log::append_many(std::span<const Bytes> records,
                                       std::optional<milliseconds> full_timeout) {
  return append_many(records, AppendOptions{full_timeout, {}});
}

Result<std::uint64_t> Log::append_many(std::span<const Bytes> records, const AppendOptions& options) {
  if (records.empty()) return Status(Code::invalid, "append_many of no record");
  std::vector<Parts> parts;
  parts.reserve(records.size());
  for (Bytes record : records) {
    if (Status good = check_record(record.size()); !good) return good;
    parts.push_back({record, {}});
  }
  std::uint64_t seq = 0;
  Status done = stream_->append(parts, 0, 0, options.full_timeout, options.durability, seq);
  if (!done) return done;
  return {seq, std::move(done)};
}

Status Log::wait_durable(std::uint64_t seq) const {
  Status answer;
  Status done = stream_->run(false, [&](ThreadContext& me, Binding binding, Status& error) {
    answer = flush_posts(me, durable_deadline(*me.pond), [&](const PostEntry& post) {
      return post.stream == binding && post.entry.kind == JournalEntry::Kind::push && post.entry.seq <= seq;
    });
    follow_tier(me);
    if (!answer) error = answer;
    return answer.code();
  });
  return done.ok() ? answer : done;
}

Result<Reservation> Log::reserve(std::size_t size) { return Queue(stream_).reserve(size); }

// ------------------------------------------------------------------------------------------------------------------ figures

Result<std::uint64_t> Log::last_seq() const {
  std::uint64_t last = 0;
  Status done = stream_->run(false, [&](ThreadContext& me, Binding binding, Status& error) {
    Lane lane(me, binding, 0);
    Unpin unpin{lane};
    last = lane.stream.first_id.load(std::memory_order_relaxed) - 1;
    // Readable is what stands before the first record that is being written.
    Code code = for_each_record(
        lane, [](const PageView&) { return true; },
        [&](const PageView&, std::uint64_t, RecordWord word, std::uint64_t id) {
          if (word.state() == RecordState::writing) return Visit::stop;
          last = id + word.ids() - 1;
          return Visit::go_on;
        },
        [] {},
        [&](const GapAhead&, const PageView& behind) { return last = id_of(behind, 0) - 1, Code::ok; });
    if (code == Code::corruption) error = std::move(lane.error);
    return code;
  });
  if (done.ok() || done.code() == Code::not_found) return last;
  return done;
}

Result<LogStats> Log::stats() const {
  LogStats out;
  Status done = stream_->run(false, [&](ThreadContext& me, Binding binding, Status& error) {
    return log_stats(me, binding, out, error);
  });
  if (done.ok() || done.code() == Code::not_found) return out;
  return done;
}

// --------------------------------------------------------------------------------------------------------------------- trim

namespace {

/// The rows wholly below: no reader looks for them any more.
Status erase_trimmed(ThreadContext& me, std::uint64_t stream, std::uint64_t below) {
  auto tier = me.pond->tier_side().tier(me);
  if (!tier) return tier.status();
  me.pond->tier_side().note_erased();
  return (*tier)->erase_upto(stream, below - 1, sys::precise_us() + kStorePatienceUs);
}

}  // namespace

Result<std::uint64_t> Log::trim(std::uint64_t below) {
  std::uint64_t trimmed = 0;
  Status done = stream_->run(false, [&](ThreadContext& me, Binding binding, Status& error) {
    Lane lane(me, binding, 0);
    // What is not readable yet, or comes later, is not trimmed in advance: it would be written into a page that is gone.
    std::uint64_t up_to = lane.stream.first_id.load(std::memory_order_relaxed);
    bool rows = false, begun = false;  // rows: below what is trimmed
    {
      Unpin unpin{lane};
      Code code = for_each_record(
          lane,
          [&](const PageView& page) {
            // Records of before a rebuild are below the first id that the stream gives itself.
            if (!std::exchange(begun, true)) up_to = std::min(up_to, id_of(page, 0));
            return true;
          },
          [&](const PageView&, std::uint64_t, RecordWord word, std::uint64_t id) {
            up_to = std::max(up_to, std::min(below, id));  // what is before a record is readable, or was
            if (word.state() == RecordState::writing || id >= below) return Visit::stop;
            up_to = std::min(below, id + word.ids());
            return Visit::go_on;
          },
          [] {},
          [&](const GapAhead&, const PageView& behind) {
            rows |= up_to < below;
            up_to = std::max(up_to, std::min(below, id_of(behind, 0)));
            return Code::ok;
          });
      if (code == Code::corruption) return error = std::move(lane.error), code;
      if (code == Code::not_found) return code;
    }
    // In the directory's section: nobody makes another log of the descriptor meanwhile.
    std::uint64_t in_tier = 0;
    Status set = Directory(me).with_stream(binding, [&](StreamWords& words) {
      in_tier = TierSide::id_of(lane);
      for (trimmed = words.trimmed.load(std::memory_order_acquire);
           trimmed < up_to &&
           !words.trimmed.compare_exchange_weak(trimmed, up_to, std::memory_order_acq_rel);) {
      }
      trimmed = std::max(trimmed, up_to);
    });
    if (!set) return error = set, set.code();
    Status erased = rows && in_tier ? erase_trimmed(me, in_tier, trimmed) : Status();
    unlink_done(lane);
    if (!erased)
      error = Status(erased.code(), "trimmed in memory, but not in the durable tier: " + erased.text(),
                     erased.error_number());
    return erased.code();
  });
  if (done.ok() || done.code() == Code::not_found) return trimmed;
  return done;
}

namespace {

Key cursor_key(const Key& log, Bytes cursor) {
  return {Kind::cursor, log.scope, log.name, log.key, std::string(cursor)};
}

/// Runs work(Directory&) -> Result<Values>.
template <class Work>
Result<std::uint64_t> with_directory(Stream& stream, Work work) {
  if (Code usable = stream.pond().usable(); usable != Code::ok) return usable;
  ThreadContext* me = stream.pond().thread();
  if (!me) return Code::full;
  Directory directory(*me);
  auto values = work(directory);
  if (!values) return values.status();
  return values->first;
}

}  // namespace

Result<std::uint64_t> Log::trim_committed() {
  std::uint64_t below = UINT64_MAX;
  auto listed = with_directory(*stream_, [&](Directory& directory) -> Result<Directory::Values> {
    auto members = directory.list(&stream_->key().scope);
    if (!members) return members.status();
    for (auto& m : *members)
      if (m.key.kind == Kind::cursor && m.key.name == stream_->key().name && m.key.key == stream_->key().key)
        below = std::min(below, m.values.first + 1);
    return Directory::Values{};
  });
  if (!listed) return listed.status();
  return trim(below == UINT64_MAX ? 0 : below);
}

Result<std::uint64_t> Log::committed(Bytes cursor) const {
  auto place = with_directory(
      *stream_, [&](Directory& directory) { return directory.values(cursor_key(stream_->key(), cursor)); });
  if (place.code() == Code::not_found) return std::uint64_t{0};
  return place;
}
Result<std::uint64_t> Log::commit(Bytes cursor, std::uint64_t seq, std::optional<Durability> durability) {
  const Key key = cursor_key(stream_->key(), cursor);
  Directory::Values now;
  auto set = with_directory(*stream_, [&](Directory& directory) {
    auto values = directory.set_values(key, {seq, 0}, true);
    if (values) now = *values;
    return values;
  });
  if (!set) return set;
  ThreadContext* me = stream_->pond().thread();
  if (!now.unsaved || !me) return {now.first, Status::durable()};
  Status saved = save(*me, key, durability ? *durability : default_durability(now.scope_policy));
  return {now.first, std::move(saved)};
}

Status Log::drop_cursor(Bytes cursor) {
  const Key key = cursor_key(stream_->key(), cursor);
  auto there = with_directory(*stream_, [&](Directory& directory) { return directory.values(key); });
  if (!there) return there.status();
  ThreadContext* me = stream_->pond().thread();
  return me ? drop_cursors(*me, {&key, 1}) : Status(Code::full);
}

Result<std::vector<CursorPlace>> Log::cursors() const {
  std::vector<CursorPlace> out;
  auto listed = with_directory(*stream_, [&](Directory& directory) -> Result<Directory::Values> {
    auto members = directory.list(&stream_->key().scope);
    if (!members) return members.status();
    for (auto& m : *members)
      if (m.key.kind == Kind::cursor && m.key.name == stream_->key().name && m.key.key == stream_->key().key)
        out.push_back({std::move(m.key.cursor), m.values.first});
    return Directory::Values{};
  });
  if (!listed) return listed.status();
  std::sort(out.begin(), out.end(),
            [](const CursorPlace& a, const CursorPlace& b) { return a.name < b.name; });
  return out;
}

Result<std::uint64_t> Log::clear() { return Queue(stream_).clear(); }

}  // namespace headpond
