#!/usr/bin/env bash
# The runs that the claims of conf/claims are judged by, and their page: about an hour and a quarter for each seed of all models,
# two runs at a time on two cores with no other work. The same command goes on where it was interrupted, also on another machine, with
# seeds of its own. BENCH_DATA holds Fashion-MNIST, and the extra `signals` is installed. SWEEP=gan,diffusion,… makes some grids only:
# those of signals go on only where their classifiers were trained, which are not in the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source .venv/bin/activate
python -m bench.decide experiment=claims_small hydra/launcher=joblib results_root=docs/evidence/claims hours="${HOURS:-20}" \
    machines=several ${SWEEP:+sweep="$SWEEP"}
python -m bench.compare docs/evidence/claims/runs --allow-mixed device --allow-mixed precision --out docs/evidence/claims --no-report
rm -f docs/evidence/claims/*.tex docs/evidence/claims/map.*
