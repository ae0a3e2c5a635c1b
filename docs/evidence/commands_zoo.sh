#!/usr/bin/env bash
# The commands behind zoo.* and samplers.* of docs/evidence: every small model at one training
# budget counted in operations, one seed, and one diffusion model drawn from by many samplers; two runs
# at a time on a machine of two cores. Finished runs are skipped, interrupted ones go on. BENCH_DATA
# holds Fashion-MNIST. Tables appear in results/; RESULTS=docs/evidence overwrites the committed ones.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bench="${PYTHON:-.venv/bin/python} -m bench"
results="${RESULTS:-results}"

zoo() { # core, models, further overrides
  # A diverged run is a result: the sweep says so, exits with 1, and the next one starts.
  taskset -c "$1" $bench -m experiment=zoo dataset=fashion_mnist model="$2" \
    results_root="$results/zoo" "${@:3}" || [[ $? -eq 1 ]]
}

first() {
  zoo 0 real,mlp_gan,dcgan_small,ddpm_small,dcgan_sn_small,dcgan_r1_small,ddpm_cosine_small
  zoo 0 dit_small,edm_small,ddgan_small,latent_diffusion_small,wgan_gp_small,vae_small,cgan_small
  zoo 0 sngan_small,r3gan_small,sgan_small,gan_r1_ema_small,stylegan2_small,stylegan2_ada_small
  zoo 0 stylegan2_diffaugment_small,drifting_small,one_step_small
}

second() {
  taskset -c 1 $bench -m experiment=samplers dataset=fashion_mnist seed=0 \
    results_root="$results/samplers" || [[ $? -eq 1 ]]
  zoo 1 progan_small,simple_unet_small,staged_diffusion_small,x0_diffusion_small
  zoo 1 cond_ddpm_small,improved_ddpm_small,v_diffusion_small,edm_augment_small,cond_edm_small
  zoo 1 rectified_flow_small,cond_rectified_flow_small,meanflow_small,consistency_small
}

finished() { # model
  echo "$results"/zoo/runs/fashion_mnist/"$1"/*/seed=0
}

first & lanes=$!
second
wait "$lanes"
# A hybrid of two finished runs is not trained: its own budget buys nothing.
draft="$(finished dcgan_small)" refine="$(finished ddpm_small)"
zoo 0 hybrid_small "model.draft_run=\"$draft\"" "model.refine_run=\"$refine\""
$bench.compare "$results/zoo/runs" --page zoo --out "$results"
$bench.compare "$results/samplers/runs" --page samplers --out "$results"
"${PYTHON:-.venv/bin/python}" scripts/plot_samplers.py "$results/samplers.csv" \
  "$results/samplers/fid_against_nfe.png"
