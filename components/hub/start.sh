#!/bin/bash
# How a notebook's server starts, inside the notebook's container. `$@` are the hub's arguments for it.

# What people install is there after a restart: in their home, which is all of the container that stays.
export PATH="$HOME/.local/bin:$PATH"
export CONDA_ENVS_DIRS="${CONDA_ENVS_DIRS:-$HOME/.conda/envs}"
export CONDA_PKGS_DIRS="${CONDA_PKGS_DIRS:-$HOME/.conda/pkgs}"
# For the image's own Python alone: with PIP_USER=1, pip would refuse to work in people's virtual environments.
settings="$(python3 -c 'import sys; print(sys.prefix)')/pip.conf"
if [ ! -e "$settings" ] && [ -w "$(dirname "$settings")" ]; then
  printf '[install]\nuser = true\n' > "$settings"
fi

# Where JupyterLab finds the notice of the notebook's end.
export JUPYTER_PATH="/opt/gpulab/share/jupyter${JUPYTER_PATH:+:$JUPYTER_PATH}"

# The profile's script. It is not to keep anybody from their files: what goes wrong in it is told, and that is all.
if [ -e /opt/gpulab/startup.sh ]; then
  bash /opt/gpulab/startup.sh > >(tee /tmp/startup.log) 2>&1 \
    || echo "The profile's startup script ended with $?; its output is in /tmp/startup.log" >&2
fi

# A command that runs in a terminal is work, whether or not anybody looks at it.
python3 /opt/gpulab/terminals.py &

exec jupyterhub-singleuser "$@"
