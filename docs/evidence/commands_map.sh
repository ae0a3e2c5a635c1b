#!/usr/bin/env bash
# The runs of the map, one size at a time, and its pages. Two runs at a time: leave the machine idle otherwise. Each line goes
# on where it was interrupted, also in a fresh clone, which holds the finished runs' tables. BENCH_DATA names the data.
#   docs/evidence/commands_map.sh [16 | colour | 8 | 28 | long] …   (all, without arguments)
# 16x16 and CIFAR-10 have a number of seeds of the flagships and one of the plain pair, decided before; the other sizes are run by
# bench.decide.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source .venv/bin/activate
here=(experiment=map hydra/launcher=joblib results_root=docs/evidence/map)

fixed() { # grids of a size, number of seeds, and further settings
  local base=$1 last=$(($2 - 1)) more=("${@:3}") models=gan,drifting,diffusion,flow,few_step seed
  python -m bench -m "${here[@]}" "sweep=real_${base#px}" "${more[@]}"
  python -m bench -m "${here[@]}" seed=0 "sweep=$(grids "$base" "$models,dcgan,ddpm")" "${more[@]}"
  for ((seed = 1; seed <= last; seed++)); do
    python -m bench -m "${here[@]}" "seed=$seed" "sweep=$(grids "$base" "$models")" "${more[@]}"
  done
}

decided() { # grid of the GANs, prefix of the others, real-data baseline, hours
  python -m bench.decide "${here[@]}" "hours=${HOURS:-$4}" "sweep=$3,$1,$(grids "$2" diffusion,ddpm,flow,few_step)"
}

grids() { # prefix, names with commas: each name with the prefix
  echo "$1_${2//,/,$1_}"
}

for part in "${@:-16 colour 8 28 long}"; do
  for size in $part; do
    case $size in
      16) fixed px16 5 ;;
      colour) fixed colour 3 "dataset.path=${CIFAR10_ZIP:-../shared/data/cifar10-jpeg.zip}" ;; # part of the names of runs
      long) decided long long real_28 60 ;;
      *) decided "px$size" "px$size" "real_$size" 20 ;;
    esac
  done
done
python -m bench.compare docs/evidence/map/runs --map --out docs/evidence/map --no-report
rm -f docs/evidence/map/*.tex docs/evidence/map/claims.*
python scripts/readme_map.py
