
_nsl_names() {
    local -a names
    names=(${(f)"$(nsl ps -aq 2>/dev/null)"})
    compadd -a names
}
