# zsh -c THIS zsh FILE LINE: what zsh offers at the end of LINE, by the completion in FILE. A zsh at a terminal of its own
# is given the line and a tab.
zmodload zsh/zpty
export FILE=$1 SETUP='
    PATH=/run/bin:$PATH PS1= PS2= LISTMAX=100000
    unset zle_bracketed_paste
    autoload -U compinit && compinit -u -D
    source $FILE
    compadd() {
        local -a found
        if [[ $* != *-[OAD]* ]]; then
            builtin compadd -O found "$@"
            (( $#found )) && print -rl -- offer:${^found}
        fi
        builtin compadd "$@"
    }
    finish() { print -r -- "end of offers" }
    comppostfuncs=(finish)
'
zpty shell zsh -f -i
zpty -w shell 'eval $SETUP; print -r -- "set" up'
while zpty -r shell line; do
    [[ $line != *'set up'* ]] || break
done
zpty -w -n shell "$2"$'\t'
while zpty -r shell line; do
    [[ $line != *'end of offers'* ]] || break
    [[ $line != *offer:* ]] || print -r -- ${${line##*offer:}%%[$'\r\n']*}
done
zpty -d shell
