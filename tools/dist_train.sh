#!/usr/bin/env bash
# Train on several devices: tools/dist_train.sh CONFIG PROCESSES [ARGUMENTS]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment.
set -euo pipefail
if [ $# -lt 2 ]; then sed -n '2,3s/^# //p' "$0" >&2; exit 2; fi

exec bash "$(dirname "$0")/dist_run.sh" "$2" train "$1" "${@:3}"
