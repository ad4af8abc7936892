#!/bin/sh
# Becomes the first process of a machine, in namespaces that `unshare` has made: its root filesystem, then its network.
#
# Arguments: a Debian root filesystem, which stays as it is; the machine's folder, on a disk; its name; its address with
# the prefix's length; and folders of the host that it has at the same paths.
set -eu
lower=$1 folder=$2 name=$3 address=$4
shift 4

root=$folder/root
for one in root changes work containerd kubelet; do mkdir -p "$folder/$one"; done
# Relative paths, because a colon or a comma in an absolute one would have a meaning here.
cd "$folder"
ln -s "$lower" lower
mount -t overlay overlay -o lowerdir=lower,upperdir=changes,workdir=work "$root"
for one in proc sys dev run tmp etc var/lib/containerd var/lib/kubelet var/log/pods srv/volumes lib/modules; do
  mkdir -p "$root/$one"
done

mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
# What kubelet would set for the whole host. It finds its own values here, and sets nothing.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=$folder/$(echo "${setting%=*}" | tr / -)
  echo "${setting#*=}" >"$file"
  [ ! -e "$root/proc/sys/${setting%=*}" ] || mount --bind "$file" "$root/proc/sys/${setting%=*}"
done

# The cores and memory of the machine that this one stands for.
if [ -d "$folder/hardware" ]; then
  mount --bind "$folder/hardware/meminfo" "$root/proc/meminfo"
  mount --bind "$folder/hardware/cpuinfo" "$root/proc/cpuinfo"
  mount --bind "$folder/hardware/cpu" "$root/sys/devices/system/cpu"
  [ ! -d "$root/sys/devices/system/node" ] || mount -t tmpfs tmpfs "$root/sys/devices/system/node"
fi

# A device that is made here is not one of the host's.
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t mqueue mqueue "$root/dev/mqueue"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for device in null zero full random urandom tty kmsg fuse; do
  [ -e "/dev/$device" ] || continue
  : >"$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done

mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
# Containers' own filesystems need a place that is no overlay.
mount --bind "$folder/containerd" "$root/var/lib/containerd"
mount --bind "$folder/kubelet" "$root/var/lib/kubelet"
# All machines have the same volumes, as by NFS.
[ ! -d "$folder/../volumes" ] || mount --bind "$folder/../volumes" "$root/srv/volumes"
for shared in "$@" "$folder"; do
  mkdir -p "$root$shared"
  mount --bind "$shared" "$root$shared"
done

hostname "$name"
echo "$name" >"$root/etc/hostname"
printf '127.0.0.1 localhost\n%s %s\n' "${address%/*}" "$name" >"$root/etc/hosts"
# Nobody outside answers.
: >"$root/etc/resolv.conf"

mkdir -p "$root/.host"
cd "$root"
pivot_root . .host
umount -l /.host
mount --make-rshared /
rmdir /.host

ip link set lo up
# Kernels of small machines have no dummy interface.
ip link add node0 type bridge
ip address add "$address" dev node0
ip link set node0 up
ip route add default dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables

: >"$folder/ready"
exec tini -- sleep infinity
