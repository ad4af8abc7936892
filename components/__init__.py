"""The parts of the platform: one ComponentResource per concern, each in its own file.

Only `platform.py` connects them.
"""
