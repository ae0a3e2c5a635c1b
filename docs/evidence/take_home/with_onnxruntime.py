"""64 samples of an exported generator, as one picture."""

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("generator.onnx")
z = np.random.default_rng(0).standard_normal((64, *session.get_inputs()[0].shape[1:]), np.float32)
(samples,) = session.run(["sample"], {"z": z})  # (64, 1, H, W) in [-1, 1]
images = np.round((samples.clip(-1, 1) + 1) * 127.5).astype(np.uint8)
grid = images.reshape(8, 8, *images.shape[2:]).swapaxes(1, 2).reshape(8 * images.shape[2], -1)
Image.fromarray(grid).save("samples_onnx.png")
