"""`python -m bench.decide`."""

import sys

from bench.runtime.interrupts import said_in_one_line

if __name__ == "__main__":
    with said_in_one_line("bench.decide", "the same command goes on from what is saved"):
        from bench.decide.cli import main

        sys.exit(main(sys.argv[1:]))
