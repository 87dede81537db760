# The steps.

# The payload of a single file begins after its script.
payload() { tail -c "+$((payload_offset + 1))" -- "$self"; }

verify_payload() {
    local size sum
    [ "$payload_size" != 0 ] || return 0
    [ -f "$self" ] || die 4 'the payload is in this file, which has to be a file' 'save it and run it: bash FILE ROLE'
    size=$(stat -c %s -- "$self")
    if ((size != payload_offset + payload_size)); then
        die 4 "$self has $size bytes, not $((payload_offset + payload_size))" 'copy it again, all of it'
    fi
    sum=$(payload | sha256sum)
    [ "${sum%% *}" = "$payload_sha256" ] || die 4 "$self is damaged: its payload is not sha256 $payload_sha256" 'copy it again'
}

unpack_payload() {
    local i wanted
    wanted_files
    # Whole directories at once: members have the paths of the product.
    payload | tar -x -o -f - -C "$work" || die 1 "the payload cannot be unpacked to $work" 'free space there and run the same command again'
    for ((i = 0; i < ${#wanted[@]}; i += 3)); do
        [ -f "$work/${wanted[i]}" ] || die 4 "the payload has no ${wanted[i]}" 'make the single file again'
    done
}

# The configuration that is installed here, or what else lies in its place: pkgpanda keeps the product's document.
installed_id() {
    local record=$root/opt/mesosphere/product.json line id=''
    if is_verified "$record" "$product_sha256" "$product_size"; then
        printf '%s' "$config_id"
        return 0
    fi
    if [ -f "$record" ]; then
        while read -r line; do
            [[ $line != \"config_id\":* ]] || id=${line#*: }
        done <"$record"
    fi
    id=${id//[!0-9a-z]/}
    printf '%s' "${id:-something else}"
}

installed_roles() {
    local file names=''
    for file in "$root"/etc/mesosphere/roles/*; do
        [ ! -e "$file" ] || names+=" ${file##*/}"
    done
    printf '%s' "${names# }"
}

# Whether a directory holds nothing but what a file system and runs that were killed leave.
is_free() {
    local entry
    for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        case ${entry##*/} in
        lost+found | .mesosphere.unfinished) ;;
        *) [ ! -e "$entry" ] && [ ! -L "$entry" ] || return 1 ;;
        esac
    done
}

# none, unfinished, ours, roles or other
install_state() {
    local directory=$root/opt/mesosphere role have
    have=$(installed_roles)
    if [ -n "$root" ] && [ -L "$root/opt" ]; then
        echo none # pkgpanda looks beneath the root
        return 0
    fi
    if [ -n "$have" ] && [ ${#roles[@]} -gt 0 ]; then
        for role in $have; do is_among "$role" "${roles[@]}" || { echo roles && return 0; }; done
        for role in "${roles[@]}"; do [ -e "$root/etc/mesosphere/roles/$role" ] || { echo roles && return 0; }; done
    fi
    if [ -e "$directory" ] && [ ! -d "$directory" ]; then
        echo other
    elif [ -e "$directory/.mesosphere.moving" ]; then
        echo unfinished # killed where it lies on a file system of its own
    elif [ ! -d "$directory" ] || is_free "$directory"; then
        if [ -d "$root/etc/systemd/system/dcos.target.wants" ]; then echo other; else echo none; fi
    elif [ "$(installed_id)" != "$config_id" ]; then
        echo other
    elif [ -L "$root/etc/systemd/system/multi-user.target.wants/dcos-setup.service" ]; then
        echo ours # the link comes last
    else
        echo unfinished
    fi
}

unpack() {
    local role arguments=() status=0
    for role in "${roles[@]}"; do arguments+=(--role "$role"); done
    [ -z "$secrets_tar" ] || arguments+=(--secrets "$secrets_tar")
    chmod 0755 -- "$work/$pkgpanda_path"
    "$work/$pkgpanda_path" install --product "$work/$product_path" --sha256 "$product_sha256" --from "$work" \
        --root "${root:-/}" "${arguments[@]}" >&3 9<&- || status=$?
    [ $status = 0 ] || die 1 "pkgpanda ended with $status" 'see its lines above, mend it, and run the same command again'
}

start() {
    local options=()
    [ -z "$no_block" ] || options=(--no-block)
    systemctl daemon-reload 9<&- || die 1 'systemd did not reload its units' 'see: systemctl status'
    systemctl ${options[@]+"${options[@]}"} start dcos-setup.service 9<&- ||
        die 1 'dcos-setup.service did not start' 'see: journalctl -u dcos-setup; then run the same command again'
    # It has started this already, unless somebody stopped it since.
    [ -n "$no_block" ] || systemctl start --no-block dcos.target 9<&- ||
        die 1 'dcos.target did not start' 'see: systemctl status dcos.target'
}

will_start() { [ -z "$root" ] && [ -z "$no_start" ]; }

next_hint() {
    if [ -n "$root" ]; then
        printf 'boot it; services start by themselves'
    elif [ -n "$no_start" ]; then
        printf 'systemctl daemon-reload && systemctl start dcos-setup, or reboot'
    else
        printf 'systemctl list-dependencies dcos.target shows its services'
    fi
}

install_product() {
    local what
    what="${cluster_name//[^ -~]/?} ($config_id) as ${roles[*]}${root:+ in $root}"
    case $(install_state) in
    ours)
        # A run may have been killed before it had tidied up.
        [ ! -e "$(work_directory)" ] || make_work_directory
        if will_start; then
            begin start
            start
        fi
        [ -z "$work" ] || rm -rf -- "$work"
        finish 0 'installed already' "$what" "$(next_hint)"
        ;;
    roles) die 1 "this host is $(installed_roles), not ${roles[*]}" 'give the role that it has; on a host that runs, pkgpanda role changes it' ;;
    other) die 1 "/opt/mesosphere holds $(installed_id)" 'bring it here with dcos_node_upgrade.sh from the same place, or take a fresh host' ;;
    esac
    begin fetch
    make_work_directory
    if [ "$payload_size" != 0 ]; then unpack_payload; else fetch_files; fi
    begin verify
    verify_files
    begin unpack
    unpack
    if will_start; then
        begin start
        start
    fi
    begin clean
    rm -rf -- "$work"
    finish 0 'done' "installed $what" "$(next_hint)"
}

main() {
    local argument
    # What the caller's shell has set is no matter: neither language, nor search path, nor permissions.
    export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    unset CDPATH GREP_OPTIONS BASH_ENV ENV TAR_OPTIONS
    umask 022
    self=${BASH_SOURCE[0]:-}
    step='' work=''
    exec 3>&1
    for argument; do
        case $argument in
        -h | --help) usage && exit 0 ;;
        --json) json=yes && exec 3>&2 ;;
        esac
    done
    trap on_exit EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    parse_arguments "$@"
    [ "$EUID" = 0 ] || finish 5 failed 'this needs root' 'run it with sudo'
    if [ -n "$root" ]; then
        [ -d "$root" ] || misused "--root $root is no directory"
        root=$(cd -P -- "$root" && pwd)
        [ "$root" != / ] || root=''
    fi
    verify_payload
    # What is installed needs no check, nor anybody who serves it still.
    if [ -z "$only_preflight" ] && [ "$(install_state)" = ours ]; then no_preflight=yes; fi
    if [ -z "$no_preflight" ]; then
        begin preflight
        preflight
        if [ "$failures" != 0 ]; then
            finish 3 unfit "preflight found $failures to mend; nothing was changed" 'mend what is marked FAIL and run the same command again'
        fi
        [ -z "$only_preflight" ] || finish 0 fit 'preflight found nothing to mend' 'run without --preflight-only to install'
    fi
    install_product
}
