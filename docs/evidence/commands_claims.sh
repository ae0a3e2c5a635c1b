#!/usr/bin/env bash
# The runs that the claims of conf/claims are judged by, and their page: about an hour and a quarter for each seed of all models,
# two runs at a time on two cores with no other work. The same command goes on where it was interrupted. BENCH_DATA holds
# Fashion-MNIST, and the extra `signals` is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source .venv/bin/activate
python -m bench.decide experiment=claims_small hydra/launcher=joblib results_root=docs/evidence/claims hours="${HOURS:-20}"
python -m bench.compare docs/evidence/claims/runs --out docs/evidence/claims --no-report
rm -f docs/evidence/claims/*.tex docs/evidence/claims/map.*
