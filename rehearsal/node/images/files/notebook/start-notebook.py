#!/opt/conda/bin/python
"""Starts JupyterLab, or the server of a hub where a hub started the container."""

import os
import shlex
import sys

if "JUPYTERHUB_API_TOKEN" in os.environ:
    os.execv("/usr/local/bin/start-singleuser.py", ["start-singleuser.py", *sys.argv[1:]])  # noqa: S606
program = os.environ.get("DOCKER_STACKS_JUPYTER_CMD", "lab")
command = ["jupyter", program, *shlex.split(os.environ.get("NOTEBOOK_ARGS", "")), *sys.argv[1:]]
os.execvp(command[0], command)  # noqa: S606
