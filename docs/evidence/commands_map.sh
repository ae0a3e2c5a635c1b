#!/usr/bin/env bash
# The runs of the map, one size at a time, and its pages. Two runs at a time: leave the machine idle otherwise. Each line goes
# on where it was interrupted, also in a fresh clone, which holds the finished runs' tables. BENCH_DATA names the data.
#   docs/evidence/commands_map.sh [16 | 8 | 28 | long | colour] …   (all, without arguments)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source .venv/bin/activate
for part in "${@:-16 8 28 long colour}"; do
  for size in $part; do
    case $size in
      long) base=long ; real=real_28 ; hours=60 ; more=() ;;
      colour) base=colour ; real=real_colour ; hours=20
        more=("dataset.path=${CIFAR10_ZIP:-${BENCH_DATA:-data}/cifar10-jpeg.zip}") ;;
      *) base=px$size ; real=real_$size ; hours=20 ; more=() ;;
    esac
    python -m bench.decide experiment=map hydra/launcher=joblib results_root=docs/evidence/map "hours=$hours" \
      "sweep=$real,$base,${base}_diffusion,${base}_ddpm,${base}_flow,${base}_few_step" "${more[@]}"
  done
done
python -m bench.compare docs/evidence/map/runs --map --out docs/evidence/map --no-report
rm -f docs/evidence/map/*.tex docs/evidence/map/claims.*
python scripts/readme_map.py
