#!/usr/bin/env bash
# Test with Slurm: tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [ARGUMENTS]
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS may be set in the environment.
set -euo pipefail
if [ $# -lt 4 ]; then sed -n '2,3s/^# //p' "$0" >&2; exit 2; fi

exec bash "$(dirname "$0")/slurm_run.sh" "$1" "$2" test "$3" "$4" "${@:5}"
