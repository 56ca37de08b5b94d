"""`choreo` and `python -m choreo`: the node by itself, and every other command through the terminal face."""

import sys

INTERRUPTED = 130
"""The exit status where Ctrl-C comes before there is anything to stop: what a shell reports for SIGINT."""


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[:1] == ["node"]:
        from choreo.node.command import main as node

        sys.exit(node(arguments[1:]))
    try:
        from choreo.terminal.app import main as terminal
    except KeyboardInterrupt:  # before anything has begun
        sys.exit(INTERRUPTED)
    terminal()


if __name__ == "__main__":
    main()
