#!/bin/sh
# runc, for containers that NVIDIA's runtime has given a GPU with MIG: these also see /proc/driver of the machine.
#
# A real driver's files are in each container's /proc, because the kernel makes them. runc mounts nothing there, but a
# hook may. NVIDIA's runtime has added hooks of the same kind to the container's configuration.
bundle=
for word in "$@"; do
  [ "$previous" != --bundle ] || bundle=$word
  previous=$word
done
if [ -n "$bundle" ]; then
  sed -i 's|"createContainer":\[|&{"path":"/usr/local/sbin/mount-proc-driver"},|' "$bundle/config.json"
fi
exec /usr/sbin/runc "$@"
