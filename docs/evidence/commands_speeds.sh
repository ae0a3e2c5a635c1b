#!/usr/bin/env bash
# The nominal speeds of the map (budget.images_per_second): every model trains for 20 s, all models in turn, two seeds of a model
# at a time, six times in all (ten for 16x16), so that a slow time of the machine hits all of them. Leave the machine idle
# otherwise. The medians that are printed go into conf/experiment/map.yaml, rounded to three digits. drifting_small trains in parts
# of its budget, which are shares of images where seconds are nominal: put the speed of its first runs in, run its grid again, and
# take that one's.
#   docs/evidence/commands_speeds.sh 16     (or 8, 28 and colour; about a quarter of an hour)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source .venv/bin/activate
size=${1:?which size: 8, 16, 28 or colour} rounds=3 base=px$1 more=(dataset.train_images=null)
case $size in
  16) rounds=5 ;;
  colour) base=colour more=("dataset.path=${CIFAR10_ZIP:-../shared/data/cifar10-jpeg.zip}") ;;
esac
names=(gan drifting dcgan diffusion ddpm flow few_step)
sweep=$(IFS=, && echo "${names[*]/#/${base}_}")
for ((seed = 0; seed < rounds; seed++)); do
  python -m bench -m experiment=map hydra/launcher=joblib "results_root=results/speeds_$size" "seed=$seed,$((seed + rounds))" \
    "sweep=$sweep" budget.seconds=20 budget.checkpoints=1 budget.first_point=null evaluator.samples=100 \
    evaluator.resamples=0 evaluator.cost_seconds=0 evaluator.every_sampler=false evaluator.extractor=patches "${more[@]}"
done
python scripts/speeds.py "results/speeds_$size/runs" --out "docs/evidence/speeds_$size.csv"
