#!/usr/bin/env bash
# The runs of the map, one size at a time, and its pages. Two runs at a time: leave the machine idle otherwise. Each line goes
# on where it was interrupted, also in a fresh clone, which holds the finished runs' tables. BENCH_DATA names the data.
#   docs/evidence/commands_map.sh [16 | colour | 28 | 8 | long] …   (all, without arguments)
# A number of seeds of the flagships, decided before, and one of the plain pair.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source .venv/bin/activate
here=(experiment=map hydra/launcher=joblib results_root=docs/evidence/map)

grids() { # prefix, names: each name with the prefix, and commas
  local names=("${@:2}")
  (IFS=, && echo "${names[*]/#/$1_}")
}

seeds() { # prefix of the grids, grid of real data, number of seeds, and further settings
  local more=("${@:4}") flagships=(gan drifting diffusion flow few_step) seed
  python -m bench -m "${here[@]}" "sweep=$2" "${more[@]}"
  python -m bench -m "${here[@]}" seed=0 "sweep=$(grids "$1" "${flagships[@]}" dcgan ddpm)" "${more[@]}"
  for ((seed = 1; seed < $3; seed++)); do
    python -m bench -m "${here[@]}" "seed=$seed" "sweep=$(grids "$1" "${flagships[@]}")" "${more[@]}"
  done
}

for part in "${@:-16 colour 28 8 long}"; do
  for size in $part; do
    case $size in
      colour) seeds colour real_colour 3 "dataset.path=${CIFAR10_ZIP:-../shared/data/cifar10-jpeg.zip}" ;; # part of runs' names
      long) seeds long real_28 3 ;;
      *) seeds "px$size" "real_$size" 5 ;;
    esac
  done
done
python -m bench.compare docs/evidence/map/runs --map --out docs/evidence/map --no-report
rm -f docs/evidence/map/*.tex docs/evidence/map/claims.*
python scripts/readme_map.py
