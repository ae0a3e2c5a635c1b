"""`python -m bench`: train and evaluate one model, or a sweep of them."""

from bench.runtime.interrupts import said_in_one_line

if __name__ == "__main__":
    with said_in_one_line("bench", "the same command resumes from what is saved"):
        from bench.cli import main

        main()
