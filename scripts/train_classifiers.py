"""Train the domain classifiers whose weights are shipped in bench/evaluation/extractors/weights.

    python scripts/train_classifiers.py digits mnist_5k mnist fashion_mnist --threads 1
    python scripts/train_classifiers.py fashion_mnist_8 fashion_mnist_16 --threads 1
    python scripts/train_classifiers.py cifar10 --path cifar10.zip --threads 1

fashion_mnist_8 and fashion_mnist_16 are Fashion-MNIST with dataset.image_size=8 and 16, under the
names that conf/experiment/map.yaml gives them. This script and the first use of a data set without
shipped weights call one function, train_and_save, with one recipe and seed; the committed weights
of these two were made by such a first use.

CPU time on one AVX-512 core: digits half a minute, mnist_5k one minute, mnist and
fashion_mnist five minutes each, cifar10 fourteen. The same thread count on the same machine gives
the same weights bit for bit. Exits with status 1 if an accuracy is below its threshold.
"""

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path

import torch

from bench.data.sources import (
    load_cifar10,
    load_digits,
    load_fashion_mnist,
    load_mnist,
    load_mnist_5k,
)
from bench.evaluation.extractors.classifier import DomainClassifier, accuracy
from bench.evaluation.extractors.domain import SHIPPED, train_and_save

LOADERS = {
    "digits": load_digits,
    "mnist_5k": load_mnist_5k,
    "mnist": load_mnist,
    "fashion_mnist": load_fashion_mnist,
    "fashion_mnist_8": partial(load_fashion_mnist, name="fashion_mnist_8", image_size=8),
    "fashion_mnist_16": partial(load_fashion_mnist, name="fashion_mnist_16", image_size=16),
    "cifar10": load_cifar10,
}
REQUIRED_ACCURACY = {
    "digits": 0.97,
    "mnist_5k": 0.98,
    "mnist": 0.99,
    "fashion_mnist": 0.92,
    "fashion_mnist_8": 0.87,
    "fashion_mnist_16": 0.90,
    "cifar10": 0.85,
}


def main() -> int:
    """Train the classifiers named on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("datasets", nargs="+", choices=sorted(LOADERS))
    parser.add_argument("--data-root", type=Path, default=os.environ.get("BENCH_DATA", "data"))
    parser.add_argument("--path", help="folder or zip of images to read, for a single dataset")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="where the weights are written")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's choice")
    arguments = parser.parse_args()
    if arguments.path and len(arguments.datasets) > 1:
        parser.error("--path needs a single dataset")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    passed = [_train(name, arguments) for name in arguments.datasets]
    return 0 if all(passed) else 1


def _train(name: str, arguments: argparse.Namespace) -> bool:
    dataset = LOADERS[name](data_root=Path(arguments.data_root), path=arguments.path)
    path = arguments.out / f"{name}.safetensors"
    started = time.perf_counter()

    def report(epoch: int, classifier: DomainClassifier) -> None:
        score = accuracy(classifier, dataset.test)
        seconds = time.perf_counter() - started
        print(f"{name}: epoch {epoch}, {seconds:.0f} s, test accuracy {score:.2%}", flush=True)

    score = train_and_save(dataset, path, seed=arguments.seed, on_epoch=report)
    required = REQUIRED_ACCURACY[name]
    print(f"{name}: {score:.2%} (required {required:.0%}), {path.stat().st_size} bytes: {path}")
    return score >= required


if __name__ == "__main__":
    sys.exit(main())
