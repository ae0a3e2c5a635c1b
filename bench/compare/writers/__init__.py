"""Writers of the comparison: Markdown, LaTeX, CSV, the terminal, W&B and HTML."""
