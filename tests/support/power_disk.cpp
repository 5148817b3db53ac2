#include "power_disk.h"

#include <sqlite3.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <stdexcept>
#include <vector>

namespace support {

namespace {

constexpr std::uint64_t kSector = 512;

// What the disk holds of a file for sure, and the sectors about which it may think otherwise.
struct Image {
  std::vector<char> synced;
  std::set<std::uint64_t> dirty;
};

struct State {
  std::map<std::string, Image> images;
  std::mt19937_64 random;
  std::uint64_t calls = 0, cut = PowerDisk::never;
  bool off = false;
  int failing_syncs = 0;
  std::string lie;
};
State state;
sqlite3_vfs* real_vfs = nullptr;
sqlite3_vfs* our_vfs = nullptr;

struct File {
  sqlite3_file base;
  Image* image;
  const std::string* path;
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};
File* as_file(sqlite3_file* file) { return reinterpret_cast<File*>(file); }

std::vector<char> content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// True in the call in which the power goes.
bool goes_off_now() {
  if (state.off || state.calls++ != state.cut) return false;
  return state.off = true;
}

void mark(Image& image, std::uint64_t from, std::uint64_t to) {
  for (std::uint64_t sector = from / kSector; sector * kSector < to; sector++) image.dirty.insert(sector);
}

int write(sqlite3_file* file, const void* data, int bytes, sqlite3_int64 at) {
  bool now = goes_off_now();
  if (state.off && !now) return SQLITE_IOERR_WRITE;
  if (now) bytes = static_cast<int>(state.random() % static_cast<std::uint64_t>(bytes + 1));
  auto from = static_cast<std::uint64_t>(at);
  mark(*as_file(file)->image, from, from + static_cast<std::uint64_t>(bytes));
  sqlite3_file* real = as_file(file)->real();
  int code = bytes ? real->pMethods->xWrite(real, data, bytes, at) : SQLITE_OK;
  return now ? SQLITE_IOERR_WRITE : code;
}

int truncate(sqlite3_file* file, sqlite3_int64 size) {
  if (goes_off_now() || state.off) return SQLITE_IOERR_TRUNCATE;
  Image& image = *as_file(file)->image;
  mark(image, static_cast<std::uint64_t>(size),
       std::max<std::uint64_t>(image.synced.size(), static_cast<std::uint64_t>(size)));
  sqlite3_file* real = as_file(file)->real();
  return real->pMethods->xTruncate(real, size);
}

int sync(sqlite3_file* file, int) {
  if (goes_off_now() || state.off) return SQLITE_IOERR_FSYNC;
  const std::string& path = *as_file(file)->path;
  if (state.failing_syncs > 0) return state.failing_syncs--, SQLITE_IOERR_FSYNC;
  if (!state.lie.empty() && path.find(state.lie) != std::string::npos) return SQLITE_OK;
  Image& image = *as_file(file)->image;
  std::ifstream in(path, std::ios::binary);
  image.synced.resize(std::filesystem::file_size(path));
  for (std::uint64_t sector : image.dirty) {
    std::uint64_t from = sector * kSector;
    if (from >= image.synced.size()) continue;
    in.seekg(static_cast<std::streamoff>(from));
    in.read(image.synced.data() + from,
            static_cast<std::streamsize>(std::min(kSector, image.synced.size() - from)));
  }
  image.dirty.clear();
  return in ? SQLITE_OK : SQLITE_IOERR_FSYNC;
}

// The rest is the real file's.
int close(sqlite3_file* file) {
  sqlite3_file* real = as_file(file)->real();
  return real->pMethods->xClose(real);
}
int read(sqlite3_file* file, void* to, int bytes, sqlite3_int64 at) {
  sqlite3_file* real = as_file(file)->real();
  return real->pMethods->xRead(real, to, bytes, at);
}
int size(sqlite3_file* file, sqlite3_int64* out) {
  sqlite3_file* real = as_file(file)->real();
  return real->pMethods->xFileSize(real, out);
}
int lock(sqlite3_file* file, int level) {
  sqlite3_file* real = as_file(file)->real();
  return real->pMethods->xLock(real, level);
}
int unlock(sqlite3_file* file, int level) {
  sqlite3_file* real = as_file(file)->real();
  return real->pMethods->xUnlock(real, level);
}
int reserved(sqlite3_file* file, int* out) {
  sqlite3_file* real = as_file(file)->real();
  return real->pMethods->xCheckReservedLock(real, out);
}
int control(sqlite3_file* file, int what, void* argument) {
  sqlite3_file* real = as_file(file)->real();
  return real->pMethods->xFileControl(real, what, argument);
}
int sector(sqlite3_file*) { return static_cast<int>(kSector); }
int characteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }
int shm_map(sqlite3_file* file, int page, int bytes, int extend, void volatile** out) {
  sqlite3_file* real = as_file(file)->real();
  return real->pMethods->xShmMap(real, page, bytes, extend, out);
}
int shm_lock(sqlite3_file* file, int at, int count, int flags) {
  sqlite3_file* real = as_file(file)->real();
  return real->pMethods->xShmLock(real, at, count, flags);
}
void shm_barrier(sqlite3_file* file) {
  sqlite3_file* real = as_file(file)->real();
  real->pMethods->xShmBarrier(real);
}
int shm_unmap(sqlite3_file* file, int erase) {
  sqlite3_file* real = as_file(file)->real();
  return real->pMethods->xShmUnmap(real, erase);
}

const sqlite3_io_methods methods = {
    2,         close,    read,    write,  truncate,        sync,    size,     lock,
    unlock,    reserved, control, sector, characteristics, shm_map, shm_lock, shm_barrier,
    shm_unmap, nullptr,  nullptr};

int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
  file->pMethods = nullptr;
  if (state.off) return SQLITE_CANTOPEN;
  if (!(flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)))
    return real_vfs->xOpen(real_vfs, name, file, flags, out);
  auto [entry, is_new] = state.images.try_emplace(name);
  if (is_new) entry->second.synced = content(name);
  sqlite3_file* real = as_file(file)->real();
  int code = real_vfs->xOpen(real_vfs, name, real, flags, out);
  if (code != SQLITE_OK) return code;
  as_file(file)->image = &entry->second, as_file(file)->path = &entry->first;
  file->pMethods = &methods;
  return SQLITE_OK;
}

}  // namespace

void PowerDisk::reset(std::uint64_t seed) {
  if (!real_vfs) {
    real_vfs = sqlite3_vfs_find(nullptr);
    static sqlite3_vfs ours = *real_vfs;
    ours.pNext = nullptr, ours.zName = vfs, ours.xOpen = open;
    ours.szOsFile = static_cast<int>(sizeof(File)) + real_vfs->szOsFile;
    our_vfs = &ours;
    if (sqlite3_vfs_register(&ours, 0) != SQLITE_OK) throw std::runtime_error("cannot register the disk");
  }
  state = State();
  state.random.seed(seed);
}
void PowerDisk::make_default() {
  if (!our_vfs || sqlite3_vfs_register(our_vfs, 1) != SQLITE_OK)
    throw std::runtime_error("cannot put the disk under everything");
}
void PowerDisk::arm(std::uint64_t call) { state.cut = call == never ? never : state.calls + call; }
std::uint64_t PowerDisk::calls() { return state.calls; }
bool PowerDisk::is_off() { return state.off; }
void PowerDisk::fail_syncs(int count) { state.failing_syncs = count; }
void PowerDisk::lie_about(const std::string& part_of_name) { state.lie = part_of_name; }

void PowerDisk::power_on() {
  for (auto& [path, image] : state.images) {
    std::vector<char> written = content(path);
    std::size_t size = state.random() & 1 ? written.size() : image.synced.size();
    std::vector<char> disk = image.synced;
    disk.resize(size);
    image.dirty.insert(image.synced.size() / kSector);
    std::uint64_t end = (std::max(written.size(), image.synced.size()) + kSector - 1) / kSector;
    for (std::uint64_t sector : image.dirty) {
      if (sector >= end || !(state.random() & 1)) continue;
      for (std::uint64_t at = sector * kSector; at < std::min<std::uint64_t>(size, (sector + 1) * kSector);
           at++)
        disk[at] = at < written.size() ? written[at] : static_cast<char>(state.random());
    }
    std::ofstream out(path, std::ios::binary | std::ios::in | std::ios::out);  // the same inode
    out.write(disk.data(), static_cast<std::streamsize>(disk.size()));
    out.close();
    std::filesystem::resize_file(path, size);
    if (!out) throw std::runtime_error("cannot write " + path);
    image = {std::move(disk), {}};
  }
  state.off = false, state.cut = never;
}

}  // namespace support
