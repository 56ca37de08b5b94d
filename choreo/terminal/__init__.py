"""The terminal face: commands for people, and for programs with `--json`. Owner of typer and rich."""
