#!/usr/bin/env bash
# numba 0.68.1: a cached function that closes over a compiled one is compiled, and stored beside the others, by every process.
#
# Version:  numba 0.68.1.
# Expected: with `cache=True` the first process compiles a function and stores it, and every later process loads what is stored, as
#           happens where the inner function is named in the module.
# Seen:     where a factory hands the inner compiled function over as a closed-over variable, each process finds nothing, compiles
#           again and adds a file. Three processes leave three files for one function, so that a kernel made by a factory costs its
#           compilation in every run of a sweep and the cache grows for ever. Nothing is raised or logged. The key of the cache holds
#           the closed-over object as it is pickled, and that has an identifier which each process draws anew. A closed-over number
#           does no harm.
# Source:   the outputs; the limitations in https://numba.readthedocs.io/en/stable/developer/caching.html do not name it;
#           numba/numba issue 6264.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/environment"
"$folder/environment/bin/python" -m pip install -qq --disable-pip-version-check numba==0.68.1

cat > "$folder/kernels.py" <<'PYTHON'
from numba import njit


@njit
def square(x):
    return x * x


@njit(cache=True)
def by_name(x):
    return square(x) + 1.0


def of_a_function(inner):
    @njit(cache=True)
    def by_closure(x):
        return inner(x) + 1.0

    return by_closure


def of_a_number(number):
    @njit(cache=True)
    def by_number(x):
        return square(x) + number

    return by_number


by_closure, by_number = of_a_function(square), of_a_number(1.0)
PYTHON

cat > "$folder/look.py" <<'PYTHON'
import sys
from pathlib import Path

import kernels
import numba

process = int(sys.argv[1])
seen = {}
for name in ("by_name", "by_number", "by_closure"):
    kernel = getattr(kernels, name)
    if kernel(3.0) != 10.0:
        sys.exit(f"{name} computes something else")
    loaded = sum(kernel.stats.cache_hits.values())
    seen[name] = (loaded, len(list((Path(__file__).parent / "__pycache__").glob(f"*{name}*.nbc"))))
said = ", ".join(f"{name} {'loaded' if n else 'compiled'}, files {files}" for name, (n, files) in seen.items())
print(f"numba {numba.__version__}, process {process}: {said}")
later = int(process > 1)
if seen != {"by_name": (later, 1), "by_number": (later, 1), "by_closure": (0, process)}:
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON

for process in 1 2 3; do
  "$folder/environment/bin/python" "$folder/look.py" "$process"
done
