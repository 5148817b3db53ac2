# Completion of headpond(1) for fish.

# The names that the pond holds, if it can be asked: queue, ns, key or scope.
function __headpond_names
    set -l asked
    set -l words (commandline -opc)
    for i in (seq (count $words))
        if test "$words[$i]" = --pond
            set asked --pond $words[(math $i + 1)]
        end
    end
    headpond --json $asked ls 2>/dev/null | string match -rg "\"$argv[1]\":\"([^\"\\\\]*)\"" | sort -u
end

function __headpond_ponds
    set -l shm /dev/shm
    set -q HEADPOND_SHM; and set shm $HEADPOND_SHM
    for file in $shm/headpond.(id -u).*
        string replace -r '^.*/headpond\.[0-9]+\.' '' $file
    end
end

set -l queue_commands push pop peek dead cancel pause resume drain configure clear
set -l log_commands append scan trim cursor
set -l other_commands export import create ls stat top verify reap gc flush rm doctor
set -l commands $queue_commands $log_commands $other_commands
set -l none "not __fish_seen_subcommand_from $commands"

complete -c headpond -f
complete -c headpond -l pond -x -a '(__headpond_ponds)' -d 'the pond'
complete -c headpond -l scope -x -a '(__headpond_names scope)' -d 'the scope'
complete -c headpond -l json -d 'machine output'
complete -c headpond -s v -l verbose -d 'say more on standard error'
complete -c headpond -s h -l help -d help
complete -c headpond -n $none -l version -d versions

complete -c headpond -n $none -a push -d 'put items into a queue'
complete -c headpond -n $none -a pop -d 'take items out'
complete -c headpond -n $none -a peek -d 'show the items that would be popped next'
complete -c headpond -n $none -a dead -d 'show the dead letters, or send them back'
complete -c headpond -n $none -a cancel -d 'take one item out'
complete -c headpond -n $none -a pause -d 'deliver nothing until resume'
complete -c headpond -n $none -a resume -d 'end a pause or a drain'
complete -c headpond -n $none -a drain -d 'take no more items and wait until all are done'
complete -c headpond -n $none -a configure -d 'change or show limits of a queue'
complete -c headpond -n $none -a clear -d 'drop the items of a queue or of the scope'
complete -c headpond -n $none -a append -d 'append records to a log'
complete -c headpond -n $none -a scan -d 'print records of a log'
complete -c headpond -n $none -a trim -d 'drop records below a seq'
complete -c headpond -n $none -a cursor -d 'show or move the place of a reader'
complete -c headpond -n $none -a export -d 'write queues and logs to a file'
complete -c headpond -n $none -a import -d 'put back what export wrote'
complete -c headpond -n $none -a create -d 'make the pond'
complete -c headpond -n $none -a ls -d 'list queues and logs'
complete -c headpond -n $none -a stat -d 'show the figures of the pond'
complete -c headpond -n $none -a top -d 'watch rates, depths, workers and memory'
complete -c headpond -n $none -a verify -d 'check every invariant'
complete -c headpond -n $none -a reap -d 'clean up after dead workers'
complete -c headpond -n $none -a gc -d 'park or drop what nobody uses'
complete -c headpond -n $none -a flush -d 'wait until what was posted is on disk'
complete -c headpond -n $none -a rm -d 'remove the pond'
complete -c headpond -n $none -a doctor -d 'check what the host offers'

complete -c headpond -n "__fish_seen_subcommand_from $queue_commands" -a '(__headpond_names queue)' -d queue
complete -c headpond -n "__fish_seen_subcommand_from $log_commands" -a '(__headpond_names ns; __headpond_names key)' -d log
complete -c headpond -n '__fish_seen_subcommand_from push pop peek append scan' -s 0 -l null -d 'NUL instead of newlines'
complete -c headpond -n '__fish_seen_subcommand_from pop peek dead scan top' -s n -l count -x -a all -d 'at most this many'
complete -c headpond -n '__fish_seen_subcommand_from pop drain' -s w -l wait -x -a forever -d 'wait this long'
complete -c headpond -n '__fish_seen_subcommand_from push' -l delay -x -d 'ready after this time'
complete -c headpond -n '__fish_seen_subcommand_from push' -l priority -x -a '0 1 2 3 4 5 6 7' -d '0 to 7'
complete -c headpond -n '__fish_seen_subcommand_from push append' -l no-wait -d 'fail if there is no room'
complete -c headpond -n '__fish_seen_subcommand_from export import' -F
complete -c headpond -n '__fish_seen_subcommand_from export' -l all -d 'every scope'
complete -c headpond -n '__fish_seen_subcommand_from import' -l fresh -d 'only if nothing is there'
complete -c headpond -n '__fish_seen_subcommand_from push append import' -l durable -d 'end when they are on disk'
complete -c headpond -n '__fish_seen_subcommand_from push' -l ids -d 'print ids'
complete -c headpond -n '__fish_seen_subcommand_from append' -l seqs -d 'print seqs'
complete -c headpond -n '__fish_seen_subcommand_from peek' -s l -l long -d 'with id and counts'
complete -c headpond -n '__fish_seen_subcommand_from dead' -l redrive -d 'send them back'
complete -c headpond -n '__fish_seen_subcommand_from scan' -l after -x -d 'greater seqs'
complete -c headpond -n '__fish_seen_subcommand_from scan' -s f -l follow -d 'wait for more'
complete -c headpond -n '__fish_seen_subcommand_from cursor' -l drop -d 'forget it'
complete -c headpond -n '__fish_seen_subcommand_from configure create' -l lease -x -d 'a claim ends after this time'
complete -c headpond -n '__fish_seen_subcommand_from configure create' -l max-attempts -x -d 'claims until a dead letter'
complete -c headpond -n '__fish_seen_subcommand_from configure create' -l max-items -x -d 'items of a queue'
complete -c headpond -n '__fish_seen_subcommand_from configure create' -l max-bytes -x -d 'bytes of a queue'
complete -c headpond -n '__fish_seen_subcommand_from create' -l limit -x -d 'memory for items'
complete -c headpond -n '__fish_seen_subcommand_from create' -l max-participants -x -d 'processes at once'
complete -c headpond -n '__fish_seen_subcommand_from create' -l min-page -x -d 'smallest page'
complete -c headpond -n '__fish_seen_subcommand_from create' -l max-page -x -d 'largest page'
complete -c headpond -n '__fish_seen_subcommand_from top' -s i -l interval -x -d 'between two looks'
complete -c headpond -n '__fish_seen_subcommand_from rm' -l keep-state -d 'keep the state folder'
