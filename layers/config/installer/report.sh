# What is said, for people and as JSON.

# Descriptor 3 is for people: stdout, or stderr where stdout is for the JSON document.
say() { printf '%s\n' "$*" >&3; }

# What hosts answer may hold anything; terminals and JSON get printable ASCII.
printable() { printf '%s' "${1//[^ -~]/?}"; }

check_results=() check_names=() check_messages=() check_fixes=()
failures=0

# record RESULT NAME MESSAGE [FIX]
record() {
    local message fix
    message=$(printable "$3")
    fix=$(printable "${4:-}")
    check_results+=("$1") check_names+=("$2") check_messages+=("$message") check_fixes+=("$fix")
    say "$(printf '%-4s  %-22s %s' "$1" "$2" "$message")"
    [ -z "$fix" ] || say "      $(printf '%-22s %s' '' "-> $fix")"
}
pass() { record PASS "$@"; }
warn() { record WARN "$@"; }
fail() {
    record FAIL "$@"
    failures=$((failures + 1))
}

json_text() {
    local out='' char i
    for ((i = 0; i < ${#1}; i++)); do
        char=${1:i:1}
        case $char in
        '"') out+='\"' ;;
        [\\]) out+="\\\\" ;;
        [[:cntrl:]]) out+=$(printf '\\u%04x' "'$char") ;;
        *) out+=$char ;;
        esac
    done
    printf '"%s"' "$out"
}

# json_report STATUS RESULT MESSAGE NEXT
json_report() {
    local i separator=''
    printf '{"schema":"dcos-install-1","config_id":%s,"cluster_name":%s,"roles":[' \
        "$(json_text "$config_id")" "$(json_text "$cluster_name")"
    for ((i = 0; i < ${#roles[@]}; i++)); do
        printf '%s%s' "$separator" "$(json_text "${roles[i]}")"
        separator=,
    done
    printf '],"result":%s,"exit":%d,"step":%s,"message":%s,"next":%s,"checks":[' \
        "$(json_text "$2")" "$1" "$(json_text "$step")" "$(json_text "$3")" "$(json_text "$4")"
    separator=''
    for ((i = 0; i < ${#check_names[@]}; i++)); do
        printf '%s\n{"name":%s,"result":"%s","message":%s,"fix":%s}' "$separator" \
            "$(json_text "${check_names[i]}")" "${check_results[i]}" \
            "$(json_text "${check_messages[i]}")" "$(json_text "${check_fixes[i]}")"
        separator=,
    done
    printf ']}\n'
}

finished=''

# finish STATUS RESULT MESSAGE [NEXT]: the last line, and the end.
finish() {
    local message next
    message=$(printable "$3")
    next=$(printable "${4:-}")
    finished=yes
    say "$2: $message${next:+. Next: $next}"
    [ -z "$json" ] || json_report "$1" "$2" "$message" "$next"
    exit "$1"
}

# die STATUS MESSAGE [FIX]: a step that cannot go on.
die() {
    finish "$1" failed "${step:+$step: }$2" "${3:-mend it and run the same command again; it goes on where it stopped}"
}

# Whatever ends the script unforeseen is a failed step, whatever status it had.
on_exit() {
    local status=$?
    [ -z "$finished" ] || exit "$status"
    trap - EXIT
    finish 1 failed "${step:-begin}: ended with $status" 'see the lines above; then run the same command again'
}

begin() {
    step=$1
    say "== $1"
}
