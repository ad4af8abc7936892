#!/bin/bash
# Starts a notebook's server, in the notebook's container. `$@` are the hub's arguments for it.

# The image's own server, by absolute path, so that no program in a home replaces it.
of_image() { type -aP "$1" | grep -v "^$HOME/" | head -n 1; }
server="$(of_image jupyterhub-singleuser)"
if [ -z "$server" ]; then
  echo "The image has no jupyterhub-singleuser on its PATH: the profile's image must have JupyterHub installed" >&2
  exit 127
fi
# The Python in its first line, or in the second where pip and conda found the path too long for the first.
interpreter="$(head -n 2 "$server" | sed -nE \
  -e '1s,^#! *(/usr/bin/env +)?([^ ]*python[^ /]*)( .*)?$,\2,p' \
  -e "2s,^'''exec' \"?([^\"]*python[^ /\"]*)\"? .*,\1,p")"
python="$(of_image "$interpreter")"
[ -x "$python" ] || python="$(dirname "$(readlink -f "$server")")/python3"
[ -x "$python" ] || python="$(of_image python3)"

# What people install goes to their home, so that it is there after a restart: only the home stays.
kept="${GPULAB_KEPT:-$HOME}"
export CONDA_ENVS_DIRS="${CONDA_ENVS_DIRS:-$kept/.conda/envs}"
export CONDA_PKGS_DIRS="${CONDA_PKGS_DIRS:-$kept/.conda/pkgs}"
# Where JupyterLab finds the notice of the notebook's end, and the state of scratch and buckets.
export JUPYTER_PATH="/opt/gpulab/share/jupyter:/tmp/gpulab/share/jupyter${JUPYTER_PATH:+:$JUPYTER_PATH}"

if [ -n "$GPULAB_CLEAN" ]; then
  # As in a new home, but with the files of this one. What people install now is gone when the notebook ends.
  export PYTHONNOUSERSITE=1
  JUPYTER_CONFIG_DIR="$(mktemp -d)"
  IPYTHONDIR="$(mktemp -d)"
  export JUPYTER_CONFIG_DIR IPYTHONDIR
else
  # Programs that pip installs come first; those that other tools put into a home come after the image's.
  export PYTHONUSERBASE="${PYTHONUSERBASE:-$kept/.local}"
  export PATH="$PYTHONUSERBASE/bin:$PATH:$HOME/.local/bin"
  export JUPYTER_PATH="$JUPYTER_PATH:$PYTHONUSERBASE/share/jupyter"
  ask='import site, sys; print(sys.prefix); print(site.getusersitepackages())'
  { read -r prefix; read -r packages; } < <("$python" -s -c "$ask")
  # A kernel looks for packages only in folders that existed when it started. Without this folder, only the next kernel
  # would find the first package that somebody installs.
  mkdir -p "$packages"
  # Only for the image's own Python: with PIP_USER=1, pip would refuse to work in people's virtual environments.
  settings="$prefix/pip.conf"
  if [ ! -e "$settings" ] && [ -w "$(dirname "$settings")" ]; then
    printf '[install]\nuser = true\n' > "$settings"
  fi
fi

# JupyterLab shows only the home, so links lead to what is mounted elsewhere. A file with the name of a link stays.
IFS=: read -ra links <<< "${GPULAB_LINKS:-}"
for link in "${links[@]}"; do
  [ -e "$HOME/${link%%=*}" ] || ln -sfn "${link#*=}" "$HOME/${link%%=*}"
done

# A home hides the image's files for terminals' shells, which are login shells. The image's environment is active
# already, and what people have installed is before it on the path.
if [ ! -e "$HOME/.bashrc" ]; then
  {
    grep -v conda /etc/skel/.bashrc
    echo "command -v conda > /dev/null && eval \"\$(conda shell.bash hook | sed '/^ *conda activate /d')\""
  } > "$HOME/.bashrc" 2> /dev/null
fi
if [ ! -e "$HOME/.profile" ] && [ ! -e "$HOME/.bash_profile" ] && [ ! -e "$HOME/.bash_login" ]; then
  # Debian's /etc/profile forgets the image's path.
  printf '%s\n' 'PATH="${GPULAB_PATH:-$PATH}"' '[ -z "$BASH_VERSION" ] || . "$HOME/.bashrc"' > "$HOME/.profile"
fi
export GPULAB_PATH="$PATH"

# The profile's script. A failure is only reported: it must not keep people from their files. The hub finds its lines in
# the container's log by "startup: ", and shows them to people who wait.
if [ -e /opt/gpulab/startup.sh ]; then
  marked() { sed -u 's/^/startup: /'; }
  begun=$SECONDS
  timeout --kill-after=10 "$GPULAB_STARTUP_SECONDS" bash /opt/gpulab/startup.sh > >(tee /tmp/startup.log | marked) 2>&1
  code=$?
  # The script can end with these codes by itself, too: 137 is for a process that the kernel ended to free memory.
  if [[ $code =~ ^(124|137)$ ]] && ((SECONDS - begun >= GPULAB_STARTUP_SECONDS)); then
    echo "The profile's startup script was ended after $GPULAB_STARTUP_SECONDS seconds (startupTimeout)" | marked
  elif [ $code != 0 ]; then
    echo "The profile's startup script failed with exit code $code; its output is in /tmp/startup.log" | marked
  fi
fi

# A command that runs in a terminal counts as work, whether or not anybody looks at it.
"$python" -I /opt/gpulab/terminals.py &
# notice.js reads from here what JupyterLab shows.
notice=/tmp/gpulab/share/jupyter/labextensions/gpulab-notice
if [ "${GPULAB_SCRATCH_GIB:-0}" != 0 ]; then
  "$python" -I /opt/gpulab/scratch.py "${GPULAB_SCRATCH:-$HOME/scratch}" "$GPULAB_SCRATCH_GIB" "$notice/live/scratch.json" &
fi

# Tries the team's S3 prefixes, and says what works there.
if [ -n "${GPULAB_BUCKETS:-}" ]; then
  "$python" -I /opt/gpulab/buckets.py "$notice/live/buckets.json" > /tmp/buckets.txt 2>&1 &
fi

# Kernels see what people have installed, the server does not (-s): no package in a home can keep it from starting.
if [ -n "$interpreter" ]; then
  exec "$python" -s "$server" "$@"
fi
exec "$server" "$@"
