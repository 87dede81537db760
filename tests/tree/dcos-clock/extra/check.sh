#!/bin/sh
test -s /var/lib/dcos/dcos-clock/last
