#!/bin/sh
# Where there is a ZooKeeper, it must keep what it is given; elsewhere it is enough that all modules are there.
set -eu
# shellcheck source=/dev/null
. /opt/mesosphere/environment.export
exec python3 - "$(systemctl cat dcos-zookeeper.service >/dev/null 2>&1 && echo 127.0.0.1:2181)" <<'PYTHON'
import sys
from kazoo.client import KazooClient

if sys.argv[1]:
    client = KazooClient(sys.argv[1])
    client.start(timeout=60)
    path = client.create("/check-", b"kept", ephemeral=True, sequence=True)
    assert client.get(path)[0] == b"kept"
    client.stop()
PYTHON
