#!/bin/sh
# The first process of the kernel that test/node/user-mode-linux.ts boots: mounts, modules, then the guest program. Everything that it needs
# to know is in the file that the kernel's command line names. Not for any other machine: it turns the power off at its end.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
. "$GALAXY_GUEST_SETTINGS"
# The host's files cannot be changed from here.
mkdir -p /run/netns /run/tmp
export TMPDIR=/run/tmp HOME PATH XDG_CACHE_HOME
for module in $modules; do "$busybox" insmod "$module" || echo "module $module was not loaded"; done
# Kernels that build them in have no such file; those that do not need it for what they load later.
ip link set dev lo up
stty raw -echo
cd "$repository" && "$node" test/node/guest.ts
echo o > /proc/sysrq-trigger
sleep 60
