#!/usr/bin/env bash
# Train with Slurm: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [ARGUMENTS]
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS may be set in the environment.
set -euo pipefail
if [ $# -lt 4 ]; then sed -n '2,3s/^# //p' "$0" >&2; exit 2; fi

exec bash "$(dirname "$0")/slurm_run.sh" "$1" "$2" train "$3" --work-dir "$4" "${@:5}"
