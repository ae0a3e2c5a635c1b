#!/usr/bin/env bash
# The runs of the map, one size at a time, and its pages. Two runs at a time: leave the machine idle otherwise. Each line goes
# on where it was interrupted, also in a fresh clone, which holds the finished runs' tables. BENCH_DATA names the data.
#   docs/evidence/commands_map.sh [16 | 8 | 28 | long | colour] …             (all, without arguments)
#   SEEDS=0,1,2,3,4,5 docs/evidence/commands_map.sh 16   (first these seeds of every flagship, as a plain sweep)
#   HOURS=0 docs/evidence/commands_map.sh                (no run by bench.decide: the pages alone, or after SEEDS)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source .venv/bin/activate
for part in "${@:-16 8 28 long colour}"; do
  for size in $part; do
    case $size in
      long) base=long ; real=real_28 ; hours=60 ; more=() ;;
      colour) base=colour ; real=real_colour ; hours=20
        # the path is part of the names of the runs
        more=("dataset.path=${CIFAR10_ZIP:-../shared/data/cifar10-jpeg.zip}") ;;
      *) base=px$size ; real=real_$size ; hours=20 ; more=() ;;
    esac
    common=(experiment=map hydra/launcher=joblib results_root=docs/evidence/map "${more[@]}")
    if [[ -n ${SEEDS:-} ]]; then
      python -m bench -m "${common[@]}" "sweep=$base" model=gan_r1_ema_small,drifting_small "seed=$SEEDS"
      python -m bench -m "${common[@]}" "sweep=${base}_flow,${base}_diffusion,${base}_few_step" "seed=$SEEDS"
    fi
    if [[ ${HOURS:-$hours} != 0 ]]; then
      python -m bench.decide "${common[@]}" "hours=${HOURS:-$hours}" \
        "sweep=$real,$base,${base}_diffusion,${base}_ddpm,${base}_flow,${base}_few_step"
    fi
  done
done
python -m bench.compare docs/evidence/map/runs --map --out docs/evidence/map --no-report
rm -f docs/evidence/map/*.tex docs/evidence/map/claims.*
python scripts/readme_map.py
