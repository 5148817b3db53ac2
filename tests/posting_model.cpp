// The rule of the posting queue (src/posting.h, P1 and P2) as a model: one item, its pusher, a worker that may move it before it acks it, and
// leaders that commit and trim, at one shared access a step; everybody may be killed between any two steps, and the power may go at any
// moment. In every state that can be reached, what the journal brings back is compared with what was said. Taken away, each part of the rule
// is missed.
#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <set>
#include <string>
#include <vector>

namespace {

enum class Bug {
  none,
  push_posted_late,
  end_not_fixed,
  done_before_commit,
  move_posted_late,
  ack_posted_early
};

enum Kind : std::uint8_t { no_post, push, move_post, ack };
enum PostState : std::uint8_t { writing, ready, done };
enum Item : std::uint8_t { absent, item_writing, item_ready, claimed, acked, abandoned };

constexpr int kPosts = 6, kRows = 4;

// Plain bytes, compared as such.
struct State {
  std::uint8_t kind[kPosts] = {}, state[kPosts] = {};
  std::uint8_t posts = 0;
  std::uint8_t item = absent, moved = 0;
  std::uint8_t pusher = 0, pusher_post = 0, said_pushed = 0;
  std::uint8_t worker = 0, worker_post = 0, said_acked = 0, workers_left = 1;
  std::uint8_t other_post = 0;  // + 1, of a worker that had the item from its new place
  std::uint8_t leader = 0, leader_end = 0, leader_at = 0, taken = 0, leaders_left = 2;
  std::uint8_t rows = 0, entries[kRows] = {};

  friend auto operator<=>(const State&, const State&) = default;
};

class Model {
 public:
  explicit Model(Bug bug) : bug_(bug) {}

  /// The first state in which a promise is broken; empty: none can be reached.
  std::string run() {
    std::deque<State> todo{State{}};
    seen_ = {State{}};
    while (!todo.empty()) {
      State state = todo.front();
      todo.pop_front();
      if (std::string broken = check(state); !broken.empty()) return broken;
      for (const State& next : successors(state))
        if (seen_.insert(next).second) todo.push_back(next);
    }
    return "";
  }
  std::size_t states() const { return seen_.size(); }

 private:
  /// Power cut: what is pushed and not acked comes back.
  static bool brought_back(const State& s) {
    std::uint8_t all = 0;
    for (int row = 0; row < s.rows; row++) all |= s.entries[row];
    return (all & 3) != 0 && !(all & 4);
  }
  static std::string check(const State& s) {
    if (s.said_pushed && s.item != acked && !brought_back(s)) return "a durable item is lost";
    if (s.said_acked && brought_back(s)) return "an item comes back after its ack";
    return "";
  }

  std::vector<State> successors(const State& s) {
    out_.clear();
    pusher_steps(s), worker_steps(s), leader_steps(s);
    return out_;
  }
  State& add(const State& s) { return out_.emplace_back(s); }
  static std::uint8_t reserve(State& s, Kind kind) {
    s.kind[s.posts] = kind, s.state[s.posts] = writing;
    return s.posts++;
  }

  // 0 reserve the post, 1 the record, 2 post, 3 READY, 4 wait, 5 end
  void pusher_steps(const State& s) {
    bool late = bug_ == Bug::push_posted_late;
    if (s.pusher >= 5) return;
    State& n = add(s);
    switch (s.pusher) {
      case 0: n.pusher_post = reserve(n, push), n.pusher = 1; break;
      case 1: n.item = item_writing, n.pusher = 2; break;
      case 2: late ? void(n.item = item_ready) : void(n.state[n.pusher_post] = ready), n.pusher = 3; break;
      case 3: late ? void(n.state[n.pusher_post] = ready) : void(n.item = item_ready), n.pusher = 4; break;
      default:
        if (s.state[s.pusher_post] != done)
          out_.pop_back();
        else
          n.said_pushed = 1, n.pusher = 5;
    }
    if (s.pusher == 0 || s.pusher == 4) return;
    State& killed = add(s);  // and reaped
    if (killed.state[killed.pusher_post] == writing) killed.state[killed.pusher_post] = done;
    if (killed.item == item_writing) {
      killed.item = abandoned;
      killed.state[reserve(killed, ack)] = ready;
    }
    killed.pusher = 5;
  }

  // 0 claim; 1 reserve for the ack, 2 ack, 3 post, 4 wait; 11 reserve for the move, 12 post, 13 move; 9 end
  void worker_steps(const State& s) {
    if (s.other_post && s.state[s.other_post - 1] == done && !s.said_acked) add(s).said_acked = 1;
    if (s.worker == 9) return;
    bool early = bug_ == Bug::ack_posted_early, late = bug_ == Bug::move_posted_late;
    if (s.worker == 0) {
      if (s.item == item_ready) {
        add(s).item = claimed, out_.back().worker = 1;
        if (!s.moved) add(s).item = claimed, out_.back().worker = 11;
      }
      return;
    }
    State& n = add(s);
    switch (s.worker) {
      case 1: n.worker_post = reserve(n, ack), n.worker = 2; break;
      case 2: early ? void(n.state[n.worker_post] = ready) : void(n.item = acked), n.worker = 3; break;
      case 3: early ? void(n.item = acked) : void(n.state[n.worker_post] = ready), n.worker = 4; break;
      case 4:
        if (s.state[s.worker_post] != done)
          out_.pop_back();
        else
          n.said_acked = 1, n.worker = 9;
        break;
      case 11: n.worker_post = reserve(n, move_post), n.worker = 12; break;
      case 12:
        if (late)
          n.item = item_ready, n.moved = 1, n.worker = 13;
        else
          n.state[n.worker_post] = ready, n.worker = 13;
        break;
      default:
        if (late)
          n.state[n.worker_post] = ready;
        else
          n.item = item_ready, n.moved = 1;
        n.worker = 0;
    }
    if (late && s.worker == 13) {  // the item is at its new place: another worker may have it
      if (s.item == item_ready) {
        State& other = add(s);
        other.item = acked, other.other_post = static_cast<std::uint8_t>(reserve(other, ack) + 1);
        other.state[other.other_post - 1] = ready;
      }
    }
    if (s.workers_left == 0) return;
    State& killed = add(s);
    killed.workers_left--;
    if (s.worker != 4 && killed.state[killed.worker_post] == writing) killed.state[killed.worker_post] = done;
    if (killed.item == claimed) killed.item = item_ready;
    killed.worker = 0;
  }

  // 0 none; 1 fix the end, 2 look at one post, 3 commit, 4 mark one, 5 trim or not, unlock
  void leader_steps(const State& s) {
    if (s.leader == 0) {
      if (s.leaders_left == 0 || s.rows >= kRows - 1) return;
      State& n = add(s);
      n.leaders_left--, n.leader = 1, n.leader_at = n.taken = 0;
      return;
    }
    State& n = add(s);
    switch (s.leader) {
      case 1: n.leader_end = s.posts, n.leader = 2; break;
      case 2: {
        int end = bug_ == Bug::end_not_fixed ? s.posts : s.leader_end;
        if (s.leader_at >= end)
          n.leader = bug_ == Bug::done_before_commit ? 4 : 3, n.leader_at = 0;
        else
          n.taken |= static_cast<std::uint8_t>((s.state[s.leader_at] == ready) << s.leader_at), n.leader_at++;
        break;
      }
      case 3:
        n.entries[n.rows] = 0;
        for (int i = 0; i < kPosts; i++)
          if (s.taken >> i & 1) n.entries[n.rows] |= static_cast<std::uint8_t>(1 << (s.kind[i] - 1));
        n.rows++, n.leader = bug_ == Bug::done_before_commit ? 5 : 4, n.leader_at = 0;
        break;
      case 4:
        if (s.leader_at >= kPosts)
          n.leader = bug_ == Bug::done_before_commit ? 3 : 5;
        else {
          if (s.taken >> s.leader_at & 1) n.state[s.leader_at] = done;
          n.leader_at++;
        }
        break;
      default: {
        clear(n);
        State& trimmed = add(n);
        std::uint8_t all = 0;
        for (int row = 0; row < s.rows; row++) all |= s.entries[row];
        trimmed.rows = 1, std::fill(std::begin(trimmed.entries), std::end(trimmed.entries), std::uint8_t{0});
        // An ack goes, and what it ends with it; of the places only the last one stays.
        trimmed.entries[0] = all & 4 ? 0 : all & 2 ? 2 : all & 1;
      }
    }
    clear(add(s));  // killed
  }
  static void clear(State& s) { s.leader = s.leader_end = s.leader_at = s.taken = 0; }

  const Bug bug_;
  std::set<State> seen_;
  std::vector<State> out_;
};

TEST(PostingModel, WhatWasSaidHoldsAfterAPowerCutInEveryState) {
  Model model(Bug::none);
  EXPECT_EQ(model.run(), "");
  EXPECT_GT(model.states(), 10'000u);
}

TEST(PostingModel, APushPostedAfterOthersSeeItComesBackAfterItsAck) {
  EXPECT_EQ(Model(Bug::push_posted_late).run(), "an item comes back after its ack");
}

TEST(PostingModel, ALeaderThatGoesOnToTheEndTakesAnAckBeforeItsPush) {
  EXPECT_EQ(Model(Bug::end_not_fixed).run(), "an item comes back after its ack");
}

TEST(PostingModel, DoneBeforeTheCommitIsALie) { EXPECT_NE(Model(Bug::done_before_commit).run(), ""); }

TEST(PostingModel, AMovePostedAfterOthersSeeItComesBackAfterItsAck) {
  EXPECT_EQ(Model(Bug::move_posted_late).run(), "an item comes back after its ack");
}

TEST(PostingModel, AnAckPostedBeforeItIsOneLosesTheItem) {
  EXPECT_EQ(Model(Bug::ack_posted_early).run(), "a durable item is lost");
}

}  // namespace
