"""The run directory: what is written to it, and how a run is loaded from it again."""
