#!/bin/sh
# Writes the units of the active packages for this host's roles to /run and starts them.
# Everything it makes is gone at the next boot, and what an earlier run made and no role has any more
# is stopped and removed: stale units cannot exist.
set -eu

root=/opt/mesosphere
run=/run/systemd/system
wants=$run/dcos.target.wants

# The first source that names a role wins: files, a systemd credential, the kernel command line.
roles() {
    names=$(ls /etc/mesosphere/roles 2>/dev/null || true)
    [ -n "$names" ] || names=$(cat /run/credentials/@system/dcos.roles 2>/dev/null || true)
    [ -n "$names" ] || names=$(tr ' ' '\n' </proc/cmdline | sed -n 's/^dcos\.roles=//p')
    printf '%s\n' "$names" | tr ',[:space:]' '\n' | grep -xE '[a-z0-9_]+' || true
}

# Copies the units in one directory of a package, makes dcos.target want them and adds them to $units.
units=
take_units() {
    for unit in "$1"/*; do
        [ -f "$unit" ] || continue
        cp -L "$unit" "$run/${unit##*/}"
        ln -sf "../${unit##*/}" "$wants/${unit##*/}"
        units="$units ${unit##*/}"
    done
}

# Links what a package has for a role into the install root, where it is not linked yet: a host that was not
# installed for its role gets here what the others have.
link_role() {
    for directory in bin etc include lib; do
        from=$(readlink -f "$1")/${directory}_$2
        [ -d "$from" ] || continue
        # The shells of find expand them.
        # shellcheck disable=SC2016
        (
            cd "$from"
            find . -type d -exec sh -c 'for path; do mkdir -p "$0/$path"; done' "$root/$directory" {} +
            find . ! -type d -exec sh -c 'from=$1; shift
                for path; do [ -L "$0/$path" ] || ln -s "$from/${path#./}" "$0/$path"; done' \
                "$root/$directory" "$from" {} +
        )
    done
}

# Stops while systemd still knows how; the link goes last, so that a run that was killed is made up for.
drop_other_units() {
    for link in "$wants"/*; do
        unit=${link##*/}
        case "$units " in *" $unit "*) continue ;; esac
        [ -L "$link" ] || continue
        systemctl stop "$unit" || true
        rm -f "$run/$unit"
        rm -f "$link"
    done
}

# Users and state directories, on a host where nothing has made them since the packages came.
make_users() {
    if [ -f /etc/sysusers.d/dcos.conf ]; then systemd-sysusers dcos.conf; fi
    if [ -f /etc/tmpfiles.d/dcos.conf ]; then systemd-tmpfiles --create dcos.conf; fi
}

make_users
mkdir -p "$wants"
roles=$(roles)
for package in "$root"/active/*; do
    [ -n "$roles" ] || break
    take_units "$package/dcos.target.wants"
    for role in $roles; do
        link_role "$package" "$role"
        take_units "$package/dcos.target.wants_$role"
    done
done
drop_other_units
systemctl daemon-reload
if [ -z "$roles" ]; then
    # A warning, so that it reaches consoles that show nothing less.
    echo "<4>dcos-setup: waiting for a role: none in /etc/mesosphere/roles, the credential dcos.roles or dcos.roles= of the kernel"
    exit 0
fi
systemctl start --no-block dcos.target
# Several roles are several lines: unquoted, they become words of one.
# shellcheck disable=SC2086
echo "dcos-setup: started as" $roles
