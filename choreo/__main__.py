"""`choreo` and `python -m choreo`: the node directly, and every other command through the terminal face."""

import sys

INTERRUPTED = 130
"""Exit status for a Ctrl-C during start-up: the one that a shell reports for SIGINT."""


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[:1] == ["node"]:
        from choreo.node.command import main as node

        sys.exit(node(arguments[1:]))
    try:
        from choreo.terminal.app import main as terminal
    except KeyboardInterrupt:  # before a command has begun
        sys.exit(INTERRUPTED)
    terminal()


if __name__ == "__main__":
    main()
