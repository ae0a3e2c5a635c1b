#!/usr/bin/env bash
# The exact commands behind results/modes.*: mode coverage at equal training time on one core for every
# model and seed, two runs at a time on a machine of two cores. Finished runs are skipped, interrupted
# ones go on. BENCH_DATA holds MNIST.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bench="${PYTHON:-.venv/bin/python} -m bench"
results="${RESULTS:-results}"
ten=0,1,2,3,4,5,6,7,8,9

sweep() { # core, experiment, dataset, models, seeds, further overrides
  # A diverged run is a result: the sweep says so, exits with 1, and the next one starts.
  taskset -c "$1" $bench -m experiment="$2" dataset="$3" model="$4" seed="$5" \
    results_root="$results" "${@:6}" || [[ $? -eq 1 ]]
}

ten_steps='model.build.samplers=[ddim-10]' # 26000 samples of 50 evaluations would outlast the training

# Of the stacked sets every held-out image is drawn, whatever the seed.
first() {
  sweep 0 modes_stacked_mnist stacked_mnist ddpm_small 0 "$ten_steps" # half an hour of drawing
  sweep 0 modes_points ring8 mlp_gan_points "$ten"
  sweep 0 modes_stacked_mnist stacked_mnist real 0
  sweep 0 modes_points ring8,grid25 real 0,1,2
}

second() {
  sweep 1 modes_points ring8,grid25 ddpm_mlp "$ten"
  sweep 1 modes_stacked_mnist stacked_mnist dcgan_small 0,1,2
  sweep 1 modes_stacked_digits stacked_digits dcgan_small 0,1,2
  sweep 1 modes_stacked_digits stacked_digits ddpm_small 0,1,2 "$ten_steps"
  sweep 1 modes_stacked_digits stacked_digits real 0
  sweep 1 modes_points grid25 mlp_gan_points "$ten"
}

first & lanes=$!
second
wait "$lanes"
$bench.compare "$results"/runs/{ring8,grid25,stacked_digits,stacked_mnist} --out "$results" --page modes
