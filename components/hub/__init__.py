"""What runs inside the hub: plain modules, mounted there as the package `gpulab`, and imported by tests as code.

They know of the stack what the catalogue says (`catalogue.py`), and import nothing of this project but each other.
"""
