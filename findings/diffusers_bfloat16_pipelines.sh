#!/usr/bin/env bash
# diffusers: unconditional pipelines sample in bfloat16, then cannot return images.
#
# Version:  diffusers 0.42.1 (numpy 2.4.6, torch 2.13.0).
# Expected: DDPMPipeline and DDIMPipeline return images from a network in bfloat16, as they do from one
#           in float16 or float32, and as the Stable Diffusion pipelines do from one in bfloat16.
# Seen:     after all sampling steps, output_type "pil" (the default) and "np" end in TypeError: "Got
#           unsupported ScalarType BFloat16". Only "pt" returns, still in bfloat16.
# Source:   diffusers/pipelines/ddpm/pipeline_ddpm.py and ddim/pipeline_ddim.py call `.cpu().numpy()`,
#           and numpy has no bfloat16. VaeImageProcessor.pt_to_numpy, which the other pipelines call,
#           has `.float()` in between.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check \
  diffusers==0.42.1 numpy==2.4.6 torch==2.13.0

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from diffusers import DDIMPipeline, DDPMPipeline, UNet2DModel
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils import logging

logging.set_verbosity_error()
PIPELINES = ((DDPMPipeline, DDPMScheduler), (DDIMPipeline, DDIMScheduler))


def images(pipeline, scheduler, dtype, output_type):
    """What two steps of a small untrained network return, in words."""
    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
    )
    sampler = pipeline(unet=network.to(dtype), scheduler=scheduler())
    sampler.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    try:
        result = sampler(num_inference_steps=2, generator=generator, output_type=output_type)
    except TypeError as error:
        return f"TypeError: {error}"
    return "images"


as_described = True
for pipeline, scheduler in PIPELINES:
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        seen = {kind: images(pipeline, scheduler, dtype, kind) for kind in ("pil", "np", "pt")}
        print(f"{pipeline.__name__}, {dtype}: {seen}")
        fails = [kind for kind, what in seen.items() if "BFloat16" in what]
        as_described &= fails == (["pil", "np"] if dtype == torch.bfloat16 else [])

other = VaeImageProcessor.pt_to_numpy(torch.zeros(1, 3, 8, 8, dtype=torch.bfloat16))
print(f"VaeImageProcessor.pt_to_numpy, torch.bfloat16: {other.dtype}")
as_described &= other.dtype == "float32"
if not as_described:
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON
