# Queues. Each function is a fact about the command.
# shellcheck shell=bash disable=SC2154,SC2016

test_items_come_in_order() {
  hp push q first second third
  equal first "$(hp pop q)"
  equal $'second\nthird' "$(hp pop q -n 10)"
}

test_an_empty_pop_exits_with_1() {
  exits 1 hp pop q
  said "$HEADPOND_POND"  # there is no pond yet
  hp push q x
  hp pop q >/dev/null
  exits 1 hp pop q
  equal "" "$(<"$folder/out")$(<"$folder/err")"
  exits 1 hp pop never-pushed
  exits 1 hp pop q --wait 0.1
}

test_lines_of_standard_input_are_items() {
  printf 'a\n\nb c\nlast without newline' | hp push q
  equal $'a\n\nb c\nlast without newline' "$(hp pop q -n all)"
}

test_nul_separates_where_asked() {
  printf 'one\nline\0two\0three' | hp push -0 q
  hp pop q -0 -n all >"$folder/out"
  printf 'one\nline\0two\0three\0' | cmp - "$folder/out"
}

test_binary_values_survive() {
  # Every byte but the separator.
  python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(1, 256)) * 40 + b"\0" + b"\xff\xfe\0")' >"$folder/in"
  hp push -0 q <"$folder/in"
  hp pop -0 q -n all | cmp - "$folder/in"
}

test_arguments_are_taken_as_they_are() {
  hp push q '[1,2]' '{}' '' a,b pop %% '[' '"x"' -- -5 --json --
  equal "$(printf '%s\n' '[1,2]' '{}' '' a,b pop %% '[' '"x"' -5 --json --)" "$(hp peek q -n all)"
}

test_large_items_survive() {
  head -c 3000000 /dev/urandom | base64 -w 0 >"$folder/in"
  hp push q <"$folder/in"
  hp pop q | cmp <(cat "$folder/in"; echo) -
}

test_count_limits_what_is_popped() {
  seq 10 | hp push q
  equal "$(seq 4)" "$(hp pop q -n 4)"
  equal 6 "$(figure ready)"
  equal "" "$(hp pop q -n 0)"
  equal "$(seq 5 10)" "$(hp pop q -n 1e6)"
}

test_priority_comes_first() {
  hp push q low
  hp push q high --priority 7
  hp push q middle --priority 3
  equal $'high\nmiddle\nlow' "$(hp pop q -n 3)"
  exits 2 hp push q x --priority 8
}

test_delay_holds_back() {
  hp push q later --delay 3600s
  exits 1 hp pop q
  equal 1 "$(figure delayed)"
  hp push q soon --delay 300ms
  equal soon "$(hp pop q --wait 60)"
  equal 1 "$(figure delayed)"
}

test_durable_items_are_in_the_journal() {
  seq 100 | hp push q --durable
  equal durable "$(hp --json push q last --durable | field durability)"
  equal memory "$(hp --json push q "in memory" | field durability)"
  python3 - "$HEADPOND_HOME/$HEADPOND_POND/journal.db" <<'CHECK'
import sqlite3, sys
entries = b"".join(row[0] for row in sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True).execute("SELECT entries FROM journal"))
assert b"last" in entries and b"99" in entries and b"in memory" not in entries
CHECK
  equal $'1\n2' "$(hp pop q -n 2)"
  hp flush
  equal durable "$(hp --json flush | field durability)"
}

test_what_the_disk_refuses_is_said() {
  hp push q first --durable
  chmod 0400 "$HEADPOND_HOME/$HEADPOND_POND/journal.db"
  [[ $(id -u) == 0 ]] || { exits 3 hp push q second --durable; said journal.db; }
  chmod 0600 "$HEADPOND_HOME/$HEADPOND_POND/journal.db"
  hp push q third --durable
}

test_a_setting_that_is_in_memory_alone_is_said() {
  hp push q first --durable
  # A foreign program has the journal for itself. It is killed: one that closes it would take the WAL away.
  python3 -c '
import signal, sqlite3, sys
journal = sqlite3.connect(sys.argv[1], isolation_level=None)
journal.execute("BEGIN IMMEDIATE")
open(sys.argv[2], "w").close()
signal.pause()' "$HEADPOND_HOME/$HEADPOND_POND/journal.db" "$folder/locked" &
  local foreign=$!
  soon test -e "$folder/locked"
  exits 3 hp pause q
  said 'queue q: paused, in memory alone'
  said journal.db
  exits 1 hp pop q
  exits 3 hp flush
  kill -KILL "$foreign"
  wait "$foreign" || true
  hp flush
  hp resume q
  equal first "$(hp pop q)"
}

test_a_drain_that_ends_too_early_says_what_is_in_memory_alone() {
  hp push q first --durable
  saves_nothing exits 1 hp drain q --wait 0
  said '1 items are left; the queue drains in memory alone'
  hp drain q --wait 0 2>"$folder/err" || true
  ! grep -q memory "$folder/err"
}

test_peek_leaves_items_there() {
  hp push q a b
  equal a "$(hp peek q)"
  equal $'a\nb' "$(hp peek q -n 5)"
  equal $'1\t0\t0\t0\ta' "$(hp peek q --long)"
  equal 2 "$(figure ready)"
  exits 1 hp peek other
}

test_ids_name_items() {
  local id
  hp push q a
  id=$(hp push q b --ids)
  equal 2 "$id"
  hp push q c
  hp cancel q "$id"
  exits 1 hp cancel q "$id"
  said "there is no item"
  equal $'a\nc' "$(hp pop q -n all)"
  id=$(hp push q late --delay 1h --ids)
  hp cancel q "$id"
  equal 0 "$(figure delayed)"
}

test_cancel_of_a_claimed_item_is_refused() {
  python3 -c 'print("x" * 200000)' | hp push q
  mkfifo "$folder/pipe"
  "$command_path" pop q >"$folder/pipe" &
  exec 7<"$folder/pipe"
  soon eval '[[ $(figure claimed) == 1 ]]'
  exits 3 hp cancel q 1
  said "a worker has item 1"
}

test_pause_holds_delivery_until_resume() {
  hp push q a
  hp pause q
  exits 1 hp pop q
  said paused
  hp push q b
  equal true "$(hp --json ls | field paused)"
  hp resume q
  equal $'a\nb' "$(hp pop q -n all)"
}

test_a_waiting_pop_waits_through_a_pause() {
  hp push q a
  hp pause q
  "$command_path" pop q --wait 60 >"$folder/popped" &
  sleep 0.3
  hp resume q
  wait $!
  equal a "$(<"$folder/popped")"
}

test_drain_waits_until_all_is_done() {
  seq 3 | hp push q
  exits 1 hp drain q --wait 0.2
  said "3 items are left"
  exits 3 hp push q more
  said draining
  "$command_path" drain q --wait 60 &
  hp pop q -n all >/dev/null
  wait $!
  hp resume q
  hp push q again
  equal again "$(hp pop q)"
}

test_dead_letters_are_shown_and_redriven() {
  hp create --max-attempts 1
  python3 -c 'print("x" * 200000)' | hp push q
  mkfifo "$folder/pipe"
  "$command_path" pop q >"$folder/pipe" &
  local popper=$!
  exec 7<"$folder/pipe"
  soon eval '[[ $(figure claimed) == 1 ]]'
  kill -KILL "$popper"
  wait "$popper" || true
  soon eval 'hp pop q >/dev/null; [[ $(figure dead) == 1 ]]'
  hp dead q >"$folder/out"
  grep -q max_attempts "$folder/out"
  equal max_attempts "$(hp --json dead q | field cause)"
  equal "$popper" "$(hp --json dead q | field pid)"
  equal 1 "$(hp dead q --redrive)"
  exits 1 hp dead q
  equal 1 "$(figure ready)"
}

test_configure_changes_and_shows_limits() {
  hp configure q --max-attempts 5 --lease 10s --max-items 100 --max-bytes 1MiB
  equal '{"lease_ms":10000,"max_attempts":5,"max_items":100,"max_bytes":1048576}' "$(hp --json configure q)"
  hp configure q --max-items 0
  equal 0 "$(hp --json configure q | field max_items)"
  equal 5 "$(hp --json configure q | field max_attempts)"
}

test_clear_counts_what_it_drops() {
  seq 5 | hp push a
  seq 7 | hp push b
  hp append ns key one two
  equal 5 "$(hp clear a)"
  equal 0 "$(hp clear a)"
  equal 9 "$(hp clear)"
  exits 1 hp pop b
}

test_scopes_are_apart() {
  hp push q outside
  hp --scope order-42 push q inside
  equal inside "$(hp --scope order-42 pop q)"
  hp push q --scope order-42 again
  equal 1 "$(hp --scope order-42 clear)"
  equal outside "$(hp pop q)"
}

test_json_tells_everything_about_items() {
  hp push q plain --json >"$folder/out"
  equal '{"pushed":1,"bytes":5,"durability":"memory","first_id":"1","last_id":"1"}' "$(<"$folder/out")"
  equal '{"id":"1","priority":0,"attempts":0,"crashes":0,"payload":"plain"}' "$(hp --json peek q)"
  equal '{"id":"1","priority":0,"attempts":1,"crashes":0,"payload":"plain"}' "$(hp --json pop q)"
  printf 'a\xffb' | hp push q
  equal '{"base64": "Yf9i"}' "$(hp --json pop q | field payload)"
  python3 -c 'print("\u00e9\u20ac\U0001F600\"\\\t")' | hp push q
  equal "$(python3 -c 'print("\u00e9\u20ac\U0001F600\"\\\t")')" "$(hp --json pop q | field payload)"
}
