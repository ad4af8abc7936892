#!/opt/conda/bin/python
"""Starts the server of a hub, with the arguments of $NOTEBOOK_ARGS and its own."""

import os
import shlex
import sys

command = ["jupyterhub-singleuser", *shlex.split(os.environ.get("NOTEBOOK_ARGS", "")), *sys.argv[1:]]
os.execvp(command[0], command)  # noqa: S606
