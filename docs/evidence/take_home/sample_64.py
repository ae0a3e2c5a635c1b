"""64 samples of a recorded run, as one picture."""

import sys

from PIL import Image

from bench import load

model = load(sys.argv[1])  # a run directory
images = model.sample(64, seed=1)  # uint8, (64, H, W, 1)
count, height, width, _ = images.shape
grid = images.reshape(8, 8, height, width).swapaxes(1, 2).reshape(8 * height, 8 * width)
Image.fromarray(grid).save("samples.png")
