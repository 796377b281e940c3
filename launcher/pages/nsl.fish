
# What clap's completion does not know: names of sandboxes, and that the command behind -- is none of nsl's.
complete -c nsl -n '__fish_seen_subcommand_from NAMED; and not __fish_nsl_is_inside' -f -a '(nsl ps -aq 2>/dev/null)'

function __fish_nsl_is_inside
    contains -- -- (commandline -opc)
end
function __fish_nsl_inside
    set -l words (commandline -opc)
    set -e words[1..(contains -i -- -- $words)]
    complete -C (string join ' ' -- (string escape -- $words) (commandline -ct))
end
complete -c nsl -n __fish_nsl_is_inside -f -a '(__fish_nsl_inside)'
