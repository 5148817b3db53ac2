// A disk under SQLite that loses power: a VFS over the real files that knows what was synced.
//
// Writes go to the real files. When the power is cut, at the n-th write, truncation or sync from arm(n) on, that call is done in part and
// everything later fails. power_on() then makes the files what a disk may hold: every 512-byte sector written since the last sync of its
// file is old or new, each by itself, and so is the size. What follows the old end is old, new or noise.
//
// For one thread, and one process. What it does not know: that a new file's name may be lost.
#pragma once

#include <cstdint>
#include <string>

namespace support {

class PowerDisk {
 public:
  static constexpr const char* vfs = "headpond-power-disk";

  /// Registers the VFS, once; forgets all files and counts.
  static void reset(std::uint64_t seed);
  /// After the first reset: under whatever opens SQLite from now on in this process, ponds too.
  static void make_default();
  /// The power goes at that call from now on; 0: the next one. `never` otherwise.
  static constexpr std::uint64_t never = UINT64_MAX;
  static void arm(std::uint64_t call);
  static std::uint64_t calls();  // since reset()
  static bool is_off();
  static void power_on();

  /// The next so many syncs fail, as those of a dying disk do: once, and what they should have written is in doubt.
  static void fail_syncs(int count);
  /// Syncs of files whose name holds this do nothing and say that they did: what a test of the test needs. Empty: none.
  static void lie_about(const std::string& part_of_name);
};

}  // namespace support
