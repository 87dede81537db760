# Checks of the running host.

check_systemd() {
    local version
    if ! version=$(systemctl --version 2>/dev/null); then
        fail systemd 'systemctl is missing' 'use a distribution with systemd'
        return 0
    fi
    version=${version#systemd }
    version=${version%%[!0-9]*}
    if ! at_least "${version:-0}" 200; then
        fail systemd "version ${version:-unknown} is older than 200" 'use a newer release of the distribution'
    elif [ ! -d /run/systemd/system ] && [ -z "$no_start" ]; then
        fail systemd 'it does not run this host' 'boot the host with systemd, or give --no-start or --root'
    else
        pass systemd "version $version"
    fi
}

check_selinux() {
    local enforcing='' policy='' line
    if [ -r /sys/fs/selinux/enforce ]; then read -r enforcing </sys/fs/selinux/enforce || true; fi
    if [ "$enforcing" != 1 ]; then
        pass selinux 'not enforcing'
        return 0
    fi
    if [ -r /etc/selinux/config ]; then
        while read -r line; do
            case $line in SELINUXTYPE=*) policy=${line#*=} ;; esac
        done </etc/selinux/config
    fi
    if [ "$policy" = targeted ]; then
        pass selinux 'enforcing, policy targeted'
    else
        fail selinux "enforcing, with policy ${policy:-unknown}" \
            'use the policy targeted, or set SELINUX=permissive in /etc/selinux/config and reboot'
    fi
}

check_clock() {
    local now status
    printf -v now '%(%s)T' -1
    if ((now < preflight_not_before)); then
        fail clock 'it is set to a time before this software was made' 'set it, and keep it with NTP: timedatectl set-ntp true'
        return 0
    fi
    status=$(timeout 10 timedatectl status 2>/dev/null) || status=''
    if [[ $status == *ynchronized:\ yes* ]]; then
        pass clock 'synchronised'
    else
        warn clock 'not known to be synchronised' 'run chrony, ntpd or systemd-timesyncd: hosts of a cluster must agree on the time'
    fi
}

check_cgroups() {
    local name enabled found='' missing=''
    if [ -r /sys/fs/cgroup/cgroup.controllers ]; then
        read -r found </sys/fs/cgroup/cgroup.controllers || true
    elif [ -r /proc/cgroups ]; then
        while read -r name _ _ enabled; do
            [ "$enabled" != 1 ] || found+=" $name"
        done </proc/cgroups
    fi
    for name in cpu memory; do
        [[ " $found " == *" $name "* ]] || missing+=" $name"
    done
    if [ -z "$missing" ]; then
        pass cgroups 'cpu and memory can be limited'
    else
        fail cgroups "controllers are missing:$missing" \
            "enable them in the kernel, often by cgroup_enable=memory on its command line, and reboot"
    fi
}

# Loaded, built in, or there to be loaded.
has_module() {
    local line
    [ ! -d "/sys/module/$1" ] || return 0
    while read -r line; do
        [ "${line##*[[:space:]]}" != "$1" ] || return 0
    done </proc/filesystems
    if [ -r "/lib/modules/$(uname -r)/modules.builtin" ]; then
        while read -r line; do
            line=${line##*/}
            [ "${line%%.ko*}" != "$1" ] || return 0
        done <"/lib/modules/$(uname -r)/modules.builtin"
    fi
    modprobe -n -q "$1" 2>/dev/null
}

check_overlay() {
    if has_module overlay; then
        pass overlay 'the kernel has it'
    else
        fail overlay 'the kernel has no overlay file system' 'use a kernel that has the module overlay'
    fi
}

check_modules() {
    local name
    for name in ${preflight_modules[@]+"${preflight_modules[@]}"}; do
        if has_module "$name"; then
            pass "module-$name" 'the kernel has it'
        else
            warn "module-$name" 'the kernel does not have it' "what needs it will not work: modprobe $name says why"
        fi
    done
}

# A setting is KEY VALUE; a value `>=N` is a least one.
check_sysctls() {
    local setting key value file is before=$failures
    for setting in ${preflight_sysctls[@]+"${preflight_sysctls[@]}"}; do
        key=${setting%% *} value=${setting#* }
        file=/proc/sys/${key//.//}
        if ! is=$(cat "$file" 2>/dev/null); then
            fail "sysctl-$key" "the kernel does not know it" "use a kernel that has $key"
            continue
        fi
        is=${is//[[:space:]]/ }
        case $value in
        '>='*)
            [[ $is =~ ^[0-9]+$ ]] && ((10#$is >= 10#${value#>=})) && continue
            value=${value#>=}
            ;;
        *) [ "$is" != "$value" ] || continue ;;
        esac
        fail "sysctl-$key" "it is $is, not $value" "sysctl -w '$key=$value', and the same line in a file of /etc/sysctl.d"
    done
    if [ ${#preflight_sysctls[@]} -gt 0 ] && [ "$failures" = "$before" ]; then
        pass sysctls 'as wanted'
    fi
}

# used_ports PROTOCOL: `PORT ADDRESS` of each listening TCP (state 0A) or unconnected UDP socket (state 07).
# The kernel writes upper-case hexadecimal.
used_ports() {
    local file state local_address state_wanted=0A
    case $1 in udp*) state_wanted=07 ;; esac
    file=/proc/net/$1
    [ -r "$file" ] || return 0
    while read -r _ local_address _ state _; do
        [ "$state" = $state_wanted ] || continue
        printf '%d %s\n' "$((16#${local_address##*:}))" "${local_address%:*}"
    done <"$file"
}

check_ports() {
    local protocol port address line wanted=' ' before=$failures seen=' '
    [ ${#roles[@]} -gt 0 ] || return 0
    if [ "$(install_state)" = ours ]; then
        pass ports 'not asked: what is installed may use them'
        return 0
    fi
    for line in ${preflight_ports[@]+"${preflight_ports[@]}"}; do
        ! is_among "${line%% *}" "${roles[@]}" || wanted+="${line#* } "
    done
    for protocol in tcp tcp6 udp udp6; do
        while read -r port address; do
            [[ $wanted == *" $port "* ]] || continue
            [[ $seen != *" ${protocol%6}-$port "* ]] || continue
            seen+="${protocol%6}-$port "
            fail "port-$port" "${protocol%6} port $port is in use at $(address_of "$address")" \
                "stop what has it; this names it: ss -lntup 'sport = :$port'"
        done < <(used_ports "$protocol")
    done
    [ "$failures" != "$before" ] || pass ports 'free'
}

# An IPv4 address as people write it; IPv6 is only told as such.
address_of() {
    if [ ${#1} = 8 ]; then
        printf '%d.%d.%d.%d' "0x${1:6:2}" "0x${1:4:2}" "0x${1:2:2}" "0x${1:0:2}"
    else
        printf 'an IPv6 address'
    fi
}

docker_root=''

check_docker() {
    local versions version info driver status
    [ -n "$preflight_docker" ] || return 0
    if ! command -v docker >/dev/null; then
        fail docker 'it is missing' 'install docker 1.13 or newer'
        return 0
    fi
    if ! versions=$(timeout 30 docker version --format '{{.Client.Version}} {{.Server.Version}}' 2>/dev/null); then
        fail docker 'its daemon does not answer' 'start it: systemctl enable --now docker; docker version says why not'
        return 0
    fi
    for version in $versions; do
        at_least "$version" 1.13 && continue
        fail docker "version $version is older than 1.13" 'install docker 1.13 or newer'
        return 0
    done
    pass docker "client and server: $versions"
    if ! info=$(timeout 30 docker info --format '{{.Driver}}|{{.DockerRootDir}}|{{json .DriverStatus}}' 2>/dev/null); then
        fail docker-storage 'docker does not tell its storage driver' "see: docker info"
        return 0
    fi
    driver=${info%%|*} status=${info#*|}
    docker_root=${status%%|*} status=${status#*|}
    if [ "$driver" = devicemapper ] && [[ $status == *[Ll]oop\ file* ]]; then
        fail docker-storage 'devicemapper on a loop device loses data' 'use the storage driver overlay2'
    else
        pass docker-storage "$driver"
    fi
}

# Without ftype, xfs cannot hold what overlay writes.
check_file_systems() {
    local directory info found
    if [ ${#roles[@]} -gt 0 ]; then
        is_among slave "${roles[@]}" || is_among slave_public "${roles[@]}" || return 0
    fi
    for directory in ${preflight_work_directories[@]+"${preflight_work_directories[@]}"} "$docker_root"; do
        [ -n "$directory" ] || continue
        found=$(existing "$directory")
        if [ "$(stat -f -c %T -- "$found")" != xfs ]; then
            pass "ftype-$directory" "$found is no xfs"
        elif ! info=$(xfs_info "$(mount_point "$found")" 2>/dev/null); then
            warn "ftype-$directory" "$found is xfs, but xfs_info does not tell whether it has ftype=1" 'install xfsprogs and look'
        elif [[ $info == *ftype=1* ]]; then
            pass "ftype-$directory" "$found has ftype=1"
        else
            fail "ftype-$directory" "$found is xfs without ftype=1" \
                "put a file system there that was made by mkfs.xfs -n ftype=1"
        fi
    done
}
