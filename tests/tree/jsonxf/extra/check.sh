#!/bin/sh
test "$(echo '{ "a": [1, 2] }' | /opt/mesosphere/bin/jsonxf -m)" = '{"a":[1,2]}'
