#!/usr/bin/env bash
# Pillow: TIFFs of 16 bits in which 0 is white are decoded with black and white exchanged.
#
# Version:  Pillow 13.0.0 (numpy 2.4.6, tifffile 2026.3.3).
# Expected: A grey TIFF whose PhotometricInterpretation (tag 262) is 0, WhiteIsZero, is decoded to pixels
#           in which 0 is black, whatever its depth: Pillow does so for 1, 2, 4 and 8 bits, by inverting.
#           With 16 bits a stored 10, nearly white, becomes 65535 - 10 = 65525.
# Seen:     8 bits: a stored 10 is decoded to 245. 16 bits: a stored 10 is decoded to 10, nearly black,
#           without a word, as if the tag were 1.
# Not it:   tifffile returns 10 for both: it documents stored values, and never applies the tag. A
#           16-bit file that Pillow itself writes with tiffinfo={262: 0} reads back unchanged, but only
#           since neither writing nor reading inverts: it stores 10, which the tag calls nearly white.
#           For 8 bits both invert, and it stores 245.
# Source:   PIL/TiffImagePlugin.py, OPEN_INFO: photometric 0 has raw mode "L;I" (inverted) at 8 bits and
#           "I;16" (not inverted) at 16. TIFF 6.0, section 3: 0 is WhiteIsZero.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check \
  pillow==13.0.0 numpy==2.4.6 tifffile==2026.3.3

cd "$folder" && "$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import tifffile
from PIL import Image

seen = {}
for bits, kind in ((8, np.uint8), (16, np.uint16)):
    stored = np.full((2, 2), 10, kind)
    tifffile.imwrite("image.tif", stored, photometric="miniswhite")
    with Image.open("image.tif") as image:
        tag, pixel = image.tag_v2[262], int(np.asarray(image)[0, 0])
    print(
        f"{bits:>2} bits, tag 262 = {tag}, stored 10: Pillow decodes {pixel}, where 0 is black "
        f"{2**bits - 1 - 10} is right; tifffile gives {tifffile.imread('image.tif')[0, 0]}"
    )
    Image.fromarray(stored).save("saved.tif", tiffinfo={262: 0})
    written = int(tifffile.imread("saved.tif")[0, 0])
    print(f"{bits:>2} bits, 10 saved by Pillow with tag 262 = 0: {written} is stored")
    seen[bits] = (tag, pixel, written)
if seen != {8: (0, 245, 245), 16: (0, 10, 10)}:
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON
