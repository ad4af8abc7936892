#!/bin/sh
# A stand-in of NVIDIA's control program of MPS. It keeps what it is told, and no program computes through it.
state=${CUDA_MPS_PIPE_DIRECTORY:?}/control
if [ "${1:-}" = -d ]; then
  echo "MPS control of a stand-in, without a GPU" >>"${CUDA_MPS_LOG_DIRECTORY:?}/control.log"
  : >"$state"
  exit
fi
[ -e "$state" ] || { echo "Cannot find MPS control daemon process"; exit 1; }
while read -r name value || [ -n "$name" ]; do
  case $name in
  quit) rm "$state" ;;
  get_default_active_thread_percentage) sed -n 's/^set_default_active_thread_percentage //p' "$state" | tail -n 1 ;;
  *) echo "$name $value" >>"$state" ;;
  esac
done
