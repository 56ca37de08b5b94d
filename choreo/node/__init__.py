"""The stdin face: JSON messages in, one JSON line for each reply out."""
