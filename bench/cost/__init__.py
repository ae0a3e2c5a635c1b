"""What training and sampling cost: time, FLOPs, network calls and memory."""
