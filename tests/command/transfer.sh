# export and import. Each function is a fact about the command.
# shellcheck shell=bash disable=SC2154,SC2016

# plain FILE: without what differs from pond to pond, and from run to run: ids, seqs, the pond's name and the time of the export.
plain() { python3 -c '
import json, sys
for line in open(sys.argv[1]):
    line = json.loads(line)
    for name in ("id", "seq", "pond"): line.pop(name, None)
    if "headpond" in line: line.pop("at_ms")
    print(json.dumps(line))' "$1"; }

# same_there: what the second pond exports is what is in $folder/first, but for ids.
same_there() {
  to export --all "$folder/second" 2>/dev/null
  diff <(plain "$folder/first") <(plain "$folder/second") >"$folder/differs" || fail "$(head -5 "$folder/differs")"
}

# lines FILE KIND: how many lines of that kind there are.
lines() { grep -c "^{\"kind\":\"$2\"" "$1" || true; }

header='{"headpond":"export","version":1,"scopes":1,"scope":""}'
queue='{"kind":"queue","scope":"","queue":"q"}'
log='{"kind":"log","scope":"","ns":"n","key":"k"}'
end='{"kind":"end"}'

# import_of LINE...: exits with 3; what it said is in $folder/err.
refused() {
  printf '%s\n' "$@" >"$folder/file"
  exits 3 hp import "$folder/file"
}

test_a_round_trip_keeps_everything_but_ids() {
  local bytes=$'a\tb \x01\xff "quoted" \\ \xc3\xa9'
  local scope=$'scope \xfe \n end'
  hp --scope "$scope" configure "$bytes" --lease 10m --max-attempts 3 --max-items 500 --max-bytes 1MiB
  printf 'one\0\0two\n\0\xff\xfe\0' | hp --scope "$scope" push -0 "$bytes"
  hp --scope "$scope" push "$bytes" urgent --priority 7
  hp --scope "$scope" push "$bytes" later --delay 1h --priority 2
  hp --scope "$scope" push "$bytes" last --delay 2h
  hp push "" 'in the unnamed queue of the unnamed scope' ''
  hp pause ""
  hp push spent bad
  hp configure spent --max-attempts 1
  printf 'r1\0r\n2\0\xff\0r4\0' | hp --scope "$scope" append -0 "$bytes" $'\xfd'
  hp --scope "$scope" cursor "$bytes" $'\xfd' behind 0 >/dev/null
  hp --scope "$scope" cursor "$bytes" $'\xfd' $'half \xff' 2 >/dev/null
  hp --scope "$scope" cursor "$bytes" $'\xfd' ahead 9 >/dev/null
  # One claim that ends without an ack, then the item is spent.
  "$command_path" pop spent -n 1 --wait 60 >/dev/full 2>/dev/null || true
  exits 1 hp pop spent
  equal 1 "$(hp --json dead spent | json_lines)"
  hp export --all "$folder/first"
  to import <"$folder/first"
  same_there
  equal bad "$(to dead spent --json | field payload)"
  equal max_attempts "$(to dead spent --json | field cause)"
  to --scope "$scope" pop -0 "$bytes" -n 3 | cmp - <(printf 'urgent\0one\0\0')
}

test_a_round_trip_over_both_tiers() {
  hp create --limit 1MiB
  seq -f '%0100g' 40000 | hp push q
  seq -f '%060g' 100 | hp push q --priority 1
  seq -f '%0100g' 20000 | hp append n k
  hp cursor n k reader 7777 >/dev/null
  (($(figure spilled) > 20000))
  exits 0 hp export "$folder/first"
  said '40,100 ready'
  said '20,000 records, 1 cursor'
  (($(figure spilled) > 20000))
  equal 40100 "$(lines "$folder/first" ready)"
  to create --limit 1MiB
  exits 0 to import "$folder/first"
  said '40,100 ready'
  same_there
  equal 7777 "$(to cursor n k reader)"
  hp verify >/dev/null
  to verify >/dev/null
  cmp <(hp pop q -n all) <(to pop q -n all)
}

test_a_pipe_moves_a_scope_to_another_one() {
  hp --scope a push q x y
  hp --scope b push q z
  hp --scope a export - 2>/dev/null | to --scope c import - 2>/dev/null
  equal $'x\ny' "$(to --scope c pop q -n all)"
  exits 1 to --scope a pop q
  hp export --all "$folder/both"
  exits 3 to --scope c import "$folder/both"
  said 'both:1: the file has 2 scopes'
}

test_what_a_worker_has_is_exported_as_ready() {
  seq -f '%0100g' 5000 | hp push q
  mkfifo "$folder/pipe"
  "$command_path" pop q -n all >"$folder/pipe" 2>/dev/null &
  local popper=$!
  exec 7<"$folder/pipe"
  soon eval '(($(figure claimed) > 0))'
  soon pipe_is_full
  exits 0 hp export "$folder/first"
  said 'what is claimed is ready again where it is imported'
  kill -KILL "$popper"
  (($(grep -c '"claimed":true' "$folder/first") > 0))
  to import "$folder/first" 2>/dev/null
  cmp <(to pop q -n all) <(seq -f '%0100g' 5000 | tail -n "$(lines "$folder/first" ready)")
}

test_an_import_goes_behind_what_is_there_and_changes_no_settings() {
  hp push q new
  hp configure q --max-items 9
  hp append n k new
  hp cursor n k reader 1 >/dev/null
  hp cursor n k newcomer 0 >/dev/null
  hp export "$folder/first"
  to push q old
  to append n k old older
  to cursor n k reader 1 >/dev/null
  exits 0 to import "$folder/first"
  said '1 of the queues were there'
  said '1 cursors were there'
  equal $'old\nnew' "$(to pop q -n all)"
  equal 0 "$(to configure q --json | field max_items)"
  equal $'1\told\n2\tolder\n3\tnew' "$(to scan n k)"
  equal 1 "$(to cursor n k reader)"
  equal 2 "$(to cursor n k newcomer)"
}

test_fresh_wants_an_empty_scope() {
  hp --scope a push q x
  hp --scope a export "$folder/first"
  to --scope b push q y
  to --scope a append n k z
  exits 3 to import --fresh "$folder/first"
  said '--fresh: scope a'
  exits 1 to --scope a pop q
  to --scope a clear >/dev/null
  exits 0 to import --fresh "$folder/first"
  exits 3 to import --fresh "$folder/first"
  exits 0 to --scope new import --fresh "$folder/first"
  hp --scope other push q x
  hp export --all "$folder/both"
  exits 3 to import --fresh "$folder/both"
}

test_a_durable_import_is_on_disk() {
  hp push q a b
  hp append n k c
  hp export "$folder/first"
  equal durable "$(to --json import --durable "$folder/first" | field durability)"
  to rm --keep-state
  equal $'a\nb' "$(to pop q -n all)"
  equal 1 "$(to scan n k | wc -l)"
}

test_an_import_waits_for_room() {
  hp configure q --max-items 4
  printf '%s\n' "$header" "$queue" >"$folder/file"
  seq 2000 | sed 's/.*/{"kind":"ready","payload":"&"}/' >>"$folder/file"
  echo "$end" >>"$folder/file"
  "$command_path" import "$folder/file" 2>/dev/null &
  local importer=$!
  hp pop q -n 2000 --wait 60 | cmp <(seq 2000) -
  wait "$importer"
}

test_limits_of_the_file_hold_up_no_item_of_it() {
  printf '%s\n' "$header" '{"kind":"queue","scope":"","queue":"q","max_items":1,"paused":true}' \
    '{"kind":"ready","payload":"a"}' '{"kind":"ready","payload":"b"}' "$end" | hp import
  equal 1 "$(hp configure q --json | field max_items)"
  exits 1 hp pop q
  said paused
  hp resume q
  equal $'a\nb' "$(hp pop q -n all)"
}

test_a_cursor_that_an_import_cannot_save_is_said() {
  to push q first --durable
  printf '%s\n' "$header" "$log" '{"kind":"cursor","cursor":"reader","seq":0}' "$end" >"$folder/file"
  saves_nothing exits 3 to import "$folder/file" --durable
  said 'in memory alone'
}

test_a_durable_import_has_its_cursors_on_disk() {
  hp append n k c
  hp cursor n k reader 1 >/dev/null
  hp export "$folder/first"
  to push q first --durable
  to import --durable "$folder/first" 2>/dev/null
  python3 - "$HEADPOND_HOME/$HEADPOND_POND-other/journal.db" <<'CHECK'
import sqlite3, sys
rows = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True).execute("SELECT count(*) FROM setting").fetchone()
assert rows[0] == 1, rows
CHECK
}

test_limits_of_scopes_and_draining_go_along() {
  hp --scope s push q a b c
  "$command_path" --scope s drain q --wait 0 2>/dev/null || true
  hp export --all "$folder/without"
  equal 0 "$(lines "$folder/without" scope)"
  sed 's/^{"kind":"queue"/{"kind":"scope","scope":"s","max_items":2,"max_bytes":77777,"durability":"posted"}\n&/' \
    "$folder/without" >"$folder/first"
  to import <"$folder/first"
  same_there
  exits 3 to --scope s push q d
  said draining
  refused "$header" '{"kind":"scope","scope":"","max_items":4611686018427387904}'
  said 'from 0 to'
  refused "$header" '{"kind":"scope","scope":"","durability":"eternal"}'
  said '"durability" must be'
}

test_errors_tell_the_line_and_what_came_before_is_imported() {
  refused "$header" "$queue" '{"kind":"ready","payload":"good"}' '{"kind":"ready","payload":'
  said "$folder/file:4: no JSON"
  said '1 ready'
  equal good "$(hp pop q)"
  refused "$header" "$queue" '{"kind":"ready"}'
  said '/file:3: "payload" is missing'
  refused "$header" "$queue" '{"kind":"future"}'
  said '/file:3: "kind" is future'
  refused "$header" "$queue" '{"payload":"x"}'
  said '/file:3: "kind" is missing'
  refused "$header" "$queue" '["kind"]'
  said '/file:3: no JSON object'
  refused "$header" "$queue" '{"kind":"ready","payload":{"base64":"/w="}}'
  said '/file:3: "payload" must be a string or'
  refused "$header" "$queue" '{"kind":"ready","payload":7}'
  refused "$header" "$queue" '{"kind":"ready","payload":"x","priority":8}'
  said 'from 0 to 7'
  refused "$header" "$queue" '{"kind":"ready","payload":"x","attempts":-1}'
  refused "$header" "$queue" '{"kind":"delayed","payload":"x"}'
  said '"due_ms" is missing'
  refused "$header" "$queue" '{"kind":"delayed","payload":"x","due_ms":99999999999999}'
  refused "$header" "$queue" '{"kind":"dead","payload":"x","at_ms":1,"cause":"boredom"}'
  said '"cause" must be'
  refused "$header" "$queue" '{"kind":"record","value":"x"}'
  said 'a record outside of a log'
  refused "$header" "$log" '{"kind":"ready","payload":"x"}'
  said 'an item outside of a queue'
  refused "$header" "$queue" '{"kind":"cursor","cursor":"x"}'
  refused "$header" '{"kind":"queue","scope":"","queue":"r","lease_ms":"soon"}'
  refused "$header" '{"kind":"log","scope":"","ns":"n"}'
  said '"key" is missing'
  exits 1 hp pop q
  exits 3 hp import "$folder/missing"
  exits 3 hp import "$folder"
  hp verify >/dev/null
}

test_a_file_that_is_not_whole_or_newer_or_no_export_is_refused() {
  refused "$header" "$queue" '{"kind":"ready","payload":"good"}'
  said '/file:3: the file ends before its last line'
  equal good "$(hp pop q)"
  refused '{"headpond":"export","version":3,"scopes":1}' "$queue" '{"kind":"ready","payload":"x"}' "$end"
  said '/file:1: the file has version 3'
  said 'upgrade headpond'
  refused '{"headpond":"import","version":1,"scopes":1}'
  refused "$queue" '{"kind":"ready","payload":"x"}' "$end"
  said '/file:1: this is no export of headpond'
  refused "$header" "$end" "$queue"
  said '/file:3: a line behind the last one'
  refused "$header" "$header"
  said '/file:2: another file begins'
  exits 3 hp import /dev/null
  said 'it is empty'
  exits 1 hp pop q
}

test_files_may_be_put_together() {
  hp push q a
  hp export "$folder/one"
  cat "$folder/one" "$folder/one" | to import 2>/dev/null
  equal $'a\na' "$(to pop q -n all)"
}

test_limits_of_a_scope_without_streams_go_along() {
  printf '%s\n' "$header" '{"kind":"scope","scope":"s","max_items":2}' \
    '{"kind":"scope","scope":"t","durability":"durable"}' "$end" | hp import 2>/dev/null
  hp push q x
  exits 0 hp export --all "$folder/first"
  equal 2 "$(lines "$folder/first" scope)"
  to import <"$folder/first"
  same_there
  to --scope s push q a b
  exits 3 to --scope s push q c --no-wait
  said 'its limit is 2'
  exits 0 hp --scope t export "$folder/one"
  equal 1 "$(lines "$folder/one" scope)"
  exits 0 hp export
  said '2 other scopes are not in it: --all'
  exits 1 hp --scope u export
}

test_export_says_what_is_not_there_or_not_in_it() {
  exits 1 hp export
  hp --scope a push q x
  exits 1 hp export "$folder/file"
  said '1 other scopes'
  [[ ! -e $folder/file ]]
  exits 2 hp --scope a export --all
  hp push q y
  exits 0 hp export
  said '1 other scope is not in it: --all'
  equal 1 "$(json_lines <"$folder/out" | grep -c 4)"
}

test_a_file_is_written_as_a_whole_or_not_at_all() {
  seq -f '%0100g' 20000 | hp push q
  echo before >"$folder/file"
  (ulimit -f 100 && exits 3 hp export "$folder/file")
  equal before "$(<"$folder/file")"
  equal 1 "$(find "$folder" -maxdepth 1 -name 'file*' | wc -l)"
  hp export "$folder/file"
  equal 600 "$(stat -c %a "$folder/file")"
  exits 3 hp export /dev/full
  said 'No space left on device'
  exits 3 hp export "$folder/no/such/folder"
  exits 0 hp export /dev/null
}

test_a_reader_that_goes_ends_an_export_and_a_signal_ends_both() {
  seq -f '%0100g' 50000 | hp push q
  local code=0
  { "$command_path" export 2>/dev/null || code=$?; echo "$code" >"$folder/code"; } | head -1 >/dev/null
  equal 141 "$(<"$folder/code")"
  mkfifo "$folder/pipe"
  "$command_path" export "$folder/pipe" 2>"$folder/err" &
  local job=$!
  exec 7<"$folder/pipe"
  head -c 1 <&7 >/dev/null
  kill -TERM "$job"
  code=0
  wait "$job" || code=$?
  equal 143 "$code"
  exec 7<&-
  mkfifo "$folder/input"
  "$command_path" import "$folder/input" 2>"$folder/err" &
  job=$!
  exec 7>"$folder/input"
  printf '%s\n' "$header" '{"kind":"queue","scope":"","queue":"r"}' '{"kind":"ready","payload":"x"}' >&7
  equal x "$(hp pop r --wait 60)"
  kill -TERM "$job"
  code=0
  wait "$job" || code=$?
  equal 143 "$code"
  said 'stopped: imported 1 queue (1 ready)'
  exec 7>&-
  hp verify >/dev/null
}

test_json_tells_counts() {
  hp push q a
  hp export "$folder/file"
  hp --json import "$folder/file" >"$folder/out"
  equal 1 "$(field ready <"$folder/out")"
  equal memory "$(field durability <"$folder/out")"
}

test_memory_is_bounded_whatever_the_size() {
  # AddressSanitizer's shadow takes more address space than any limit leaves.
  (ulimit -v 250000 && hp --version) >/dev/null 2>&1 || { echo "the address space cannot be limited here"; return; }
  hp create --limit 1MiB
  seq -f '%0500g' 100000 | hp push q
  (ulimit -v 250000 && hp export "$folder/file")
  to create --limit 1MiB
  (ulimit -v 250000 && to import "$folder/file")
  equal 100000 "$(lines "$folder/file" ready)"
}
