"""`python -m bench`: train and evaluate one model, or a sweep of them."""

from bench.cli import main

if __name__ == "__main__":
    main()
