#!/bin/sh
# A throw-away copy of this machine with systemd as its process 1: systemd-box.sh FOLDER NAME, as root, in a mount namespace of
# its own. The root is an overlay over the machine's, in memory; processes and control groups are its own, the network is not.
set -eu
folder=$1
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$folder"
cd "$folder"
mkdir upper work root cgroup
mount -t cgroup2 none cgroup
mkdir "cgroup/$2"
echo $$ >"cgroup/$2/cgroup.procs"
mount -t overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" overlay root
cd root
# The rest as process 1 of its own: /proc and the control groups show the namespaces of the process that mounts them.
# shellcheck disable=SC2016
exec unshare --cgroup --pid --fork --kill-child sh -euc '
  mount -t proc proc proc
  # The settings of the kernel are those of the machine.
  mount --bind proc/sys proc/sys
  mount -o remount,bind,ro proc/sys
  mount -t sysfs -o ro sysfs sys
  mount -t cgroup2 none sys/fs/cgroup
  for each in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$each"; done
  chmod 1777 tmp
  for each in null zero full random urandom tty; do
    : >"dev/$each"
    mount --bind "/dev/$each" "dev/$each"
  done
  ln -s pts/ptmx dev/ptmx
  # A machine that is itself a container may forbid packages to start services.
  rm -f usr/sbin/policy-rc.d
  : >etc/machine-id
  : >etc/fstab
  # Services of the machine must not start here.
  rm -rf etc/systemd/system
  mkdir -p etc/systemd/system former_root
  pivot_root . former_root
  umount -l former_root
  rmdir former_root
  exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set=-sys_module,-sys_time,-sys_rawio,-sys_boot,-syslog \
    /lib/systemd/systemd --system --unit=basic.target --show-status=0
'
