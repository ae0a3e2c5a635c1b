#!/usr/bin/env bash
# Runs of the map made again with a seed that it does not have: a table says whether their FIDs lie where the map expects them. Both
# sets were chosen before they were run: 16x16, one family and number of images each. About ten minutes each; seconds are nominal,
# so that other work on the machine, or a slower machine, changes no FID.
#   docs/evidence/commands_again.sh day       on the map's machine, on another day
#   docs/evidence/commands_again.sh machine   on another machine, without bf16
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source .venv/bin/activate
again() { # folder, images, nominal speed, model and its settings
  python -m bench experiment=map dataset=fashion_mnist dataset.image_size=16 dataset.name=fashion_mnist_16 \
    "dataset.train_images=$2" "budget.images_per_second=$3" "model=$4" "${@:5}" seed=100 "results_root=$1"
}
flow='model.build.samplers=[heun-5,euler-2]' diffusion='model.build.samplers=[dpmpp-10,dpmpp-2]'
case ${1:?day or machine} in
  day)
    to=docs/evidence/again
    again $to null 2030 gan_r1_ema_small
    again $to 250 300 rectified_flow_small "$flow"
    again $to 4000 305 v_diffusion_small "$diffusion"
    again $to 1000 178 meanflow_small 'model.build.samplers=[meanflow-4,meanflow-2,meanflow-1]'
    ;;
  machine)
    to=docs/evidence/again_elsewhere
    again $to 250 2030 gan_r1_ema_small
    again $to null 300 rectified_flow_small "$flow"
    again $to null 305 v_diffusion_small "$diffusion"
    again $to 1000 676 drifting_small
    ;;
esac
python scripts/made_again.py docs/evidence/map/runs $to/runs
