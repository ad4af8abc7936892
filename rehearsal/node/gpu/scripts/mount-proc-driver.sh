#!/bin/sh
# A hook of runc, which gives it the container's state as JSON. It sees the machine's files and the container's mounts.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
bundle=$(sed -n 's|.*"bundle": *"\([^"]*\)".*|\1|p')
exec mount --rbind /proc/driver "$bundle/rootfs/proc/driver"
