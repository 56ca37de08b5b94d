"""The benchmarks: `python -m benchmarks` measures against the targets."""
