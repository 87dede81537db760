#!/bin/sh
exec /opt/mesosphere/bin/java -Xmx32m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -version
