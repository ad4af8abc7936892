"""The parts of the platform: one ComponentResource a concern, a file each; `platform.py` alone wires them together."""
