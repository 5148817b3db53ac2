// Walks the whole segment and checks I1 to I21 of layout.h, and what is in the durable tier as far as the segment says that there is something. Others go on meanwhile, so what looks wrong is looked at again before it is said.
#include <algorithm>
#include <map>
#include <set>

#include "each.h"
#include "fixed.h"
#include "gap.h"
#include "pages.h"
#include "pond_access.h"
#include "posting.h"
#include "section.h"
#include "settings.h"
#include "tier_side.h"

namespace headpond::internal {

namespace {

class Verifier {
 public:
  explicit Verifier(ThreadContext& me) : me_(me), segment_(me.pond->segment()) {}

  Status run(Findings& out) {
    std::vector<std::string> before;
    for (int look = 0; look < 6; look++) {
      out = {};
      if (Status walked = once(out); !walked) return walked;
      if (look > 0)
        std::erase_if(out.problems, [&](const std::string& p) {
          return std::find(before.begin(), before.end(), p) == before.end();
        });
      if (out.clean()) break;  // nothing, or nothing that was there at the look before
      before = out.problems;
    }
    return {};
  }

 private:
  struct Gap {
    Binding stream;
    int lane;
    std::uint32_t page;  // before it
    std::uint64_t begin, end;
    GapAhead said;
  };

  Status once(Findings& out) {
    on_chain_.clear(), gaps_.clear();
    if (Status looked = Directory(me_).verify(out.problems); !looked) return looked;
    std::uint64_t used = std::min(segment_.header().descriptors_used.load(std::memory_order_acquire),
                                  segment_.reserved(Table::streams));
    for (std::uint32_t i = 0; i < used; i++) {
      std::uint64_t state = segment_.stream(i).state.load(std::memory_order_acquire);
      bool free = static_cast<StreamState>(state & 0xff) == StreamState::free;
      out.streams += !free;
      for (int n = 0; n < kLanes; n++)
        if (Status walked = chain(Binding::make(i, state >> 28), n, free, out); !walked) return walked;
    }
    if (Status looked = allocator(out); !looked) return looked;
    participants(out);
    fixed(out);
    ids(out);
    for (const Gap& gap : gaps_)
      if (Status read = rows(gap, out); !read) return read;
    if (Status looked = verify_settings(me_, out.problems); !looked) return looked;
    return verify_parked(me_, out);
  }

  /// I15.
  void ids(Findings& out) {
    std::map<std::uint64_t, std::uint32_t> of;
    std::uint64_t used = std::min(segment_.header().descriptors_used.load(std::memory_order_acquire),
                                  segment_.reserved(Table::streams)),
                  last = segment_.header().stream_ids.load(std::memory_order_acquire);
    for (std::uint32_t i = 0; i < used; i++) {
      std::uint64_t state = segment_.stream(i).state.load(std::memory_order_acquire),
                    id = segment_.stream(i).id.load(std::memory_order_acquire);
      auto now = static_cast<StreamState>(state & 0xff);
      if (now == StreamState::free || now == StreamState::parked || !id) continue;
      if (id > last || !of.emplace(id, i).second)
        out.problems.push_back("I15: stream " + std::to_string(i) + " has id " + std::to_string(id) +
                               (id > last ? ", which was never given" : ", and so has another"));
    }
  }

  /// I11, I14: the rows of one gap. Outside of sections: it reads the disk.
  Status rows(const Gap& gap, Findings& out) {
    Lane lane(me_, gap.stream, gap.lane);
    std::uint64_t trimmed = lane.is_log() ? lane.stream.trimmed.load(std::memory_order_acquire) : 0,
                  dense = lane.words.dense_from.load(std::memory_order_acquire), items = 0, bytes = 0;
    auto problem = [&](const std::string& what) {
      out.problems.push_back(what + " (" + where(gap.stream, gap.lane, gap.page) + ")");
    };
    const bool delayed = lane.kind().delayed();  // their gaps' words are exact below `dense_from`, too
    std::uint64_t next = std::max(gap.begin, trimmed), due = 0;
    while (next < gap.end && (next >= dense || delayed)) {
      auto row = read_row(lane, next, false);
      if (next < dense && (row ? (*row)->first >= gap.end : row.code() == Code::not_found)) break;
      if (!row && row.code() != Code::not_found && row.code() != Code::corruption) return row.status();
      if (!row)
        return problem("I11: the gap of ids " + std::to_string(gap.begin) + " to " +
                       std::to_string(gap.end - 1) + " has no row that can be read from id " +
                       std::to_string(next) + " on"),
               Status{};
      if ((next == gap.begin && next >= dense && (*row)->first != next) || (*row)->last >= gap.end)
        problem("I11: the row of ids " + std::to_string((*row)->first) + " to " +
                std::to_string((*row)->last) + " sticks out of its gap");
      items += (*row)->weight.items, bytes += (*row)->weight.bytes, out.records += (*row)->weight.ids;
      due = sooner(due, (*row)->weight.due);
      next = (*row)->last + 1, out.rows++;
    }
    if (trimmed <= gap.begin && (dense <= gap.begin || delayed) &&
        (items != gap.said.items || bytes != gap.said.bytes))
      problem("I14: the gap has " + std::to_string(items) + " items of " + std::to_string(bytes) +
              " bytes, and is said to have " + std::to_string(gap.said.items) + " of " +
              std::to_string(gap.said.bytes));
    DueWord all{delayed ? lane.stream.due.load(std::memory_order_acquire) : 0};
    if (delayed && due && (!gap.said.due || gap.said.due > due || !all.ms() || all.ms() > due))
      problem("I14: something in the gap is due at " + std::to_string(due) +
              ", and the gap is said to have nothing before " + std::to_string(gap.said.due) +
              ", the stream before " + std::to_string(all.ms()));
    return {};
  }

  std::string where(Binding stream, int lane, std::uint32_t page) const {
    return "stream " + std::to_string(stream.index()) + " lane " + std::to_string(lane) + " page " +
           std::to_string(page);
  }

  /// I3, I4, I5, I10: in the stream's section, so that nothing is unlinked meanwhile.
  Status chain(Binding stream, int number, bool free, Findings& out) {
    Lane lane(me_, stream, number);
    Reference r{lane.words.first.load(std::memory_order_acquire)};
    if (!r) return {};
    if (free) {
      out.problems.push_back("I10: " + where(stream, number, r.page()) +
                             ": the descriptor is free and has a page");
      return {};
    }
    me_.pond->touch(stream.index());
    auto section = Section::enter(me_, stream_section(stream.index()));
    if (!section) return section.status();
    std::uint64_t expected = 0;
    const bool posts = (lane.stream.state.load(std::memory_order_acquire) >> 8 & 0xff) ==
                       static_cast<std::uint64_t>(Kind::postings);
    r = Reference{lane.words.first.load(std::memory_order_acquire)};
    if (r.gap()) out.problems.push_back("I11: `first` has a gap (" + where(stream, number, r.page()) + ")");
    while (r) {
      auto problem = [&](const std::string& what) {
        out.problems.push_back(what + " (" + where(stream, number, r.page()) + ")");
      };
      if (!segment_.backed(r.page()))
        return problem("I3: a reference names a page that is not there"), section->leave(), Status{};
      LifeEntry& entry = segment_.life(r.page());
      LifeWord life{entry.life.load(std::memory_order_acquire)};
      if (life.generation() != r.generation() || !life.reachable())
        return problem("I3: a page on the chain is in another life or state " +
                       std::to_string(static_cast<int>(life.state()))),
               section->leave(), Status{};
      PageView page{r, reinterpret_cast<PageHeader*>(segment_.page(r.page())), segment_.page(r.page()),
                    segment_.page_bytes(r.page())};
      if (page.header->stream.load() != lane.page_stream())
        problem("I3: a page on the chain says that it belongs to another stream");
      if (!on_chain_.insert(r.page()).second)
        return problem("I3: a page is on a chain twice"), section->leave(), Status{};
      out.pages++;
      std::uint64_t first = page.header->first_seq.load();
      if (first < expected)
        problem("I5: first_seq is " + std::to_string(first) + " and should be at least " +
                std::to_string(expected));
      std::uint64_t ids = 0, offset = kFirstRecord;
      bool sealed = false;
      for (;;) {
        if (!page.holds(offset))
          return problem("I4: the records leave the page at " + std::to_string(offset)), section->leave(),
                 Status{};
        RecordWord word{page.word(offset).load(std::memory_order_acquire)};
        if (word.raw == 0) break;
        if (word.state() == RecordState::seal) {
          sealed = true;
          if (word.sealed_ids() != ids)
            problem("I4: SEAL counts " + std::to_string(word.sealed_ids()) + " ids and there are " +
                    std::to_string(ids));
          break;
        }
        std::uint64_t extent =
            word.raw & 15 && static_cast<int>(word.raw & 15) <= static_cast<int>(RecordState::spilling)
                ? page.extent(offset, word)
                : 0;
        if (!extent)
          return problem("I4: no record begins at " + std::to_string(offset)), section->leave(), Status{};
        record(word, problem);
        if (posts && word.state() != RecordState::writing && word.state() != RecordState::done &&
            (word.state() != RecordState::ready || word.flags() || !is_post(page.payload(offset, word))))
          problem("I16: a post is damaged");
        if (word.state() == RecordState::spilling &&
            (life.state() != LifeState::spilling || life.owner() != word.owner()))
          problem("I12: a record is SPILLING and its page is not");
        offset += extent, ids += word.ids();
        out.records++;
      }
      Reference next{page.header->next.load(std::memory_order_acquire)};
      if (next.raw && !sealed) problem("I4: a page with a next has no SEAL");
      expected = first + ids;
      if (next.gap()) note_gap(stream, number, page, expected, next);
      r = next;
    }
    section->leave();
    return {};
  }

  void note_gap(Binding stream, int number, const PageView& page, std::uint64_t begin, Reference next) {
    if (!next || !segment_.backed(next.page())) return;  // the walk says so
    PageView behind{next.without_gap(), reinterpret_cast<PageHeader*>(segment_.page(next.page())),
                    segment_.page(next.page()), 0},
        before = page;
    before.reference = page.reference.without_gap();
    gaps_.push_back({stream, number, page.reference.page(), begin, id_of(behind, 0),
                     GapWords::of(before, behind).load()});
  }

  /// I8: whoever a record names is there.
  template <class Problem>
  void record(RecordWord word, Problem problem) {
    bool named = word.state() == RecordState::writing || word.state() == RecordState::claimed ||
                 word.state() == RecordState::returning || word.state() == RecordState::spilling;
    if (!named) return;
    if (word.owner() == 0 || word.owner() > segment_.max_participants() + 1)
      problem("I8: a record names participant " + std::to_string(word.owner()) + ", and there is none");
    else if (segment_.participant(word.owner()).state.load(std::memory_order_acquire) !=
             static_cast<std::uint32_t>(SlotState::live))
      problem("I8: a record names participant " + std::to_string(word.owner()) + ", whose slot is free");
  }

  /// I1, I2, I6 and what is on no chain: in the allocator's section.
  Status allocator(Findings& out) {
    std::uint64_t units = std::min({segment_.reserved(Table::pages), segment_.reserved(Table::lives),
                                    segment_.reserved(Table::bitmap) * 64}),
                  used = 0, unit = 0;
    for (; unit < units;)
      if (Status looked = allocator_part(unit, units, used, out); !looked) return looked;
    return {};
  }

  /// Some thousand units, so that nobody waits for long.
  Status allocator_part(std::uint64_t& unit, std::uint64_t units, std::uint64_t& used, Findings& out) {
    auto section = Section::enter(me_, kAllocatorSection);
    if (!section) return section.status();
    bool whole = unit == 0;
    for (std::uint64_t end = unit + 16384; unit < units && unit < end;) {
      std::uint32_t page = static_cast<std::uint32_t>(unit + 1);
      LifeEntry& entry = segment_.life(page);
      LifeWord life{entry.life.load(std::memory_order_acquire)};
      std::uint64_t size = entry.units.load();
      auto problem = [&](const std::string& what) {
        out.problems.push_back(what + " (page " + std::to_string(page) + ")");
      };
      auto bit = [&](std::uint64_t u) {
        return segment_.bitmap(u / 64).load(std::memory_order_relaxed) >> u % 64 & 1;
      };
      if (life.state() == LifeState::free) {
        if (size) problem("I1: a free page has a size");
        if (bit(unit)) problem("I1: a unit is marked used and no page has it");
        const auto* words = reinterpret_cast<const std::uint64_t*>(segment_.page(page));
        for (std::uint32_t i = 0; i < kUnit / 8; i++)
          if (words[i]) {
            problem("I6: a free page is not zero at " + std::to_string(i * 8));
            break;
          }
        unit++;
        continue;
      }
      if (size == 0 || size > units - unit) {
        problem("I1: a page in use has size " + std::to_string(size));
        unit++;
        continue;
      }
      for (std::uint64_t u = unit; u < unit + size; u++)
        if (!bit(u)) {
          problem("I1: a unit of a page in use is marked free");
          break;
        }
      bool owned = life.state() == LifeState::building || life.state() == LifeState::zeroing ||
                   life.state() == LifeState::spilling;
      if (owned != (life.owner() != 0))
        problem("I2: state " + std::to_string(static_cast<int>(life.state())) + " with owner " +
                std::to_string(life.owner()));
      if (life.state() == LifeState::linked && !on_chain_.count(page))
        problem("I3: a linked page is on no chain");
      used += size, unit += size;
    }
    whole = whole && unit >= units;  // in pieces the sum is of no one moment
    if (whole && used != segment_.header().units_used.load())
      out.problems.push_back("I1: " + std::to_string(used) + " units are in use, and the count says " +
                             std::to_string(segment_.header().units_used.load()));
    section->leave();
    return {};
  }

  void participants(Findings& out) {
    std::uint64_t threads = std::min<std::uint64_t>(segment_.header().pins_used.load(), kMaxThreads);
    for (std::uint32_t i = 0; i < threads; i++) {
      std::uint64_t owner = segment_.pins(i).owner.load();
      if (owner > segment_.max_participants() + 1)
        out.problems.push_back("I8: pin slot " + std::to_string(i) + " belongs to participant " +
                               std::to_string(owner));
      else if (owner && segment_.participant(static_cast<std::uint32_t>(owner)).state.load() !=
                            static_cast<std::uint32_t>(SlotState::live))
        out.problems.push_back("I8: pin slot " + std::to_string(i) + " belongs to a free participant slot");
    }
    for (std::uint32_t i = 0; i < kSections; i++)
      if (segment_.section(i).entries.load() > kUndoRecords)
        out.problems.push_back("I7: the journal of section " + std::to_string(i) + " is damaged");
  }

  void fixed(Findings& out) {
    const std::string& folder = me_.pond->folder();
    const Header& header = segment_.header();
    sys::FileInfo now;
    if (sys::describe(folder, now) || now.device != header.state_device || now.inode != header.state_inode)
      return out.problems.push_back("I21: " + folder + ": the pond's folder was removed or replaced");
    auto kept = read_fixed(folder);
    if (!kept)
      out.problems.push_back("I21: " + kept.status().text());
    else if (std::string differs = segment_.fixed().differs_from(*kept); !differs.empty())
      out.problems.push_back("I21: " + folder + "/options.json says other options than the pond has: " +
                             differs + "; after a reboot it would have those: put the file back");
  }

  ThreadContext& me_;
  Segment& segment_;
  std::set<std::uint32_t> on_chain_;
  std::vector<Gap> gaps_;
};

}  // namespace

Result<Findings> pond_verify(Attachment& pond) {
  if (Code usable = pond.usable(); usable != Code::ok) return usable;
  ThreadContext* me = pond.thread();
  if (!me) return Code::full;
  Findings out;
  if (Status walked = Verifier(*me).run(out); !walked) return walked;
  if (Code usable = pond.usable(); usable != Code::ok)
    return usable;  // what goes with a removal is no finding
  return out;
}

}  // namespace headpond::internal
