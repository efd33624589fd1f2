#!/usr/bin/env bash
# Train on several devices: tools/dist_train.sh CONFIG PROCESSES [ARGUMENTS]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment.
set -euo pipefail
if [ $# -lt 2 ]; then sed -n '2,3s/^# //p' "$0" >&2; exit 2; fi

python -m mmfdta.cli.launch \
    --nnodes="${NNODES:-1}" \
    --node-rank="${NODE_RANK:-0}" \
    --nproc-per-node="$2" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" \
    --master-port="${PORT:-29500}" \
    -m mmfdta train "$1" --launcher pytorch "${@:3}"
