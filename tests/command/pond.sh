# Ponds as a whole, usage and exit codes. Each function is a fact about the command.
# shellcheck shell=bash disable=SC2154,SC2016

all_commands="push pop peek dead cancel pause resume drain configure clear append scan trim cursor export import create ls stat
  top verify reap gc flush rm doctor"

test_every_command_has_help_with_an_example() {
  local name
  for name in $all_commands; do
    hp "$name" --help >"$folder/out"
    grep -q '^Example:' "$folder/out" || fail "$name --help has no example"
    hp --help | grep -q "^  $name " || fail "--help does not list $name"
  done
  hp --version | grep -q '^headpond [0-9]'
}

test_the_manual_and_the_completions_know_every_command() {
  local name file where=$here/../../tools/command
  for name in $all_commands; do
    for file in headpond.1 completions/headpond.bash completions/_headpond completions/headpond.fish; do
      grep -Eq "(^|[^a-z]|fB)$name([^a-z]|\$)" "$where/$file" || fail "$file does not know $name"
    done
  done
}

test_wrong_usage_exits_with_2() {
  exits 2 hp
  said "headpond --help"
  exits 2 hp bogus
  exits 2 hp push
  exits 2 hp push q --bogus
  exits 2 hp pop q -n some
  said "1e6"
  exits 2 hp create --limit 3x
  said 64MiB
  exits 2 hp top --interval 0
  exits 2 hp --pond .hidden push q x
}

test_nothing_there_exits_with_1() {
  local name
  for name in ls stat verify reap flush rm clear export "pop q" "peek q" "dead q" "resume q" "cancel q 1" "scan n k" "trim n k 1" top; do
    # shellcheck disable=SC2086
    exits 1 hp $name
    said "$HEADPOND_POND"
  done
}

test_create_fixes_limits() {
  hp create --limit 8MiB --max-participants 20 --min-page 2K --max-page 32KiB
  equal 8388608 "$(hp --json stat | field limit_bytes)"
  equal 20 "$(hp --json stat | field max_participants)"
  hp create
  hp create --limit 8M
  exits 3 hp create --limit 16MiB
  equal false "$(hp --json create | field created)"
}

test_create_brings_a_lost_segment_back_with_the_limits_that_it_is_given() {
  export HEADPOND_SHM=$folder/shm
  mkdir "$HEADPOND_SHM"
  hp create --limit 8MiB
  hp push q x --durable
  rm "$HEADPOND_SHM"/*
  hp --json create --limit 8MiB --max-attempts 3 >"$folder/out"
  equal true "$(field rebuilt <"$folder/out")"
  equal 8388608 "$(field limit_bytes <"$folder/out")"
  equal true "$(hp --json ls | field parked)"
  hp ls | grep -q ' parked$'
  hp stat | grep -q '^streams  *1, 1 of them parked$'
  equal 0 "$(figure pushed)" 'ids go on far above those that came back, which is no push'
  equal 3 "$(hp --json configure other | field max_attempts)"
  equal false "$(hp --json create | field rebuilt)"
  rm "$HEADPOND_SHM"/*
  equal 8388608 "$(hp --json stat | field limit_bytes)" 'as it was created'
  equal 3 "$(hp --json configure another | field max_attempts)"
  exits 3 hp create --max-attempts 4
  hp create --max-attempts 3
  rm "$HEADPOND_SHM"/*
  hp create --max-items 7
  equal '3 7' "$(hp --json configure a | field max_attempts) $(hp --json configure b | field max_items)" 'each by itself'
  hp rm --keep-state
  hp create --limit 16MiB
  equal 16777216 "$(hp --json stat | field limit_bytes)"
  equal x "$(hp pop q)"
}

test_a_pond_is_made_by_its_first_writer() {
  hp push q x
  equal 268435456 "$(hp --json stat | field limit_bytes)"
}

test_ls_shows_queues_and_logs() {
  hp push q a bb
  hp --scope other push r x
  hp append ns key v
  hp ls >"$folder/out"
  grep -Eq '^"" +q +2 +0 +0 +0 +3 B' "$folder/out"
  grep -Eq '^other +r +1 ' "$folder/out"
  grep -Eq '^"" +ns +key +1 +1 +1 +1 B' "$folder/out"
  equal 3 "$(hp --json ls | json_lines)"
  equal 1 "$(hp --json --scope other ls | json_lines)"
  equal r "$(hp --json --scope other ls | field queue)"
  exits 1 hp --scope nobody ls
}

test_stat_shows_figures() {
  hp push q a bb
  hp stat >"$folder/out"
  grep -q '^items *2 ready' "$folder/out"
  equal 1 "$(hp --json stat | json_lines)"
  equal "$HEADPOND_POND" "$(hp --json stat | field pond)"
}

test_what_is_on_disk_is_shown() {
  hp push q x
  hp stat | grep -q '^spilled' && fail 'a pond that has used no disk shows it'
  equal false "$(hp --json stat | python3 -c 'import json; print(json.dumps("durable" in json.loads(input())))')"
  hp rm
  hp create --limit 1MiB
  seq -f '%0100g' 30000 | hp push q
  seq -f '%0100g' 20000 | hp append n k
  hp push q safe --durable
  hp stat >"$folder/out"
  grep -Eq '^spilled +[0-9,]+ items, [0-9,]+ records: [0-9.]+ MiB in [2-9] gaps' "$folder/out"
  grep -Eq '^files +[0-9.]+ MiB, of these .* in WALs and .* free' "$folder/out"
  grep -Eq '^commits +[1-9][0-9,]*, .* ms each, [0-9]+ operations in the last one; 0 wait' "$folder/out"
  grep -q '^trouble' "$folder/out" && fail "$(<"$folder/out")"
  hp ls >"$folder/out"
  grep -Eq '^"" +q +30,001 +0 +0 +0 .* [KM]iB +[1-9][0-9,]{4,} +[0-9.]+ MiB ' "$folder/out"
  equal "$(($(figure spilled) * 100))" "$(figure spilled_bytes)"
  (($(figure gaps) >= 2))
  hp top -n 1 -i 0.1 | grep -Eq '^disk +[0-9.]+ MiB +WALs .* free .* commits/s'
  hp --json top -n 1 -i 0.1 | python3 -c '
import json
top = json.loads(input())
assert top["durable"]["file_bytes"] > 1 << 20 and top["durable"]["commits"] >= 1, top
assert all(stream["spilled_bytes"] == 100 * stream["spilled"] > 0 for stream in top["streams"]), top'
  hp --json stat | python3 -c '
import json
stat = json.loads(input())
assert stat["durable"]["waiting"] == 0 and stat["queues"][0]["gaps"] >= 1 and stat["logs"][0]["spilled_bytes"] > 0, stat'
}

test_trouble_on_disk_is_shown_and_hides_no_other_figure() {
  hp create --limit 1MiB
  seq -f '%0100g' 30000 | hp push q
  # Another file in its place.
  cp "$HEADPOND_HOME/$HEADPOND_POND/spill.db" "$folder/copy"
  mv "$folder/copy" "$HEADPOND_HOME/$HEADPOND_POND/spill.db"
  hp stat >"$folder/out" 2>/dev/null
  grep -q '^trouble .*was replaced' "$folder/out"
  grep -q '^items *30,000 ready' "$folder/out"
  hp ls 2>/dev/null | grep -q 30,000
  exits 3 hp doctor
  grep -A1 'was replaced' "$folder/out" | grep -q 'keep a copy of its state folder'
}

test_verify_finds_a_sound_pond_clean() {
  seq 1000 | hp push q
  seq 1000 | hp append ns key
  hp verify | grep -q 'all well'
  equal true "$(hp --json verify | field clean)"
}

test_top_repeats_blocks_without_a_terminal() {
  hp push q a
  hp top --count 2 --interval 0.1 >"$folder/out"
  equal 2 "$(grep -c "^pond $HEADPOND_POND" "$folder/out")"
  equal 3 "$(hp --json top -n 3 -i 50ms | json_lines)"
  (seq 20000 | "$command_path" push q) &
  hp --json top -n 1 -i 1 | python3 -c '
import json
streams = json.loads(input())["streams"]
assert streams[0]["queue"] == "q" and streams[0]["in_per_s"] >= 0, streams'
  wait $!
}

test_top_uses_and_leaves_the_alternate_screen() {
  command -v script >/dev/null || return 0
  hp push q a
  script -qec "$command_path top -n 2 -i 0.1" /dev/null </dev/null >"$folder/out"
  grep -q $'\033\\[?1049h' "$folder/out"
  grep -q $'\033\\[?1049l' "$folder/out"
}

test_reap_counts_dead_workers() {
  hp push q x
  hp reap | grep -Eq '^[0-9]+$'
  hp --json reap | json_lines >/dev/null
}

# parked N: gc has parked so many, perhaps one by one. dropped N: gc counts so many at once. The first look at a stream that was used counts as use
# just now.
parked() {
  hp gc --spill-idle 0.001 >/dev/null
  [[ $(hp --json stat | field parked) == "$1" ]]
}
dropped() { [[ $(hp --json gc --drop-idle 0.001 | field dropped) == "$1" ]]; }

test_gc_moves_what_nobody_uses_to_the_disk() {
  exits 2 hp gc
  said --spill-idle
  seq 100 | hp push q
  hp append n k first second
  hp export --all "$folder/before"
  soon parked 2
  equal 100 "$(hp --json ls | grep '"kind":"queue"' | field ready)"
  hp verify
  hp export --all "$folder/after"
  equal "$(tail -n +2 "$folder/before")" "$(tail -n +2 "$folder/after")"
  equal "$(seq 100)" "$(hp pop q -n 100)"
  hp verify
}

test_gc_drops_what_nobody_uses_for_longer() {
  hp push q a b c
  soon dropped 1
  exits 1 hp peek q
  hp gc --drop-idle 1h | grep -q '^0 parked, 0 dropped with 0 items, 0 in use$'
}

test_rm_removes_all() {
  hp push q x
  hp rm
  exits 1 hp rm
  exits 1 hp pop q
  [[ -z $(ls -A "$HEADPOND_HOME" 2>/dev/null) ]]
}

test_doctor_judges_the_host() {
  local code=0
  hp doctor >"$folder/out" || code=$?
  ((code == 0 || code == 3))
  grep -q 'shared memory' "$folder/out"
  grep -q 'membarrier' "$folder/out"
  hp --json doctor | json_lines >/dev/null || true
}

test_doctor_finds_what_is_wrong() {
  exits 3 env HEADPOND_SHM="$folder/missing" "$command_path" doctor
  grep -q '^wrong *shared memory' "$folder/out"
  grep -q -- '->' "$folder/out"
  touch "$folder/file"
  exits 3 env HEADPOND_HOME="$folder/file" "$command_path" doctor
  grep -q '^wrong *state folder' "$folder/out"
  (ulimit -f 1000 && exits 3 hp doctor)
  grep -q '^wrong *file size' "$folder/out"
}
