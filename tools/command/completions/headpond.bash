# Completion of headpond(1) for bash.

_headpond_names() { # _headpond_names queue|ns|key: the names that the pond holds, if it can be asked
  local line
  "${COMP_WORDS[0]}" --json "${pond_options[@]}" ls 2>/dev/null | while IFS= read -r line; do
    [[ $line =~ \"$1\":\"([^\"\\]*)\" ]] && printf '%s\n' "${BASH_REMATCH[1]}"
  done | sort -u
}

_headpond() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local commands="push pop peek dead cancel pause resume drain configure clear append scan trim cursor export import create ls
    stat top verify reap gc flush rm doctor"
  local everywhere="--pond --scope --json --verbose --help"
  local limits="--lease --max-attempts --max-items --max-bytes"
  local command='' options='' arguments=0 i
  local pond_options=()
  COMPREPLY=()

  for ((i = 1; i < COMP_CWORD; ++i)); do
    case ${COMP_WORDS[i]} in
      --pond | --scope) pond_options+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]}"); ((++i)) ;;
      --delay | --priority | --wait | -w | --count | -n | --after | --interval | -i | --limit | --max-* | --min-page | --lease) ((++i)) ;;
      -*) ;;
      *) if [[ -z $command ]]; then command=${COMP_WORDS[i]}; else ((++arguments)); fi ;;
    esac
  done

  case $previous in
    --pond)
      local shm=${HEADPOND_SHM:-/dev/shm}
      mapfile -t COMPREPLY < <(compgen -W "$(cd "$shm" 2>/dev/null && printf '%s\n' "headpond.$UID."* | sed "s/^headpond\.$UID\.//")" -- "$current")
      return
      ;;
    --scope) mapfile -t COMPREPLY < <(compgen -W "$(_headpond_names scope)" -- "$current"); return ;;
    --priority) mapfile -t COMPREPLY < <(compgen -W "0 1 2 3 4 5 6 7" -- "$current"); return ;;
    --wait | -w) mapfile -t COMPREPLY < <(compgen -W "forever" -- "$current"); return ;;
    --count | -n) mapfile -t COMPREPLY < <(compgen -W "all" -- "$current"); return ;;
    --delay | --after | --interval | -i | --limit | --max-* | --min-page | --lease) return ;;
  esac

  if [[ -z $command ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$commands $everywhere --version" -- "$current")
    return
  fi
  case $command in
    push) options="--null --delay --priority --no-wait --durable --ids" ;;
    pop) options="--count --wait --null" ;;
    peek) options="--count --long --null" ;;
    dead) options="--count --redrive" ;;
    drain) options="--wait" ;;
    configure) options=$limits ;;
    append) options="--null --no-wait --durable --seqs" ;;
    scan) options="--after --count --follow --null" ;;
    cursor) options="--drop" ;;
    export) options="--all" ;;
    import) options="--fresh --durable" ;;
    create) options="--limit --max-participants --min-page --max-page $limits" ;;
    top) options="--interval --count" ;;
    rm) options="--keep-state" ;;
  esac
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options $everywhere" -- "$current")
    return
  fi
  case $command:$arguments in
    push:0 | pop:0 | peek:0 | dead:0 | cancel:0 | pause:0 | resume:0 | drain:0 | configure:0 | clear:0)
      mapfile -t COMPREPLY < <(compgen -W "$(_headpond_names queue)" -- "$current")
      ;;
    append:0 | scan:0 | trim:0 | cursor:0) mapfile -t COMPREPLY < <(compgen -W "$(_headpond_names ns)" -- "$current") ;;
    export:0 | import:0) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    append:1 | scan:1 | trim:1 | cursor:1) mapfile -t COMPREPLY < <(compgen -W "$(_headpond_names key)" -- "$current") ;;
  esac
}

complete -F _headpond headpond
