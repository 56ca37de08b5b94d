"""The stdin node: `python main.py` is `choreo node`."""

import sys

from choreo.node.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
