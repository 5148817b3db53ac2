#include "headpond/status.h"

namespace headpond {

std::string_view name(Code code) noexcept {
  switch (code) {
    case Code::ok: return "ok";
    case Code::empty: return "empty";
    case Code::timeout: return "timeout";
    case Code::full: return "full";
    case Code::fenced: return "fenced";
    case Code::not_found: return "not_found";
    case Code::exists: return "exists";
    case Code::busy: return "busy";
    case Code::paused: return "paused";
    case Code::draining: return "draining";
    case Code::removed: return "removed";
    case Code::forked: return "forked";
    case Code::closed: return "closed";
    case Code::invalid: return "invalid";
    case Code::too_large: return "too_large";
    case Code::corruption: return "corruption";
    case Code::unsupported: return "unsupported";
    case Code::permission: return "permission";
    case Code::system: return "system";
  }
  return "unknown";
}

std::string_view name(Durability durability) noexcept {
  switch (durability) {
    case Durability::memory: return "memory";
    case Durability::posted: return "posted";
    case Durability::durable: return "durable";
  }
  return "unknown";
}

namespace {

/// For outcomes that carry no text of their own.
std::string_view meaning(Code code) {
  switch (code) {
    case Code::ok: return "done";
    case Code::empty: return "nothing is there";
    case Code::timeout: return "nothing happened in the time allowed";
    case Code::full: return "there is no room";
    case Code::fenced:
      return "this claim was lost: its time was over, it was cleared, or it was settled already";
    case Code::not_found: return "there is no such thing";
    case Code::paused: return "the queue is paused; resume() lets it deliver again";
    case Code::draining: return "the queue is draining and takes no more items; resume() lets it";
    case Code::removed: return "the pond was removed";
    case Code::forked: return "this handle was made before a fork; open the pond anew in the child";
    case Code::closed: return "the handle is closed";
    default: return name(code);
  }
}

}  // namespace

std::string Status::text() const { return text_ ? *text_ : std::string(meaning(code_)); }

}  // namespace headpond
