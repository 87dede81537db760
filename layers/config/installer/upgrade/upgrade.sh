# The steps.

json='' roles=() root='' blobs=()
home=/opt/mesosphere

check_host() {
    local file machine
    machine=$(uname -m)
    [ "$machine" = "$pkgpanda_machine" ] || die 1 "this is $machine, the product is for $pkgpanda_machine" \
        "configure a product that was built for $machine"
    [ -L "$home/current" ] || die 1 "$home/current is not there: nothing is installed on this host" \
        'install it with dcos_install.sh'
    if needs_network && [ -z "$(downloader)" ]; then
        die 1 'neither curl nor wget is there' 'install curl'
    fi
    for file in /etc/mesosphere/roles/*; do
        [ ! -e "$file" ] || roles+=("${file##*/}")
    done
}

# Packages are immutable: what is there already is what it should be, or an audit finds it.
choose_packages() {
    local i id
    for ((i = 0; i < ${#packages[@]}; i += 3)); do
        id=${packages[i]##*/}
        [ ! -d "$home/packages/${id%.tar.xz}" ] || continue
        blobs+=("${packages[@]:i:3}")
    done
}

run_pkgpanda() {
    local status=0 log=$work/pkgpanda.log
    [ -z "$secrets_tar" ] || options+=(--secrets "$secrets_tar")
    set -- upgrade --product "$work/$product_path" --sha256 "$product_sha256" --from "$work" ${options[@]+"${options[@]}"}
    chmod 0755 -- "$work/$pkgpanda_path"
    if [ -n "$verbose" ]; then
        "$work/$pkgpanda_path" "$@" >&3 2>&1 9<&- || status=$?
    else
        "$work/$pkgpanda_path" "$@" >"$log" 2>&1 9<&- || status=$?
        [ $status = 0 ] || cat -- "$log" >&3
    fi
    [ $status = 0 ] || die 1 "pkgpanda ended with $status" \
        'see its lines above, mend it, and run the same command again'
}

main() {
    local argument
    # What the caller's shell has set is no matter: neither language, nor search path, nor permissions.
    export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    unset CDPATH GREP_OPTIONS BASH_ENV ENV TAR_OPTIONS
    umask 022
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
    check_host
    begin fetch
    make_work_directory
    choose_packages
    fetch_files
    begin verify
    verify_files
    begin upgrade
    run_pkgpanda
    begin clean
    rm -rf -- "$work"
    finish 0 'done' "this host has ${cluster_name//[^ -~]/?} ($config_id)" \
        "'/opt/mesosphere/bin/pkgpanda rollback' goes back"
}
