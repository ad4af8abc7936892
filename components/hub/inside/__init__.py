"""What runs inside the hub: plain modules, mounted there as the package `gpulab`; tests import them as code.

They know about the stack only what the catalogue says (`catalogue.py`), and import only each other from this project.
What runs in a notebook's container is here too, as the hub brings it into the pod: the files `notebook_*`.
"""
