#!/usr/bin/env bash
# The runs of the map, one size at a time, and its pages. Two runs at a time: leave the machine idle otherwise. Each line goes
# on where it was interrupted, also in a fresh clone, which holds the finished runs' tables. BENCH_DATA names the data.
#   docs/evidence/commands_map.sh [16 | 8 | 28 | long | colour] …   (all, without arguments)
# 16x16 has five seeds of the flagships and one of the plain pair, decided before; the other sizes are run by bench.decide.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source .venv/bin/activate
here=(experiment=map hydra/launcher=joblib results_root=docs/evidence/map)
models=(diffusion ddpm flow few_step)
for part in "${@:-16 8 28 long colour}"; do
  for size in $part; do
    more=() hours=20
    case $size in
      16)
        python -m bench -m "${here[@]}" sweep=real_16
        for seed in {0..4}; do
          python -m bench -m "${here[@]}" "seed=$seed" \
            sweep=px16_gan,px16_drifting,px16_diffusion,px16_flow,px16_few_step
        done
        python -m bench -m "${here[@]}" seed=0 sweep=px16_dcgan,px16_ddpm
        continue ;;
      long) real=real_28 ; first=long ; base=long ; hours=60 ;;
      colour) real=real_colour ; first=colour ; base=colour
        # the path is part of the names of the runs
        more=("dataset.path=${CIFAR10_ZIP:-../shared/data/cifar10-jpeg.zip}") ;;
      *) real=real_$size ; first=px$size ; base=px$size ;;
    esac
    python -m bench.decide "${here[@]}" "hours=${HOURS:-$hours}" \
      "sweep=$real,$first$(printf ",${base}_%s" "${models[@]}")" "${more[@]}"
  done
done
python -m bench.compare docs/evidence/map/runs --map --out docs/evidence/map --no-report
rm -f docs/evidence/map/*.tex docs/evidence/map/claims.*
python scripts/readme_map.py
