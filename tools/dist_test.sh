#!/usr/bin/env bash
# Test on several devices: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [ARGUMENTS]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment.
set -euo pipefail
if [ $# -lt 3 ]; then sed -n '2,3s/^# //p' "$0" >&2; exit 2; fi

exec bash "$(dirname "$0")/dist_run.sh" "$3" test "$1" "$2" "${@:4}"
