# fish -c THIS fish FILE LINE: what fish offers at the end of LINE, by the completion in FILE.
set -x PATH /run/bin $PATH
source $argv[2]
complete -C "$argv[3]"
