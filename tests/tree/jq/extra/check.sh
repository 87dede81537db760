#!/bin/sh
# A regular expression, so that the library must be there.
test "$(/opt/mesosphere/bin/jq -n '"zookeeper" | test("^zoo(k|p)ee")')" = true
