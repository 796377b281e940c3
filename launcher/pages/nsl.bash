
# What clap's completion does not know: names of sandboxes, and that the command behind -- is none of nsl's.
_nsl_here() {
    local at=2
    if [[ ${COMP_WORDS[1]} == run || ${COMP_WORDS[1]} == exec ]]; then
        for ((; at < COMP_CWORD; at++)); do
            [[ ${COMP_WORDS[at]} == -- ]] || continue
            if declare -F _command_offset >/dev/null; then
                _command_offset $((at + 1))
            elif ((at + 1 == COMP_CWORD)); then
                mapfile -t COMPREPLY < <(compgen -c -- "$2")
            else
                COMPREPLY=()
            fi
            return
        done
    fi
    case ${COMP_WORDS[1]} in
    NAMED)
        if ((COMP_CWORD > 1)) && [[ $2 != -* && $3 != -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$(nsl ps -aq 2>/dev/null)" -- "$2")
            return
        fi
        ;;
    esac
    _nsl "$@"
}
complete -F _nsl_here -o nosort -o bashdefault -o default nsl
