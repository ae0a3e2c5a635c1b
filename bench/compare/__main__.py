"""`python -m bench.compare`."""

import sys

from bench.runtime.interrupts import said_in_one_line

if __name__ == "__main__":
    with said_in_one_line("bench.compare", "give the same command again"):
        from bench.compare.cli import main

        sys.exit(main(sys.argv[1:]))
