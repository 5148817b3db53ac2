#include "recovery.h"

#include <map>
#include <string>
#include <vector>

#include "recovery_table.h"

namespace headpond::internal::recovery {

namespace {

Status unknown(std::uint64_t stream) {
  return {Code::corruption,
          "the durable tier has pages of stream " + std::to_string(stream) +
              ", which nobody declared: its names were lost; restore journal.db and spill.db together"};
}

Result<std::uint64_t> erase_cleared(Tier& tier, std::uint64_t stream, std::uint64_t upto,
                                    std::uint64_t deadline_us) {
  std::uint64_t rows = 0;
  auto count = [&](const TierSpan& span) {
    RowFacts facts{RowIs::whole, span.last <= upto ? Cleared::yes : Cleared::no, Place::in_a_gap,
                   ItemsAre::live};
    rows += classify(facts).cure == RowCure::erase;
    return Status();
  };
  if (Status listed = tier.list(stream, count, deadline_us); !listed) return listed;
  if (rows == 0) return rows;
  if (Status erased = tier.erase_upto(stream, upto, deadline_us); !erased) return erased;
  return rows;
}

}  // namespace

Result<Swept> sweep(Tier& tier, std::uint64_t deadline_us) {
  auto names = tier.streams(deadline_us);
  if (!names) return names.status();
  std::map<std::uint64_t, std::uint64_t> cleared;
  for (const TierNames& of : *names) cleared.emplace(of.stream, of.cleared_upto);
  auto streams = tier.streams_with_rows(deadline_us);
  if (!streams) return streams.status();
  for (std::uint64_t stream : *streams) {
    StreamFacts facts{cleared.contains(stream) ? NamesAre::declared : NamesAre::unknown, ScopeIs::in_use};
    if (classify(facts).cure == StreamCure::unknown_stream) return unknown(stream);
  }
  Swept swept;
  for (std::uint64_t stream : *streams) {
    auto erased = erase_cleared(tier, stream, cleared[stream], deadline_us);
    if (!erased) return erased.status();
    swept.streams++, swept.erased += *erased;
  }
  if (swept.erased)
    if (Status safe = tier.barrier(deadline_us); !safe) return safe;
  return swept;
}

}  // namespace headpond::internal::recovery
