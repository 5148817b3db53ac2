#include "page_codec.h"

#define XXH_INLINE_ALL
#include <xxhash.h>
#include <zstd.h>

namespace headpond::internal {

std::uint64_t checksum_of(std::string_view bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed) >> 1;  // SQLite's integers are signed
}

std::uint64_t checksum_of(const TierPage& page, Encoding encoding, std::string_view stored) {
  const std::uint64_t about[] = {page.stream,  page.first,      page.last,
                                 page.records, page.created_ms, static_cast<std::uint64_t>(encoding)};
  return checksum_of(stored, XXH3_64bits(about, sizeof about));
}

StoredPage encode(const TierPage& page) {
  StoredPage out;
  if (page.compress && !page.bytes.empty()) {
    std::size_t limit = page.bytes.size() / 8 * 7;
    out.packed.resize(ZSTD_compressBound(page.bytes.size()));
    std::size_t size =
        ZSTD_compress(out.packed.data(), out.packed.size(), page.bytes.data(), page.bytes.size(), 1);
    bool pays = !ZSTD_isError(size) && size < limit;  // an error is a want of memory: plain serves as well
    out.packed.resize(pays ? size : 0);
    if (pays) out.encoding = Encoding::zstd;
  }
  out.checksum = checksum_of(page, out.encoding, out.bytes(page));
  return out;
}

std::optional<std::string> decode(std::uint64_t encoding, std::string_view stored) {
  if (encoding == static_cast<std::uint64_t>(Encoding::plain)) return std::string(stored);
  if (encoding != static_cast<std::uint64_t>(Encoding::zstd)) return std::nullopt;
  unsigned long long size = ZSTD_getFrameContentSize(stored.data(), stored.size());
  if (size > kMaxPageBytes) return std::nullopt;  // unknown and error are the highest numbers
  std::string plain(size, '\0');
  std::size_t got = ZSTD_decompress(plain.data(), plain.size(), stored.data(), stored.size());
  if (ZSTD_isError(got) || got != size) return std::nullopt;
  return plain;
}

}  // namespace headpond::internal
