// Walks the whole segment and checks I1 to I10 of layout.h. Others go on meanwhile, so what looks wrong is looked at again before it is said.
#include <algorithm>
#include <map>
#include <set>

#include "each.h"
#include "pages.h"
#include "pond_access.h"
#include "section.h"

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
  Status once(Findings& out) {
    on_chain_.clear();
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
    auto section =
        Section::enter(me_, kFirstStreamSection + stream.index() % (kSections - kFirstStreamSection));
    if (!section) return section.status();
    std::uint64_t expected = 0;
    r = Reference{lane.words.first.load(std::memory_order_acquire)};
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
        offset += extent, ids += word.ids();
        out.records++;
      }
      Reference next{page.header->next.load(std::memory_order_acquire)};
      if (next.raw && !sealed) problem("I4: a page with a next has no SEAL");
      expected = first + ids;
      r = next;
    }
    section->leave();
    return {};
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

  ThreadContext& me_;
  Segment& segment_;
  std::set<std::uint32_t> on_chain_;
};

}  // namespace

Result<Findings> pond_verify(Attachment& pond) {
  if (Code usable = pond.usable(); usable != Code::ok) return usable;
  ThreadContext* me = pond.thread();
  if (!me) return Code::full;
  Findings out;
  if (Status walked = Verifier(*me).run(out); !walked) return walked;
  return out;
}

}  // namespace headpond::internal
