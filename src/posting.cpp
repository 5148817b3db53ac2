#include "posting.h"

#include <algorithm>

#include "check.h"
#include "directory.h"
#include "each.h"
#include "tier_side.h"
#include "unlink.h"

namespace headpond::internal {

namespace {

constexpr std::uint64_t kMostCollected = 4 << 20;  // of payloads: one row of the journal
constexpr std::size_t kMostSettings = 1024;

/// How an entry lies in a post; its payload follows, rounded up to 8.
struct EntryWords {
  std::uint64_t kind;  // JournalEntry::Kind, or kSettingKind 8 | flags 8 | moves 32 from bit 32 on
  std::uint64_t birth_stream, birth_seq, birth_last;
  std::uint64_t stream, seq;
  std::uint64_t binding;
  std::uint64_t payload_bytes;
};
static_assert(sizeof(EntryWords) == 64);
constexpr std::uint64_t kSettingKind = 4;

/// J's descriptor; made if there is none.
Result<Binding> posting_queue(ThreadContext& me) {
  Word& known = me.pond->segment().header().posting_queue;
  Binding queue{known.load(std::memory_order_acquire)};
  if (!queue) {
    auto made = Directory(me).find_or_create(Key{Kind::postings, {}, {}, {}, {}});
    if (!made) return made.status();
    queue = *made;
    known.store(queue.raw, std::memory_order_release);  // whoever else stores it stores the same
  }
  if (queue.index() >= me.pond->segment().reserved(Table::streams))
    return Status(Code::corruption, "pond " + me.pond->name() +
                                        ": its posting queue is no stream; `headpond verify` shows more");
  me.pond->touch(queue.index());
  return queue;
}

/// Reads the entries of a post. False: they are damaged. What the visitor gets points into the post.
bool read_post(std::span<const char> post, const std::function<void(const PostEntry&)>& visit) {
  while (!post.empty()) {
    EntryWords words;
    if (post.size() < sizeof words) return false;
    std::memcpy(&words, post.data(), sizeof words);
    post = post.subspan(sizeof words);
    std::uint64_t kind = words.kind & 0xff;
    if (kind < 1 || kind > kSettingKind || words.payload_bytes > post.size()) return false;
    PostEntry out;
    out.setting = kind == kSettingKind;
    if (!out.setting) out.entry.kind = static_cast<JournalEntry::Kind>(kind);
    out.entry.flags = static_cast<std::uint8_t>(words.kind >> 8);
    out.entry.moves = static_cast<std::uint32_t>(words.kind >> 32);
    out.entry.birth_stream = words.birth_stream, out.entry.birth_seq = words.birth_seq;
    out.entry.birth_last = words.birth_last, out.entry.stream = words.stream, out.entry.seq = words.seq;
    out.entry.payload = {post.data(), words.payload_bytes};
    out.stream = Binding{words.binding};
    std::uint64_t whole = round8(words.payload_bytes);
    std::uint64_t highest =
        std::max({words.birth_stream, words.birth_seq, words.birth_last, words.stream, words.seq});
    bool ack = !out.setting && out.entry.kind == JournalEntry::Kind::ack;
    if (whole > post.size() || highest >> 63 || (ack && words.birth_last < words.birth_seq)) return false;
    post = post.subspan(whole);
    visit(out);
  }
  return true;
}

/// Posts that may wait for a commit: with some 200 bytes each, a sixteenth of the segment.
std::uint64_t most_waiting(const Segment& segment) { return segment.limit_bytes() / 16 / 200; }

bool is_live(const Segment& segment, Binding stream) {
  if (stream.index() >= segment.reserved(Table::streams)) return false;
  std::uint64_t state = segment.stream(stream.index()).state.load(std::memory_order_acquire);
  // PARKED is not cleared; what was posted of it is written before that (park.h)
  return state >> 28 == stream.generation() &&
         (static_cast<StreamState>(state & 0xff) == StreamState::live ||
          static_cast<StreamState>(state & 0xff) == StreamState::parked);
}

}  // namespace

std::uint64_t posts_waiting(ThreadContext& me) {
  const Header& header = me.pond->segment().header();
  // In this order: what is collected was posted before, and the difference is never below 0.
  std::uint64_t collected = header.collected.load(std::memory_order_acquire);
  return header.posted.load(std::memory_order_relaxed) - collected;
}

// --------------------------------------------------------------------------------------------------------------------- post

Post& Post::operator=(Post&& other) noexcept {
  if (this == &other) return *this;
  abandon();
  state_ = std::exchange(other.state_, State::none);
  me_ = other.me_, queue_ = other.queue_, place_ = other.place_, bytes_ = other.bytes_, used_ = other.used_;
  stands_ = other.stands_;
  return *this;
}

std::uint64_t Post::bytes_for(std::uint64_t payload) { return sizeof(EntryWords) + round8(payload); }

Status room_for_posts(ThreadContext& me) {
  if (posts_waiting(me) <= most_waiting(me.pond->segment())) return {};
  return {Code::full, "pond " + me.pond->name() + ": " + std::to_string(posts_waiting(me)) +
                          " durable operations wait for the disk, and no more fit; see what flush() answers"};
}

Status Post::reserve(ThreadContext& me, std::uint64_t bytes) {
  HEADPOND_CHECK(state_ == State::none && bytes <= kMostBytes);
  auto queue = posting_queue(me);
  if (!queue) return queue.status();
  Lane lane(me, *queue, 0);
  Unpin unpin{lane};
  UseReserve reserve_too(me);
  RecordWord word = RecordWord::make(RecordState::writing, me.owner, 1, static_cast<std::uint32_t>(bytes));
  std::uint64_t whole = record_bytes(bytes, 0);
  Code code = whole > largest_shared(lane.segment) ? reserve_own(lane, bytes, word, place_)
                                                   : internal::reserve(lane, whole, word, place_);
  if (code == Code::full && lane.error.ok())
    return {Code::full,
            "pond " + me.pond->name() +
                ": there is no room to post a durable operation; take items out, or wait for the disk"};
  if (code != Code::ok) return lane.error.ok() ? Status(code) : lane.error;
  lay(place_.at(), bytes, 0, sys::coarse_us());
  state_ = State::reserved, me_ = &me, queue_ = *queue, bytes_ = bytes, used_ = 0;
  return {};
}

void Post::add(const PostEntry& from, const Parts& payload) {
  std::uint64_t size = payload.size();
  HEADPOND_CHECK(state_ == State::reserved && used_ + bytes_for(size) <= bytes_);
  const JournalEntry& entry = from.entry;
  std::uint64_t kind = from.setting ? kSettingKind : static_cast<std::uint64_t>(entry.kind);
  EntryWords words{
      kind | static_cast<std::uint64_t>(entry.flags) << 8 | static_cast<std::uint64_t>(entry.moves) << 32,
      entry.birth_stream,
      entry.birth_seq,
      entry.birth_last,
      entry.stream,
      entry.seq,
      from.stream.raw,
      size};
  char* to = place_.at() + kRecordHeader + used_;
  std::memcpy(to, &words, sizeof words);
  payload.copy_to(to + sizeof words);
  used_ += bytes_for(size);
  stands_ = from.setting || entry.kind == JournalEntry::Kind::ack;
}

// The tail hint before READY: from then on the page may go at any time (P3).
void Post::publish() {
  HEADPOND_CHECK(state_ == State::reserved && used_ == bytes_);
  std::uint64_t end = place_.offset + record_bytes(bytes_, 0);
  place_.page.header->tail.store(
      Hint::make(static_cast<std::uint32_t>(end), static_cast<std::uint32_t>(place_.ids_before + 1)).raw,
      std::memory_order_relaxed);
  RecordWord ready = place_.word.ready().with_claims(0);
  place_.page.word(place_.offset).store(ready.raw, std::memory_order_release);
  me_->pond->segment().header().posted.fetch_add(1, std::memory_order_relaxed);
  state_ = State::published, place_.word = ready;
}

void Post::abandon() {
  if (state_ == State::reserved && me_->pond->usable() == Code::ok) {
    Lane::disturb(place_.page);
    place_.page.word(place_.offset)
        .store(place_.word.with_state(RecordState::done).with_owner(0).raw, std::memory_order_release);
  }
  state_ = State::none;
}

bool Post::is_done() const {
  Lane lane(*me_, queue_, 0);
  Unpin unpin{lane};
  PageView page;
  return !lane.pin(place_.page.reference, page) ||
         page.word(place_.offset).load(std::memory_order_acquire) != place_.word.raw;
}

bool Post::withdraw() {
  Lane lane(*me_, queue_, 0);
  Unpin unpin{lane};
  PageView page;
  if (!lane.pin(place_.page.reference, page)) return false;
  Lane::disturb(page);
  std::uint64_t ready = place_.word.raw;
  return page.word(place_.offset)
      .compare_exchange_strong(ready, place_.word.acked().raw, std::memory_order_acq_rel);
}

// ------------------------------------------------------------------------------------------------------------------ leader

namespace {

/// Visits the READY posts of J with ids below `end`, in order and once each.
Code for_each_post(
    Lane& lane, std::uint64_t end,
    const std::function<Visit(const PageView&, std::uint64_t offset, RecordWord word)>& visit) {
  Unpin unpin{lane};
  std::uint64_t next = 0;
  return for_each_record(lane,
                         [&](const PageView& page, std::uint64_t offset, RecordWord word, std::uint64_t id) {
                           if (id >= end) return Visit::stop;
                           if (id < next || word.state() != RecordState::ready)
                             return Visit::go_on;  // below: a walk that began again
                           next = id + 1;
                           return visit(page, offset, word);
                         });
}

/// The id of the next record of J.
Code find_end(Lane& lane, std::uint64_t& end) {
  Unpin unpin{lane};
  Tail tail(lane);
  switch (tail.find()) {
    case Tail::At::gone: return Code::not_found;
    case Tail::At::damaged: return Code::corruption;
    case Tail::At::free:
    case Tail::At::sealed:
    case Tail::At::none: break;
  }
  end = tail.next_id();
  return Code::ok;
}

Status status_of(Lane& lane, Code code) { return lane.error.ok() ? Status(code) : std::move(lane.error); }

}  // namespace

Status collect_posts(ThreadContext& me, Collected& out) {
  Header& header = me.pond->segment().header();
  if (header.posting_queue.load(std::memory_order_acquire) == 0) return {};
  auto queue = posting_queue(me);
  if (!queue) return queue.status();
  Lane lane(me, *queue, 0);
  std::uint64_t end = 0;  // P2
  if (Code code = find_end(lane, end); code != Code::ok) return status_of(lane, code);
  out.posted = header.posted.load(std::memory_order_relaxed);
  std::vector<std::pair<std::size_t, std::size_t>> payloads;  // of the entries: begin and size in `bytes`
  bool damaged = false;
  Code code = for_each_post(lane, end, [&](const PageView& page, std::uint64_t offset, RecordWord word) {
    if (out.bytes.size() >= kMostCollected || out.settings.size() >= kMostSettings)
      return out.more = true, Visit::stop;
    auto post = page.payload(offset, word);
    if (!read_post(post, [](const PostEntry&) {})) return damaged = true, Visit::go_on;
    bool setting = false;
    (void)read_post(post, [&](const PostEntry& from) {
      if (from.setting) return setting = true, void(out.settings.emplace(from.entry.payload));
      if (!is_live(lane.segment, from.stream)) return;
      out.entries.push_back(from.entry);
      payloads.emplace_back(out.bytes.size(), from.entry.payload.size());
      out.bytes.append(from.entry.payload);
    });
    out.posts.push_back({page.reference, offset, word, setting});
    return Visit::go_on;
  });
  for (std::size_t i = 0; i < payloads.size(); i++)
    out.entries[i].payload = std::string_view(out.bytes).substr(payloads[i].first, payloads[i].second);
  if (damaged)
    me.pond->say(Severity::error, "pond " + me.pond->name() +
                                      ": a post of a durable operation is damaged and is not written; "
                                      "`headpond verify` shows more");
  return code == Code::ok ? Status() : status_of(lane, code);
}

void finish_posts(ThreadContext& me, const Collected& collected) {
  auto queue = posting_queue(me);
  if (!queue) return;
  Lane lane(me, *queue, 0);
  {
    Unpin unpin{lane};
    PageView page;
    bool pinned = false;
    for (const Collected::Taken& taken : collected.posts) {
      if (!pinned || page.reference != taken.page)
        if (!(pinned = lane.pin(taken.page, page))) continue;  // withdrawn by their authors, and gone
      Lane::disturb(page);
      std::uint64_t ready = taken.word.raw;
      page.word(taken.offset)
          .compare_exchange_strong(ready, taken.word.acked().raw, std::memory_order_acq_rel);
    }
  }
  Reference first{lane.words.first.load(std::memory_order_acquire)};
  PageView page = in_section(lane, first);
  if (page && page.header->next.load(std::memory_order_acquire) != 0) unlink_done(lane);
}

Result<std::uint64_t> end_of_posts(ThreadContext& me) {
  std::uint64_t end = 0;
  if (me.pond->segment().header().posting_queue.load(std::memory_order_acquire) == 0) return end;
  auto queue = posting_queue(me);
  if (!queue) return queue.status();
  Lane lane(me, *queue, 0);
  if (Code code = find_end(lane, end); code != Code::ok) return status_of(lane, code);
  return end;
}

Result<bool> any_posted(ThreadContext& me, std::uint64_t end,
                        const std::function<bool(const PostEntry&)>& of) {
  if (end == 0) return false;
  auto queue = posting_queue(me);
  if (!queue) return queue.status();
  Lane lane(me, *queue, 0);
  bool found = false;
  Code code = for_each_post(lane, end, [&](const PageView& page, std::uint64_t offset, RecordWord word) {
    (void)read_post(page.payload(offset, word), [&](const PostEntry& from) { found = found || of(from); });
    return found ? Visit::stop : Visit::go_on;
  });
  if (code != Code::ok) return status_of(lane, code);
  return found;
}

bool is_post(std::span<const char> bytes) {
  return read_post(bytes, [](const PostEntry&) {});
}

// ------------------------------------------------------------------------------------------------------------------- entries

namespace {

std::uint64_t with_lane(std::uint64_t stream, int lane) {
  return (stream & ~15ULL) | static_cast<std::uint64_t>(lane);
}

}  // namespace

JournalEntry journal_ack(std::uint64_t stream, ItemId birth, std::uint64_t ids) {
  JournalEntry entry;
  entry.kind = JournalEntry::Kind::ack;
  entry.birth_stream = with_lane(stream, birth.lane());
  entry.birth_seq = birth.seq(), entry.birth_last = birth.seq() + ids - 1;
  return entry;
}

JournalEntry journal_push(std::uint64_t stream, ItemId birth, std::uint64_t seq, std::uint32_t moves) {
  JournalEntry entry;
  entry.kind = JournalEntry::Kind::push, entry.moves = moves;
  entry.birth_stream = with_lane(stream, birth.lane()), entry.birth_seq = birth.seq();
  entry.stream = stream, entry.seq = seq;
  return entry;
}

}  // namespace headpond::internal
