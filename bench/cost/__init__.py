"""Cost of training and sampling: time, FLOPs, network calls and memory."""
