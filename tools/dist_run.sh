#!/usr/bin/env bash
# Run a verb in several processes of a machine: tools/dist_run.sh PROCESSES VERB [ARGUMENTS]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment.
# MAX_RESTARTS: how often all processes start again after one has ended.
set -euo pipefail
if [ $# -lt 2 ]; then sed -n '2,4s/^# //p' "$0" >&2; exit 2; fi

nodes="${NNODES:-1}"
restarts="${MAX_RESTARTS:-0}"
if [ "$nodes" = 1 ] && [ -z "${PORT:-}" ]; then
    meet=(--standalone --local-addr=127.0.0.1)  # at any free port
elif [ "$restarts" = 0 ] && [[ "$nodes" != *:* ]]; then
    meet=(--node-rank="${NODE_RANK:-0}")
    meet+=(--master-addr="${MASTER_ADDR:-127.0.0.1}" --master-port="${PORT:-29500}")
else
    host=$([ "${NODE_RANK:-0}" = 0 ] && echo true || echo false)
    meet=(--rdzv-backend=c10d --rdzv-id=mmfdta --rdzv-conf=is_host="$host")
    meet+=(--rdzv-endpoint="${MASTER_ADDR:-127.0.0.1}:${PORT:-29500}")
fi
exec python -m mmfdta.cli.launch --nnodes="$nodes" --nproc-per-node="$1" \
    --max-restarts="$restarts" "${meet[@]}" -m mmfdta "$2" --launcher pytorch "${@:3}"
