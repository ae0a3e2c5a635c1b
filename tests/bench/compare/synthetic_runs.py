"""Values of synthetic evaluation rows."""

from typing import Any

PROTOCOL = {
    "data_hash": "0123456789abcdef",
    "image_shape": "1x8x8",
    "reference": "train",
    "reference_size": 1437,
    "samples": 360,
    "extractors": "domain:fedcba98",
    "preprocessing": "domain:none",
    "metric_backend": "torch-fidelity 0.4.0",
    "budget": "120 s",
    "precision": "fp32",
    "device": "cpu: Example CPU",
    "threads": 2,
    "processes": 1,
}
FLOOR = PROTOCOL | {"budget": "", "precision": "", "device": "", "threads": "", "processes": ""}


def scores(
    fid: float, kid: float = 0.002, inception: float = 8.0, precision: float = 0.9
) -> dict[str, Any]:
    """Quality under the domain extractor."""
    return {
        "fid_domain": fid,
        "kid_domain": kid,
        "kid_std_domain": kid / 10,
        "is_domain": inception,
        "is_std_domain": 0.1,
        "precision_domain": precision,
        "recall_domain": precision / 2,
        "modes": 10,
        "class_kl": 0.0123,
        "class_tv": 0.05,
    }


def costs(nfe: int, latency: float) -> dict[str, Any]:
    """What sampling and training cost."""
    return {
        "nfe": nfe,
        "latency_ms": latency,
        "latency_iqr_ms": latency / 20,
        "images_per_second": 1000 / latency,
        "images_per_second_iqr": 1.0,
        "best_batch_size": 64,
        "gflops_per_sample": nfe * 0.00123456,
        "sampling_memory_mib": 12.5,
        "parameters": 1_071_234,
        "train_images_per_second": 1500.0,
        "train_gflops_per_image": 0.0037,
        "train_memory_mib": 200.0,
        "step": 2812,
        "images": 180_000,
        "train_seconds": 120.0,
        "train_flops": 6.6e11,
    }
