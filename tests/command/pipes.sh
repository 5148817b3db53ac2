# Pipes, signals, and processes that are killed. Each function is a fact about the command.
# shellcheck shell=bash disable=SC2154,SC2016

# A pop that has claimed items and cannot write them, since nobody reads the pipe: its process id is in $popper.
stuck_pop() {
  mkfifo "$folder/pipe"
  "$command_path" pop q -n all >"$folder/pipe" 2>"$folder/popper-err" &
  popper=$!
  exec 7<"$folder/pipe"
  soon eval '(($(figure claimed) > 0))'
  soon pipe_is_full
}

# 64 KiB fit into a pipe: these do not.
push_much() { seq -f '%0100g' 5000 | hp push q; }

# at_rest: nothing is claimed.
at_rest() { [[ $(figure claimed) == 0 ]]; }

test_four_poppers_share_100000_numbers_each_once() {
  seq 100000 | hp push q
  local i poppers=()
  for i in 1 2 3 4; do
    "$command_path" pop q -n 25000 >"$folder/part$i" &
    poppers+=($!)
  done
  for i in "${poppers[@]}"; do wait "$i"; done
  sort -n "$folder"/part? | cmp <(seq 100000) -
  exits 1 hp pop q
}

test_poppers_work_while_items_come() {
  local i poppers=()
  for i in 1 2 3 4; do
    "$command_path" pop q -n 25000 --wait 60 >"$folder/part$i" &
    poppers+=($!)
  done
  seq 100000 | hp push q
  for i in "${poppers[@]}"; do wait "$i"; done
  sort -n "$folder"/part? | cmp <(seq 100000) -
}

test_items_are_pushed_as_soon_as_they_are_read() {
  mkfifo "$folder/lines"
  "$command_path" push q <"$folder/lines" &
  local pusher=$!
  exec 7>"$folder/lines"
  echo one >&7
  equal one "$(hp pop q --wait 60)"
  printf 'half' >&7
  sleep 0.1
  exits 1 hp pop q
  echo ' and half' >&7
  equal 'half and half' "$(hp pop q --wait 60)"
  exec 7>&-
  wait "$pusher"
}

test_popped_items_are_written_at_once() {
  "$command_path" pop q -n 2 --wait 60 >"$folder/out" &
  hp push q early
  soon grep -q early "$folder/out"
  hp push q late
  wait $!
}

test_a_closed_reader_gives_back_the_rest_in_silence() {
  push_much
  local codes
  set +e
  trap - ERR
  "$command_path" pop q -n all 2>"$folder/err" | head -1 >"$folder/head"
  codes=("${PIPESTATUS[@]}")
  set -e
  equal 141 "${codes[0]}" "exit code of pop"
  equal "" "$(<"$folder/err")"
  equal "$(seq -f '%0100g' 1)" "$(<"$folder/head")"
  at_rest || fail "something is still claimed"
  # What went into the pipe is gone, the rest is there, in order and to its end.
  hp pop q -n all >"$folder/rest"
  (($(wc -l <"$folder/rest") > 3000)) || fail "only $(wc -l <"$folder/rest") of 5000 came back"
  sort -c "$folder/rest"
  equal "$(seq -f '%0100g' 5000 5000)" "$(tail -1 "$folder/rest")"
}

test_a_reader_that_goes_ends_a_waiting_pop() {
  hp push q one
  set +e
  trap - ERR
  timeout 100 "$command_path" pop q -n 5 --wait 600 | head -1 >"$folder/out"
  equal 141 "${PIPESTATUS[0]}"
  equal one "$(<"$folder/out")"
}

test_a_pop_killed_before_it_wrote_loses_nothing() {
  push_much
  stuck_pop
  kill -KILL "$popper"
  wait "$popper" || true
  # All that pop wrote is in the pipe; the rest must be in the queue.
  cat <&7 >"$folder/written"
  soon at_rest
  hp pop q -n all >"$folder/rest"
  # At least once: what it wrote and had no time to ack comes again.
  grep -E '^[0-9]{100}$' "$folder/written" | sort -u - "$folder/rest" | cmp <(seq -f '%0100g' 5000) -
}

test_a_terminated_pop_gives_back_its_claims() {
  push_much
  stuck_pop
  local code=0
  kill -TERM "$popper"
  wait "$popper" || code=$?
  equal 143 "$code"
  equal 0 "$(figure claimed)"
  grep -E '^[0-9]{100}$' <&7 >"$folder/written"
  hp pop q -n all >"$folder/rest"
  sort "$folder/written" "$folder/rest" | cmp <(seq -f '%0100g' 5000) -
}

test_claims_whose_lease_ended_are_reported() {
  hp configure q --lease 100ms
  push_much
  stuck_pop
  sleep 0.3
  hp pop q -n all >"$folder/others"
  local code=0
  cat <&7 >"$folder/written"
  wait "$popper" || code=$?
  equal 3 "$code"
  grep -q '^headpond: .* not ours any more' "$folder/popper-err" || fail "$(<"$folder/popper-err")"
  grep -E '^[0-9]{100}$' "$folder/written" | sort -u - "$folder/others" | cmp <(seq -f '%0100g' 5000) -
}

test_a_signal_ends_a_waiting_pop() {
  hp push other x
  "$command_path" pop q --wait forever &
  local code=0
  sleep 0.3
  kill -TERM $!
  wait $! || code=$?
  equal 143 "$code"
}

test_push_waits_for_room_in_a_full_queue() {
  hp configure q --max-items 100
  seq 1000 | "$command_path" push q &
  local pusher=$!
  soon eval '(($(figure ready) >= 90))'
  sleep 0.2
  kill -0 "$pusher" || fail "push did not wait"
  hp pop q -n 1000 --wait 60 | cmp <(seq 1000) -
  wait "$pusher"
}

test_who_waits_for_room_for_long_says_for_what() {
  hp configure q --max-items 100
  seq 1000 | "$command_path" push q 2>"$folder/err" &
  local pusher=$!
  soon grep -q '^headpond: queue q waits for room: ' "$folder/err"
  hp pop q -n 1000 --wait 60 | cmp <(seq 1000) -
  wait "$pusher"
  equal 1 "$(wc -l <"$folder/err")"
}

test_no_wait_spills_and_goes_on() {
  hp create --limit 1MiB
  seq -f '%01000g' 3000 | hp push q --no-wait
  equal 3000 "$(figure ready)"
}

test_no_wait_says_how_many_were_pushed() {
  hp configure q --max-items 100
  seq 1000 >"$folder/in"
  local code=0 pushed
  hp push q --no-wait <"$folder/in" 2>"$folder/err" || code=$?
  equal 3 "$code"
  pushed=$(figure ready)
  ((pushed >= 100 && pushed <= 107)) || fail "$pushed items with a limit of 100"
  grep -qF "($pushed pushed)" "$folder/err" || fail "$(<"$folder/err")"
}

test_a_full_pond_spills_and_push_goes_on() {
  hp create --limit 1MiB
  seq -f '%01000g' 3000 | "$command_path" push q
  equal 3000 "$(figure ready)"
  hp pop q -n 3000 --wait 60 | cmp <(seq -f '%01000g' 3000) -
}

test_an_item_that_can_never_fit_is_an_error() {
  hp create --limit 1MiB
  head -c 3000000 /dev/zero | tr '\0' x >"$folder/in"
  local code=0
  timeout 100 "$command_path" push q <"$folder/in" 2>"$folder/err" || code=$?
  equal 3 "$code"
}

test_a_terminated_push_has_pushed_what_it_read() {
  mkfifo "$folder/lines"
  "$command_path" push q <"$folder/lines" &
  local pusher=$! code=0
  exec 7>"$folder/lines"
  seq 100 >&7
  soon eval '[[ $(figure ready) == 100 ]]'
  kill -TERM "$pusher"
  wait "$pusher" || code=$?
  equal 143 "$code"
  equal 100 "$(figure ready)"
}

test_verbose_sums_up_on_standard_error() {
  seq 1000 | hp -v push q 2>"$folder/err"
  grep -q '^headpond: 1,000 items pushed' "$folder/err"
  hp -v pop q -n all 2>"$folder/err" >/dev/null
  grep -q '^headpond: 1,000 items popped' "$folder/err"
  seq 10 | hp push q 2>"$folder/err"
  equal "" "$(<"$folder/err")"
}

test_a_full_disk_gives_the_items_back() {
  [[ -w /dev/full ]] || return 0
  seq 10 | hp push q
  local code=0
  hp pop q -n all >/dev/full 2>"$folder/err" || code=$?
  equal 3 "$code"
  said "standard output"
  equal "$(seq 10)" "$(hp pop q -n all)"
}

test_workers_pass_items_on() {
  seq 1000 | hp push in
  hp pop in -n all | sed 's/$/!/' | hp push out
  equal "$(seq 1000 | sed 's/$/!/')" "$(hp pop out -n all)"
}
