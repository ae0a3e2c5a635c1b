#!/usr/bin/env bash
# torch-fidelity: greyscale PNGs of 16 bits are scored as nearly white pictures, without a word.
#
# Version:  torch-fidelity 0.4.0 (Pillow 13.0.0, torch 2.14.1, torchvision 0.29.1).
# Expected: ImagesPathDataset, which every metric of a folder reads its images with, either scales
#           the 65,536 grey values of a 16-bit PNG to the 256 that the feature extractor takes, or
#           raises an error. Different pictures remain different.
# Seen:     A ramp over the full range arrives as 255 in all but 1 of 256 pixels. A ramp, noise and a
#           checkerboard with values from 256 up arrive as one and the same white picture, so that
#           FID between folders of them is that of two identical sets. The same pictures saved with
#           8 bits arrive as they are.
# Cause:    the data set calls Image.convert("RGB"), and Pillow clips mode "I;16" at 255 instead of
#           scaling it. Scans, X-rays and depth maps are commonly stored like this.
# Source:   torch_fidelity/datasets.py, ImagesPathDataset.__getitem__; Pillow's
#           src/libImaging/Convert.c, the conversions from I;16.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check \
  torch-fidelity==0.4.0 pillow==13.0.0 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6

cd "$folder" && "$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
from PIL import Image
from torch_fidelity.datasets import ImagesPathDataset

SIDE = 64


def seen(pixels):
    """Pixels as torch-fidelity's extractors get them, (3, H, W) uint8."""
    Image.fromarray(pixels).save("image.png")
    return ImagesPathDataset(["image.png"])[0].numpy()


whole = np.linspace(0, 65535, SIDE * SIDE).round().astype(np.uint16).reshape(SIDE, SIDE)
ramp = np.linspace(256, 65535, SIDE * SIDE).round().astype(np.uint16).reshape(SIDE, SIDE)
noise = np.random.default_rng(0).integers(256, 65536, (SIDE, SIDE)).astype(np.uint16)
board = np.where(np.indices((SIDE, SIDE)).sum(0) % 2, 65535, 256).astype(np.uint16)

white = (seen(whole) == 255).mean()
print(f"16 bits, a ramp from 0 to 65535: {white:.1%} of the pixels are 255")
pictures = {"ramp": ramp, "noise": noise, "checkerboard": board}
for name, pixels in pictures.items():
    wide, narrow = seen(pixels), seen((pixels >> 8).astype(np.uint8))
    print(
        f"{name} from 256 to 65535: 16 bits give values {wide.min()} to {wide.max()}, "
        f"8 bits {narrow.min()} to {narrow.max()}"
    )
same = len({seen(pixels).tobytes() for pixels in pictures.values()}) == 1
print(f"the three 16-bit pictures are the same to torch-fidelity: {same}")
if not (white > 0.99 and same):
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON
