#!/bin/bash
# The entry point of Jupyter's images: runs hooks, leaves root's rights, and becomes the command.
set -e

for hook in /usr/local/bin/start-notebook.d/*.sh /usr/local/bin/before-notebook.d/*.sh; do
    [ -e "$hook" ] && . "$hook"
done
[ $# = 0 ] && set -- bash
if [ "$(id -u)" = 0 ] && [ "$NB_UID" != 0 ]; then
    exec setpriv --reuid="$NB_UID" --regid="$NB_GID" --init-groups env HOME="/home/$NB_USER" "$@"
fi
exec "$@"
