#!/usr/bin/env bash
# Four runs of the map made again with a seed that it does not have, on another day than the map's: a table says whether their FIDs
# lie where the map expects them. Chosen before they were run: 16x16, one family and number of images each. About ten minutes;
# seconds are nominal, so that other work on the machine changes no FID.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source .venv/bin/activate
again() { # images, nominal speed, model and its settings
  python -m bench experiment=map dataset=fashion_mnist dataset.image_size=16 dataset.name=fashion_mnist_16 \
    "dataset.train_images=$1" "budget.images_per_second=$2" "model=$3" "${@:4}" seed=100 results_root=docs/evidence/again
}
again null 2030 gan_r1_ema_small
again 250 300 rectified_flow_small 'model.build.samplers=[heun-5,euler-2]'
again 4000 305 v_diffusion_small 'model.build.samplers=[dpmpp-10,dpmpp-2]'
again 1000 178 meanflow_small 'model.build.samplers=[meanflow-4,meanflow-2,meanflow-1]'
python scripts/made_again.py docs/evidence/map/runs docs/evidence/again/runs
