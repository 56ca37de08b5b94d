"""`choreo` and `python -m choreo`: the node by itself, and every other command through the terminal face."""

import sys


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[:1] == ["node"]:
        from choreo.node.command import main as node

        sys.exit(node(arguments[1:]))
    from choreo.terminal.app import main as terminal

    terminal()


if __name__ == "__main__":
    main()
