#!/bin/bash
# Succeeds if the gimlet of this container is ready. Requests /readyz with bash alone, so that the
# image needs no HTTP client. The first argument is the port of the ops listener, 8086 by default.
set -euo pipefail
exec 3<>"/dev/tcp/127.0.0.1/${1:-8086}"
printf 'GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
IFS= read -r -t 2 status <&3
[[ $status == *' 200 '* ]]
