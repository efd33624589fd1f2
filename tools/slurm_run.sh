#!/usr/bin/env bash
# Run a verb with Slurm: tools/slurm_run.sh PARTITION JOB_NAME VERB [ARGUMENTS]
# GPUS (as many processes), GPUS_PER_NODE (0 for none), CPUS_PER_TASK and SRUN_ARGS may be
# set in the environment.
set -euo pipefail
if [ $# -lt 3 ]; then sed -n '2,4s/^# //p' "$0" >&2; exit 2; fi

gpus_per_node="${GPUS_PER_NODE:-8}"
read -r -a srun_args <<< "${SRUN_ARGS:-}"
if [ "$gpus_per_node" != 0 ]; then
    srun_args=(--gres="gpu:$gpus_per_node" --ntasks-per-node="$gpus_per_node"
        ${srun_args[@]+"${srun_args[@]}"})
fi

exec srun --partition="$1" \
    --job-name="$2" \
    --ntasks="${GPUS:-8}" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${srun_args[@]+"${srun_args[@]}"} \
    python -u -m mmfdta "$3" --launcher slurm "${@:4}"
