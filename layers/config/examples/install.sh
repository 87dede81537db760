#!/bin/bash
# Installs DC/OS on this host for the roles that are its arguments. What is done already is not done again.
set -euo pipefail
installer_url={{ installer_url }}
installer_sha256={{ installer_sha256 }}
{% if secrets %}
# User data is no place for secrets: bring dcos-secrets.tar here before, from wherever you keep such things.
secrets=/root/dcos-secrets.tar
{% endif %}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
installer=$work/dcos_install.sh
fetch() {
    if command -v curl >/dev/null; then
        curl --fail --silent --show-error --location --globoff --connect-timeout 10 --output "$installer" --url "$installer_url"
    else
        wget --quiet --timeout=30 --tries=1 --output-document="$installer" -- "$installer_url"
    fi
}
# The server, or the way to it, may come up later than this host.
attempt=1
until fetch; do
    [ "$attempt" -lt 60 ] || { echo "dcos-install: nothing came from $installer_url in $attempt attempts" >&2; exit 1; }
    attempt=$((attempt + 1))
    sleep 10
done
echo "$installer_sha256  $installer" | sha256sum --check --status || {
    echo "dcos-install: $installer_url is not the installer that this is for (SHA-256 $installer_sha256)" >&2
    echo "dcos-install: the server has lost it, or has another file there: use an example of the configuration that is served now" >&2
    exit 1
}
# Waiting for services here could wait for itself: some of them start only when the boot is over.
{% if secrets %}
bash "$installer" --no-block-dcos-setup --secrets "$secrets" "$@"
{% else %}
bash "$installer" --no-block-dcos-setup "$@"
{% endif %}
