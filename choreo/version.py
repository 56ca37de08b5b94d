"""The version: the one place that states it. The package's metadata is built from here.

Laws: imports nothing, since the node imports this when it starts.
"""

__version__ = "0.1.0"
