#!/usr/bin/env bash
# Collect wheels for a machine without a network: tools/make_wheels.sh FOLDER [PYTHON]
# They are mmfdta, OneDL's family and what that needs, for Linux on x86-64 and the given
# version of Python (3.12). PyTorch is left out, and so is what comes with most of its
# installations (numpy, scipy, OpenCV, Pillow, matplotlib, scikit-image, rich, PyYAML,
# requests, tqdm); EXTRA names more packages, such as EXTRA="scikit-image rich".
set -euo pipefail
if [ $# -lt 1 ]; then sed -n '2,6s/^# //p' "$0" >&2; exit 2; fi

here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
family=$(grep '^onedl-mm[cde]' "$here/requirements/mminstall.txt")
# Without code for a processor, and not all of them on the index as wheels.
# shellcheck disable=SC2086
python -m pip wheel -q --no-deps -w "$1" "$here" $family \
    addict yapf terminaltables termcolor platformdirs imaug
platforms=()
for number in 2_28 2_27 2_24 2_17; do
    platforms+=(--platform "manylinux_${number}_x86_64")
done
# shellcheck disable=SC2086
python -m pip download -q --no-deps --only-binary=:all: -d "$1" \
    --python-version "${2:-3.12}" --implementation cp "${platforms[@]}" \
    --platform manylinux2014_x86_64 --platform manylinux1_x86_64 \
    pycocotools shapely lap av supervision 'pydeprecate<0.14' defusedxml ${EXTRA:-}
du -sh "$1"
