
# Names of sandboxes.
complete -c nsl -n '__fish_seen_subcommand_from NAMED' -f -a '(nsl ps -aq 2>/dev/null)'
