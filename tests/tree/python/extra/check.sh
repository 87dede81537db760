#!/bin/sh
exec python3 -c 'import sys; sys.exit(sys.version_info < (3, 7))'
