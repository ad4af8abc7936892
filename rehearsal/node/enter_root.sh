# Runs a command in a Debian root filesystem that stays as it is: what the command writes is kept in memory and ends
# with it, except in the folders of BIND. `unshare` has made the namespaces of mounts and processes.
#
#   enter_root.sh STAGE ROOT network|none FOLDER BIND… -- COMMAND…      BIND: SOURCE TARGET ro|rw, three words each
set -eu
stage=$1 root=$2 network=$3 folder=$4
shift 4

mount -t tmpfs -o mode=755 tmpfs "$stage"
mkdir "$stage/upper" "$stage/work" "$stage/root"
# Relative paths, because a colon or a comma in an absolute one would have a meaning here.
cd "$stage"
ln -s "$root" lower
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay root
mount -t proc proc root/proc
mount --rbind /sys root/sys
mount --rbind /dev root/dev
mount -t tmpfs tmpfs root/run
if [ "$network" = network ]; then
    cp --dereference --remove-destination /etc/resolv.conf /etc/hosts root/etc/
fi
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then
        mkdir -p "root$2"
    else
        mkdir -p "$(dirname "root$2")"
        touch "root$2"
    fi
    mount --bind "$1" "root$2"
    if [ "$3" = ro ]; then
        mount -o remount,bind,ro "root$2"
    fi
    shift 3
done
shift
exec chroot root /usr/bin/env --chdir="$folder" -- "$@"
