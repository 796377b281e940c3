# bash -c THIS bash FILE LINE: what bash offers at the end of LINE, by the completion in FILE.
PATH=/run/bin:$PATH
source "$1"
read -ra COMP_WORDS <<<"$2"
[[ $2 != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
# There is one only while bash completes.
compopt() { :; }
[[ $(complete -p nsl) =~ ' -F '([^ ]+) ]]
"${BASH_REMATCH[1]}" nsl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
