# Logs. Each function is a fact about the command.
# shellcheck shell=bash disable=SC2154,SC2016

test_durable_records_are_in_the_journal() {
  equal durable "$(hp --json append ns key value --durable | field durability)"
  equal $'1\tvalue' "$(hp scan ns key)"
}

test_records_have_rising_seqs() {
  hp append ns key a b
  seq 3 | hp append ns key
  equal $'1\ta\n2\tb\n3\t1\n4\t2\n5\t3' "$(hp scan ns key)"
  equal 6 "$(hp append ns key c --seqs)"
}

test_scan_begins_after_and_ends_at_a_count() {
  seq 10 | hp append ns key
  equal $'4\t4\n5\t5' "$(hp scan ns key --after 3 -n 2)"
  equal $'1\t1' "$(hp scan ns key --after -1 -n 1)"
  exits 1 hp scan ns key --after 10
  exits 1 hp scan ns other
}

test_scan_shows_any_bytes() {
  printf 'a\nb\0\xff\0' | hp append -0 ns key
  hp scan -0 ns key >"$folder/out"
  printf '1\ta\nb\0002\t\xff\0' | cmp - "$folder/out"
  equal '{"seq": 2, "value": {"base64": "/w=="}}' "$(hp --json scan ns key --after 1 | python3 -c 'import json; print(json.dumps(json.loads(input())))')"
}

test_follow_shows_records_as_they_come() {
  hp append ns key before
  "$command_path" scan ns key --follow -n 3 >"$folder/seen" &
  local follower=$!
  soon grep -qs before "$folder/seen"
  hp append ns key now
  soon grep -q now "$folder/seen"
  hp append ns key last
  wait "$follower"
  equal $'1\tbefore\n2\tnow\n3\tlast' "$(<"$folder/seen")"
}

test_follow_may_be_there_before_the_log() {
  "$command_path" scan ns key --follow -n 1 >"$folder/seen" &
  sleep 0.2
  hp append ns key first
  wait $!
  equal $'1\tfirst' "$(<"$folder/seen")"
}

test_trim_drops_what_is_below() {
  seq 10 | hp append ns key
  equal 8 "$(hp trim ns key 8)"
  equal $'8\t8\n9\t9\n10\t10' "$(hp scan ns key)"
  equal 8 "$(hp trim ns key 2)"
}

test_cursors_move_forward_only() {
  seq 5 | hp append ns key
  equal 0 "$(hp cursor ns key reader)"
  equal 3 "$(hp cursor ns key reader 3)"
  equal 3 "$(hp cursor ns key reader 2)"
  equal 3 "$(hp cursor ns key reader)"
  hp trim ns key >/dev/null
  equal $'4\t4\n5\t5' "$(hp scan ns key)"
  hp cursor ns key reader --drop
  equal 0 "$(hp cursor ns key reader)"
}

test_json_tells_seqs() {
  equal '{"appended":2,"bytes":2,"durability":"memory","first_seq":"1","last_seq":"2"}' "$(hp --json append ns key a b)"
  equal '{"seq":2,"value":"b"}' "$(hp --json scan ns key --after 1)"
  equal '{"committed":1}' "$(hp --json cursor ns key c 1)"
  equal '{"trimmed":2}' "$(hp --json trim ns key 2)"
}
