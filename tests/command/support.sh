# What the tests of the headpond command share. Sourced by run.
# shellcheck shell=bash

# begin_case COMMAND: from here on `hp` is the command, at a pond that nobody else has.
begin_case() {
  command_path=$1
  folder=$(mktemp -d)
  export HEADPOND_HOME=$folder/state
  export HEADPOND_POND=test-command-$$-$BASHPID
  unset XDG_STATE_HOME
  trap end_case EXIT
  set -eEuo pipefail
  trap 'echo "${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND" >&2' ERR
}

end_case() {
  local code=$? job
  trap - ERR
  set +e
  for job in $(jobs -p); do kill -KILL "$job" 2>/dev/null; done
  wait 2>/dev/null
  "$command_path" rm >/dev/null 2>&1
  "$command_path" --pond "$HEADPOND_POND-other" rm >/dev/null 2>&1
  rm -rf "$folder"
  exit "$code"
}

# In the background run "$command_path" itself: $! is its process then, and no shell's.
hp() { "$command_path" "$@"; }
# The same at another pond.
to() { hp --pond "$HEADPOND_POND-other" "$@"; }

fail() {
  echo "failed: $*" >&2
  exit 1
}

# equal WANTED FOUND [WHAT]
equal() { [[ $1 == "$2" ]] || fail "${3-}: wanted $(printf %q "$1"), found $(printf %q "$2")"; }

# exits CODE COMMAND...: the command ends with that code. What it said is in $folder/out and $folder/err.
exits() {
  local wanted=$1 code=0
  shift
  "$@" >"$folder/out" 2>"$folder/err" </dev/null || code=$?
  ((code == wanted)) || fail "$*: wanted exit code $wanted, found $code: $(<"$folder/err")"
}

# said TEXT: the last `exits` wrote that to standard error, and every line of it begins with the command's name.
said() {
  grep -qF -- "$1" "$folder/err" || fail "wanted '$1' on standard error, found: $(<"$folder/err")"
  grep -q '^headpond: ' "$folder/err" || fail "standard error does not begin with headpond: $(<"$folder/err")"
}

# saves_nothing COMMAND...: no file grows, as on a full disk; nor does the segment.
saves_nothing() { (trap '' XFSZ && ulimit -f 4 && "$@"); }

# soon COMMAND...: succeeds within a minute.
soon() {
  local end=$((SECONDS + 60))
  until "$@"; do
    ((SECONDS < end)) || fail "not soon: $*"
    sleep 0.02
  done
}

# figure NAME: the sum of that figure over all queues and logs.
figure() { hp --json ls | python3 -c '
import json, sys
streams = [json.loads(line) for line in sys.stdin]
print(sum(stream.get(sys.argv[1], 0) for stream in streams))' "$1"; }

# pipe_is_full: of what was written to the pipe that is open as 7, so much waits to be read that the writer is stuck.
pipe_is_full() { python3 -c '
import fcntl, struct, sys, termios
waiting = struct.unpack("i", fcntl.ioctl(7, termios.FIONREAD, bytes(4)))[0]
sys.exit(waiting < fcntl.fcntl(7, fcntl.F_GETPIPE_SZ) // 2)'; }

# field NAME: reads one JSON object, prints that field; strings as they are, the rest as JSON.
field() { python3 -c '
import json, sys
value = json.loads(sys.stdin.read())[sys.argv[1]]
print(value if isinstance(value, str) else json.dumps(value))' "$1"; }

# json_lines: succeeds if each line of standard input is JSON, and prints how many there are.
json_lines() { python3 -c '
import json, sys
print(sum(1 for line in sys.stdin if json.loads(line) is not None))'; }
