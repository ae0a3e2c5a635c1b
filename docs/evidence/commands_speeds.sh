#!/usr/bin/env bash
# The nominal speeds of the map (budget.images_per_second): every model trains for 20 s, all models in turn, two seeds of a model
# at a time, ten times in all, so that a slow time of the machine hits all of them. Leave the machine idle otherwise. The medians
# that are printed go into conf/experiment/map.yaml, rounded to three digits. Where a grid has no speed yet, its first ones are
# those by the clock: put them in and run this again, since a model may train in parts of the budget (drifting_small), which then
# are shares of images.
#   docs/evidence/commands_speeds.sh 16     (or 8, 28, long, colour; about 25 minutes)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source .venv/bin/activate
size=${1:?which size: 8, 16, 28, long or colour}
case $size in
  16) base=px16 ; grids=px16_gan,px16_drifting,px16_dcgan ;;
  colour) base=colour ; grids=colour_gan,colour_drifting,colour_dcgan ;;
  long) base=long ; grids=long ;;
  *) base=px$size ; grids=px$size ;;
esac
more=()
if [[ $size == colour ]]; then
  more=("dataset.path=${CIFAR10_ZIP:-../shared/data/cifar10-jpeg.zip}")
else
  more=(dataset.train_images=null)
fi
for seed in {0..4}; do
  python -m bench -m experiment=map hydra/launcher=joblib "results_root=results/speeds_$size" "seed=$seed,$((seed + 5))" \
    "sweep=$grids,${base}_diffusion,${base}_ddpm,${base}_flow,${base}_few_step" budget.seconds=20 budget.checkpoints=1 \
    budget.first_point=null evaluator.samples=100 evaluator.resamples=0 evaluator.cost_seconds=0 evaluator.every_sampler=false "${more[@]}"
done
python scripts/speeds.py "results/speeds_$size/runs" --out "docs/evidence/speeds_$size.csv"
