// Opening and making a store.
//
// Made in this order, so that a maker may be killed anywhere and the next one goes on:
//
//   journal.db, empty   journal.db with tables   spill.db, empty   spill.db with tables   `complete` in journal.db
//
// So spill.db never stands beside a blank journal.db, and is never missing beside a complete one: either is damage.

#include <algorithm>
#include <cerrno>
#include <random>

#include "fork_guard.h"
#include "sqlite_tier.h"
#include "trouble.h"

namespace headpond::internal {

namespace {

std::uint64_t fresh_store_id() {
  std::random_device device;
  return (std::uint64_t{device()} << 31 ^ device()) | 1;  // never 0, and below 2^63
}

Status create(const StoreFiles& files, const std::string& path) {
  if (int error = sys::create_file(path); error && error != EEXIST)
    return failed_call(path, "make the file", error);
  if (int error = sys::sync_folder(files.folder()))
    return failed_call(files.folder(), "sync the folder", error);
  return {};
}

}  // namespace

Status SqliteTier::open(const TierOptions& options) {
  fork_guard::Quiet quiet;
  if (Status opened = files_.open_lock(); !opened) return opened;
  Status answer;
  int error = files_.try_lock(StoreFiles::journal_byte);
  if (!error) error = files_.try_lock(StoreFiles::pages_byte);
  if (!error && options.allowed) answer = options.allowed();
  if (!error && answer) answer = open_files(options);
  files_.unlock(StoreFiles::pages_byte), files_.unlock(StoreFiles::journal_byte);
  if (error == EAGAIN)
    answer = {
        Code::timeout,
        files_.folder() +
            ": another process has the lock of the databases, or is stopped with it; try again, and end a "
            "stopped one (state T in ps) or let it go on"};
  else if (error)
    answer = failed_call(files_.folder() + "/lock", "lock", error);
  if (answer) quiet.enter(journal_database_), quiet.enter(pages_database_);
  if (!answer) files_.let_go(), journal_database_.close(), pages_database_.close();
  return answer;
}

// Opens it if it is there.
Status SqliteTier::look(Database& database, const std::string& path, schema::Found& found) {
  found.blank = true;
  Status there = files_.check_file(path);
  if (there == Code::not_found) return {};
  if (!there) return there;
  if (Status opened = database.open(); !opened) return opened;
  found = database.inspect();
  return found.answer;
}

Status SqliteTier::open_files(const TierOptions& options) {
  schema::Found journal, pages;
  if (Status looked = look(journal_database_, files_.journal_path(), journal); !looked) return looked;
  if (Status looked = look(pages_database_, files_.pages_path(), pages); !looked) return looked;
  if (journal.blank && !pages.blank)
    return damaged(files_.journal_path(), "is missing or empty, and spill.db is not");
  if (journal.blank && options.expected) return damaged(files_.journal_path(), "is missing or empty");
  if (!journal.blank && journal.meta.complete && pages.blank)
    return damaged(files_.pages_path(), "is missing or empty, and journal.db is not");
  if (journal.blank && !options.create)
    return Status(Code::not_found, files_.folder() + ": there is no durable store yet");
  if (journal.old)
    if (Status upgraded = journal_database_.upgrade(); !upgraded) return upgraded;
  if (journal.blank || pages.blank || !journal.meta.complete)
    if (Status made = make_missing(journal, pages); !made) return made;
  if (Status same = agree(journal.meta, pages.meta); !same) return same;
  if (Status settled = journal_database_.settle(journal.meta); !settled) return settled;
  if (Status settled = pages_database_.settle(pages.meta); !settled) return settled;
  if (Status looked = files_.remember(); !looked) return looked;
  store_id_ = journal.meta.store_id, epoch_ = journal.meta.epoch;
  return options.expected ? expect(*options.expected) : Status();
}

Status SqliteTier::make_missing(schema::Found& journal, schema::Found& pages) {
  if (journal.blank) {
    journal.meta = {fresh_store_id(), 1, false};
    if (Status created = create(files_, files_.journal_path()); !created) return created;
    if (Status opened = journal_database_.open(); !opened) return opened;
    if (Status made = journal_database_.make(journal.meta); !made) return made;
  }
  if (pages.blank) {
    pages.meta = journal.meta;
    if (Status created = create(files_, files_.pages_path()); !created) return created;
    if (Status opened = pages_database_.open(); !opened) return opened;
    if (Status made = pages_database_.make(pages.meta); !made) return made;
  }
  journal.meta.complete = true;
  return journal_database_.change_meta(journal.meta);
}

// An epoch is begun in one file, then in the other: who died in between is followed.
Status SqliteTier::agree(schema::Meta& journal, schema::Meta& pages) {
  if (journal.store_id != pages.store_id)
    return damaged(files_.pages_path(), "belongs to another store than journal.db");
  if (journal.epoch == pages.epoch) return {};
  bool behind = journal.epoch < pages.epoch;
  (behind ? journal : pages).epoch = std::max(journal.epoch, pages.epoch);
  return behind ? journal_database_.change_meta(journal) : pages_database_.change_meta(pages);
}

Status SqliteTier::expect(const TierIdentity& expected) const {
  TierIdentity found = identity();
  if (found.store_id != expected.store_id)
    return damaged(files_.folder(), "holds another store than the one that this pond began with");
  if (found.epoch != expected.epoch)
    return {Code::removed, files_.folder() + ": the pond is in epoch " + std::to_string(found.epoch) +
                               ", not in " + std::to_string(expected.epoch) + " any more; open it anew"};
  // The databases are the same: then their logs must be, too.
  if (found.pages == expected.pages && found.journal == expected.journal && found.lock == expected.lock) {
    if (found.pages_wal != expected.pages_wal) return wal_gone(files_.pages_path() + "-wal");
    if (found.journal_wal != expected.journal_wal) return wal_gone(files_.journal_path() + "-wal");
  }
  if (found != expected)
    return damaged(files_.folder(),
                   "holds other files than those that this pond began with: one was replaced or deleted");
  return {};
}

Result<std::unique_ptr<Tier>> open_tier(const TierOptions& options, std::uint64_t deadline_us) {
  auto tier = std::make_unique<SqliteTier>(options);
  for (std::uint64_t nap_us = 50;; nap_us = std::min<std::uint64_t>(nap_us * 2, 2000)) {
    Status opened = tier->open(options);
    if (opened) return std::unique_ptr<Tier>(std::move(tier));
    std::uint64_t now = sys::precise_us();
    if (!(opened == Code::timeout) || now >= deadline_us) return opened;
    sys::nap(std::min(nap_us, deadline_us - now));
  }
}

namespace {

// journal.db under this name says that all the rest goes: a new name needs no room on a full disk, and is one step.
std::string going(const std::string& folder) { return folder + "/journal.db-removed"; }
std::string journal_in(const std::string& folder) { return folder + "/journal.db"; }

bool is_there(const std::string& path) {
  sys::FileInfo info;
  return sys::describe(path, info) == 0;
}

Status sync(const std::string& folder) {
  int error = sys::sync_folder(folder);
  return error ? failed_call(folder, "sync the folder", error) : Status();
}

/// From here on nobody opens or makes a store: who may not do so any more is told when it has the locks.
Status lock_all(StoreFiles& files) {
  if (Status opened = files.open_lock(); !opened) return opened;
  for (auto byte : {StoreFiles::journal_byte, StoreFiles::pages_byte})
    if (int error = files.lock_waiting(byte, 2000)) {
      if (error != EAGAIN) return failed_call(files.folder() + "/lock", "lock", error);
      return {Code::timeout,
              files.folder() +
                  ": cannot remove the databases: another process has kept their lock for 2 s, or is "
                  "stopped with it; end it (state T in ps), or let it go on, and try again"};
    }
  return {};
}

Status remove_rest(const std::string& folder, const std::function<Status()>& also) {
  if (Status safe = sync(folder); !safe)
    return safe;  // of the name: else a power cut might leave half of the store
  if (Status gone = also(); !gone) return gone;
  for (const char* name :
       {"/spill.db-shm", "/spill.db-wal", "/spill.db", "/journal.db-shm", "/journal.db-wal"})
    if (int error = sys::remove_name(folder + name); error && error != ENOENT)
      return failed_call(folder + name, "remove", error);
  if (Status safe = sync(folder); !safe)
    return safe;  // none of them comes back without what says that it goes
  if (int error = sys::remove_name(going(folder)); error && error != ENOENT)
    return failed_call(going(folder), "remove", error);
  return sync(folder);
}

}  // namespace

bool has_tier(const std::string& folder) {
  return is_there(journal_in(folder)) || (is_there(folder + "/spill.db") && !is_there(going(folder)));
}

Status remove_tier(const std::string& folder, const std::function<Status()>& also) {
  StoreFiles files(folder);
  if (Status locked = lock_all(files); !locked) return locked;
  if (int error = sys::rename(journal_in(folder), going(folder)); error && error != ENOENT)
    return failed_call(journal_in(folder), "rename", error);
  return remove_rest(folder, also);
}

Status end_removal(const std::string& folder, const std::function<Status()>& also) {
  if (!is_there(going(folder))) return {};
  StoreFiles files(folder);
  if (Status locked = lock_all(files); !locked) return locked;
  if (is_there(journal_in(folder)))
    return {Code::corruption,
            going(folder) +
                ": says that the pond was being removed, and journal.db is there again: remove "
                "this file to keep the pond, or `headpond rm` to end it"};
  return remove_rest(folder, also);
}

}  // namespace headpond::internal
