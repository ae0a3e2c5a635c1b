#!/usr/bin/env bash
# PyYAML 6.0.4, and OmegaConf (Hydra's configurations) through it: which of several merged mappings wins depends on the length of a key.
#
# Version:  PyYAML 6.0.4, with OmegaConf 2.3.1; compared with PyYAML 6.0.3.
# Expected: in `<<: [*first, *second]` a key that both mappings have takes the value of the first one, as YAML's merge type says and
#           as PyYAML 6.0.3 does; and all keys follow one rule.
# Seen:     with 6.0.4 keys of two or more characters take the value of the second mapping, keys of one character that of the first.
#           A configuration that merges two sets of defaults trains with another learning rate after an update of PyYAML by a
#           patch version, and its `k` and `lr` come from different sets. Nothing is raised or logged. 6.0.4 compares keys by the
#           identity of their strings, which CPython shares for single characters only.
# Source:   the outputs; https://yaml.org/type/merge.html; yaml/pyyaml issue 953.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 6.0.3 6.0.4; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/python" -m pip install -qq --disable-pip-version-check "PyYAML==$version" omegaconf==2.3.1
done

cat > "$folder/train.yaml" <<'YAML'
large: &large {lr: 0.1, k: 8, steps: 100}
small: &small {lr: 0.001, k: 2}
run:
  <<: [*large, *small]
YAML

cat > "$folder/look.py" <<'PYTHON'
import sys

import yaml
from omegaconf import OmegaConf

file, lr = sys.argv[1], float(sys.argv[2])
with open(file, encoding="utf-8") as text:
    plain = yaml.safe_load(text)["run"]
composed = OmegaConf.to_container(OmegaConf.load(file).run)
print(f"PyYAML {yaml.__version__}: {plain}, by OmegaConf {composed}")
expected = {"lr": lr, "k": 8, "steps": 100}
if plain != expected or composed != expected:
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON

"$folder/6.0.3/bin/python" "$folder/look.py" "$folder/train.yaml" 0.1
"$folder/6.0.4/bin/python" "$folder/look.py" "$folder/train.yaml" 0.001
