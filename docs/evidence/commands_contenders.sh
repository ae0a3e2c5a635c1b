#!/usr/bin/env bash
# One model of each family and the plain pair on MNIST, 28x28: two minutes each on one thread, three seeds;
# about half an hour on two cores with no other work. MNIST, because recipes and small models were chosen on
# Fashion-MNIST and on digits. The same sweep is started twice: a run that one process is at is left to it
# by the other. Finished runs are skipped, interrupted ones go on. BENCH_DATA holds MNIST. Tables appear in
# results/; RESULTS=docs/evidence overwrites the committed ones.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bench="${PYTHON:-.venv/bin/python} -m bench"
results="${RESULTS:-results}"
export OMP_NUM_THREADS=1

sweep() { # a run that fails is a result: the sweep says so and exits with 1
  $bench -m experiment=families dataset=mnist precision=bf16 threads=1 \
    results_root="$results/contenders" || [[ $? -eq 1 ]]
}

sweep & other=$!
sleep 20 # so that the two do not come to the same run
sweep
wait "$other"
sweep # what each had left to the other is there
$bench.compare "$results/contenders/runs" --page contenders --out "$results"
