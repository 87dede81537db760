# Whether the host is fit: every check says PASS, WARN or FAIL, and a FAIL how to mend it.

preflight() {
    check_bash
    check_machine
    check_commands
    check_earlier_install
    check_secrets
    check_writable
    check_executable
    check_free_space
    check_dns
    check_bootstrap_url
    # What follows asks the running host, which is not the one that a mounted root will be.
    [ -z "$root" ] || return 0
    check_systemd
    check_selinux
    check_clock
    check_cgroups
    check_overlay
    check_modules
    check_sysctls
    check_ports
    check_docker
    check_file_systems
}

check_bash() {
    local version="${BASH_VERSINFO[0]}.${BASH_VERSINFO[1]}"
    if at_least "$version" 4.2; then
        pass bash "version $version"
    else
        fail bash "version $version is older than 4.2" 'install a newer bash'
    fi
}

# at_least VERSION WANTED: compares numbers between dots; anything after the numbers does not count.
at_least() {
    local have want i
    IFS=. read -r -a have <<<"${1%%[!0-9.]*}"
    IFS=. read -r -a want <<<"$2"
    for ((i = 0; i < ${#want[@]}; i++)); do
        ((10#${have[i]:-0} == 10#${want[i]})) || break
    done
    ((i == ${#want[@]} || 10#${have[i]:-0} > 10#${want[i]:-0}))
}

check_machine() {
    local machine
    machine=$(uname -m)
    if [ "$machine" = "$pkgpanda_machine" ]; then
        pass machine "$machine"
    else
        fail machine "this is $machine, the product is for $pkgpanda_machine" \
            "install on $pkgpanda_machine, or configure a product that was built for $machine"
    fi
}

# Our own needs where this runs; the product's where it will run.
check_commands() {
    local name before=$failures
    for name in cat chmod df du mkdir mktemp mv rm sha256sum sleep stat tail tar timeout uname; do
        command -v "$name" >/dev/null || fail "command-$name" "$name is missing" "install the package that has $name"
    done
    if needs_network && [ -z "$(downloader)" ]; then
        fail command-curl 'neither curl nor wget is there' 'install curl, or use the single file that needs no network'
    fi
    for name in ${preflight_commands[@]+"${preflight_commands[@]}"}; do
        has_command "$name" || fail "command-$name" "$name is missing" "install the package that has $name"
    done
    [ "$failures" != "$before" ] || pass commands 'all are there'
}

has_command() {
    local directory
    [ -n "$root" ] || { command -v -- "$1" >/dev/null && return 0 || return 1; }
    for directory in usr/local/sbin usr/local/bin usr/sbin usr/bin sbin bin; do
        # A link may point within the root only, so it is enough that it is there.
        [ -x "$root/$directory/$1" ] || [ -L "$root/$directory/$1" ] || continue
        return 0
    done
    return 1
}

check_earlier_install() {
    local name
    name=earlier-install
    case $(install_state) in
    none) pass $name 'none' ;;
    unfinished) pass $name 'an unfinished one of this configuration, which goes on' ;;
    ours) pass $name "this configuration is installed already" ;;
    roles)
        fail $name "this host is $(installed_roles), not ${roles[*]+${roles[*]}}" \
            "give the role that it has, or install a fresh host: roles are for life"
        ;;
    *)
        fail $name "/opt/mesosphere holds $(installed_id)" \
            "bring this one here with dcos_node_upgrade.sh from the same place, or take a fresh host"
        ;;
    esac
}

check_secrets() {
    local path missing=0
    [ ${#secrets[@]} -gt 0 ] || return 0
    for path in "${secrets[@]}"; do
        [ -f "$root$path" ] || missing=$((missing + 1))
    done
    if [ -n "$secrets_tar" ] && [ -r "$secrets_tar" ]; then
        pass secrets "$secrets_tar brings them"
    elif [ -n "$secrets_tar" ]; then
        fail secrets "$secrets_tar cannot be read" 'copy dcos-secrets.tar here and name it with --secrets'
    elif [ $missing = 0 ]; then
        pass secrets 'they are on this host'
    else
        fail secrets "$missing files of secrets are missing" \
            "copy dcos-secrets.tar here ('bake configure' wrote it) and give --secrets FILE"
    fi
}

# access(2) tells of read-only file systems too, whoever asks.
check_writable() {
    local directory
    for directory in /etc /opt; do
        if [ -w "$(existing "$root$directory")" ]; then
            pass "writable$directory" "$(existing "$root$directory") can be written"
        else
            fail "writable$directory" "$root$directory cannot be written" \
                "mount the file system of $root$directory read-write"
        fi
    done
}

# The nearest directory that exists.
existing() {
    local path=$1
    while [ ! -d "$path" ] && [ -n "$path" ]; do path=${path%/*}; done
    printf '%s' "${path:-/}"
}

# mount_point PATH: that of the file system that PATH is in.
mount_point() {
    local line
    line=$(df -P -- "$1" | tail -n 1)
    printf '%s' "/${line#*% /}"
}

# mount_options PATH: those of its mount, between commas.
mount_options() {
    local wanted at options found=''
    wanted=$(mount_point "$1")
    # The last mount at a place hides those before it; blanks in paths are written \040.
    while read -r _ at _ options _; do
        [ "$(printf '%b' "${at//\\/\\0}")" != "$wanted" ] || found=$options
    done </proc/self/mounts
    printf ',%s,' "$found"
}

check_executable() {
    local directory
    directory=$(existing "$(work_directory)")
    if [[ $(mount_options "$directory") == *,noexec,* ]]; then
        fail executable "$directory is mounted noexec, and everything in /opt/mesosphere is run from there" \
            "mount it without noexec: mount -o remount,exec $(mount_point "$directory")"
    else
        pass executable "programs run from $directory"
    fi
}

# Bootstrap tarballs grow about fourfold, and pkgpanda writes all of it before it takes what is there away.
check_free_space() {
    local directory line free need least i bytes=0 mb=$((1024 * 1024))
    directory=$(existing "$(work_directory)")
    line=$(df -Pk -- "$directory" | tail -n 1)
    read -r _ _ _ free _ <<<"$line"
    free=$(((free + $(unfinished_kb)) / 1024))
    for ((i = 2; i < ${#blobs[@]}; i += 3)); do bytes=$((bytes + blobs[i])); done
    need=$((preflight_free_space_mb + (bytes + mb - 1) / mb))
    least=$(((${blobs[2]:-0} * 8 + mb - 1) / mb)) # the first is the bootstrap tarball
    ((need >= least)) || need=$least
    if [ "$(install_state)" = ours ]; then
        pass free-space 'nothing more is needed'
    elif ((free >= need)); then
        pass free-space "$free MB at $directory, $need needed"
    else
        fail free-space "$free MB at $directory, but $need are needed" 'free space there, or mount a larger disk at /opt'
    fi
}

# What an unfinished run has taken is not needed again.
unfinished_kb() {
    local path size sum=0
    for path in "$(work_directory)" "$root/opt/.mesosphere.unfinished"; do
        if [ ! -d "$path" ] || [ -L "$path" ]; then continue; fi
        size=$(du -skx -- "$path" 2>/dev/null) || continue
        sum=$((sum + ${size%%[!0-9]*}))
    done
    printf '%d' "$sum"
}

url_host() {
    local host=${url#*://}
    host=${host%%/*}
    host=${host##*@}
    case $host in
    \[*) host=${host#\[} && host=${host%%\]*} ;;
    *) host=${host%%:*} ;;
    esac
    printf '%s' "$host"
}

check_dns() {
    local host
    needs_network || return 0
    host=$(url_host)
    case $host in
    *:* | '') return 0 ;;
    *[!0-9.]*) ;;
    *) return 0 ;; # an address
    esac
    if timeout 20 getent ahosts "$host" >/dev/null 2>&1; then
        pass dns "$host is known"
    else
        fail dns "$host is not known to this host's resolver" 'mend /etc/resolv.conf or the name server, or give --url with an address'
    fi
}

check_bootstrap_url() {
    local problem copy
    needs_network || return 0
    copy=$(mktemp -d /run/dcos-preflight.XXXXXX)
    if problem=$(fetch_once "$product_path" "$copy/product" "$product_size" 2>&1); then
        if is_verified "$copy/product" "$product_sha256" "$product_size"; then
            pass bootstrap-url "$url offers this configuration"
        else
            fail bootstrap-url "$url offers another configuration than that of this script" \
                'fetch dcos_install.sh from there again, or serve the whole serve directory'
        fi
    else
        fail bootstrap-url "$url/$product_path: ${problem##*$'\n'}" \
            'check the web server, routes and firewalls, or give --url with another place that serves the same'
    fi
    rm -rf -- "$copy"
}
