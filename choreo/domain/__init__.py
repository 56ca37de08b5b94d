"""The core: what a saga is, and how its participants react. Pure; knows no bus, no clock and no I/O."""
