"""The `groundup` command and `python -m groundup`."""

import os
import sys


def main() -> int:
    """Set what must be set before torch is loaded, then hand over to the command line.

    OpenMP's threads spin while they wait for each other, which on a busy machine keeps the one they
    wait for from running: two threads beside one busy process train three times slower for it than
    with passive waiting, which costs five to ten hundredths on an idle machine.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # or torch's profiler talks on stderr
    from groundup.cli import main as command_line

    return command_line()


if __name__ == "__main__":
    sys.exit(main())
