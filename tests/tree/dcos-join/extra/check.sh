#!/bin/bash
# A host that belongs to a cluster must be seen there, in each of its roles.
set -euo pipefail
[ -e /opt/mesosphere/etc/master_list ] || exit 0
set -a
# shellcheck source=/dev/null
. /opt/mesosphere/environment.export
if [ -e /opt/mesosphere/etc/zookeeper/client.env ]; then
    # shellcheck source=/dev/null
    . /opt/mesosphere/etc/zookeeper/client.env
fi
for role in /etc/mesosphere/roles/*; do
    case ${role##*/} in
    master | slave | slave_public) dcos-join check "${role##*/}" ;;
    esac
done
