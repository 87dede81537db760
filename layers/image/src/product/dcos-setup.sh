#!/bin/sh
# Writes the units of the active packages for this host's roles to /run and starts them.
# Everything it makes is gone at the next boot, so stale units cannot exist.
set -eu

root=/opt/mesosphere
run=/run/systemd/system

# The first source that names a role wins: files, a systemd credential, the kernel command line.
roles() {
    names=$(ls /etc/mesosphere/roles 2>/dev/null || true)
    [ -n "$names" ] || names=$(cat /run/credentials/@system/dcos.roles 2>/dev/null || true)
    [ -n "$names" ] || names=$(tr ' ' '\n' </proc/cmdline | sed -n 's/^dcos\.roles=//p')
    printf '%s\n' "$names" | tr ',[:space:]' '\n' | grep -xE '[a-z0-9_]+' || true
}

# Copies the units in one directory of a package and makes dcos.target want them.
take_units() {
    for unit in "$1"/*; do
        [ -f "$unit" ] || continue
        cp -L "$unit" "$run/${unit##*/}"
        ln -sf "../${unit##*/}" "$run/dcos.target.wants/${unit##*/}"
    done
}

roles=$(roles)
if [ -z "$roles" ]; then
    echo "dcos-setup: waiting for a role: none in /etc/mesosphere/roles, the credential dcos.roles or dcos.roles= of the kernel"
    exit 0
fi
mkdir -p "$run/dcos.target.wants"
for package in "$root"/active/*; do
    take_units "$package/dcos.target.wants"
    for role in $roles; do
        take_units "$package/dcos.target.wants_$role"
    done
done
systemctl daemon-reload
systemctl start --no-block dcos.target
# Several roles are several lines: unquoted, they become words of one.
# shellcheck disable=SC2086
echo "dcos-setup: started as" $roles
