#!/usr/bin/env bash
# The exact commands behind results/digits.* and results/fashion_mnist.*: two minutes (digits) and ten
# (Fashion-MNIST) of training on one core for every model and seed, two runs at a time on a machine of
# two cores, in bf16. Finished runs are skipped, interrupted ones go on. BENCH_DATA holds the data sets.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bench="${PYTHON:-.venv/bin/python} -m bench"
results="${RESULTS:-results}"

sweep() { # core, experiment, dataset, models, seeds
  # A diverged run is a result: the sweep says so, exits with 1, and the next one starts.
  taskset -c "$1" $bench -m experiment="$2" dataset="$3" model="$4" seed="$5" \
    results_root="$results" || [[ $? -eq 1 ]]
}

first() {
  sweep 0 families_digits digits mlp_gan,dcgan_small,ddpm_small 0,1
  sweep 0 families_fashion_mnist fashion_mnist ddpm_small 0,1
  sweep 0 families_fashion_mnist fashion_mnist mlp_gan,dcgan_small 0
}

second() {
  sweep 1 families_digits digits real 0,1,2
  sweep 1 families_digits digits mlp_gan,dcgan_small,ddpm_small 2
  sweep 1 families_fashion_mnist fashion_mnist real 0,1,2
  sweep 1 families_fashion_mnist fashion_mnist ddpm_small 2
  sweep 1 families_fashion_mnist fashion_mnist mlp_gan,dcgan_small 1,2
}

first & lanes=$!
second
wait "$lanes"
$bench.compare "$results/runs/digits" "$results/runs/fashion_mnist" --out "$results"
