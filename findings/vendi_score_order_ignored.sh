#!/usr/bin/env bash
# vendi-score: the order q of the score is ignored for features, but not for their kernel or in the dual form.
#
# Version:  vendi-score 0.0.3 (numpy 2.4.6, scipy 1.17.1, scikit-learn 1.9.1).
# Expected: score_X(X, q) and score_dual(X, q) are two ways to the same number, the exponential of the Rényi
#           entropy of order q of the eigenvalues of X X' / n, since X X' and X' X share all eigenvalues that are
#           not zero; and score_X(X, q) is score_K(X X', q).
# Seen:     score_X gives the score of order 1 for every q. At q = 1 all three agree; at others score_X does not
#           change, so that diversities of two tools, or of n below and above the number of features, differ.
# Source:   Pasarkar & Dieng 2024, "Cousins of the Vendi Score", for the order; eigenvalues by numpy.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check \
  numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check --no-deps vendi-score==0.0.3

"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import numpy as np
from vendi_score import vendi

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 16)) * np.linspace(1, 4, 16)
X /= np.linalg.norm(X, axis=1, keepdims=True)
eigenvalues = np.linalg.eigvalsh(X.T @ X / len(X))


def renyi(q):
    if q == 1:
        return np.exp(-(eigenvalues * np.log(eigenvalues)).sum())
    return (eigenvalues**q).sum() ** (1 / (1 - q))


print("order   by definition   score_K   score_dual   score_X")
as_described = True
for q in (0.5, 1, 2, 8):
    found = vendi.score_K(X @ X.T, q=q), vendi.score_dual(X, q=q), vendi.score_X(X, q=q)
    print(f"{q:5}   {renyi(q):13.4f}   " + "   ".join(f"{score:8.4f}" for score in found))
    as_described &= bool(np.isclose(found[1], renyi(q)) and np.isclose(found[2], renyi(1)))
if not as_described:
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON
