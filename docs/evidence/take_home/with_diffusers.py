"""64 samples of an exported pipeline by DPM-Solver++ in 10 steps, as one picture."""

import torch
from diffusers import DDPMPipeline, DPMSolverMultistepScheduler
from diffusers.utils import make_image_grid

pipeline = DDPMPipeline.from_pretrained("pipeline")
pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
    pipeline.scheduler.config, final_sigmas_type="zero", thresholding=True, sample_max_value=1.0
)
images = pipeline(batch_size=64, num_inference_steps=10, generator=torch.manual_seed(1)).images
make_image_grid(images, rows=8, cols=8).save("diffusers.png")
