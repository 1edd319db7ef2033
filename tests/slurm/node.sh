#!/bin/bash
# A node of the test cluster: a host with a name, an address and processes of its own.
# Runs within the head's namespaces; ends with the daemon, as does all that the daemon has started.
# usage: node.sh NAME ADDRESS (with SLURM_CONF set)
set -euo pipefail
if [ "${3-}" != unshared ]; then
  ip link delete "$1" 2>/dev/null || true # left over from a node that was killed
  exec unshare --net --uts --mount "$0" "$1" "$2" unshared
fi
hostname "$1"
ip link set lo up
# After a restart it has the address that others remember.
hardware=$(printf '02:00:%02x:%02x:%02x:%02x' ${2//./ })
ip link add name eth0 address "$hardware" type veth peer name "$1" netns 1
ip address add "$2/24" dev eth0
ip link set eth0 up
nsenter --target 1 --net ip link set "$1" master nodes up
mount -t tmpfs tmpfs /dev/shm
# The shell is the first process of the node, and takes in what the daemon leaves behind.
exec unshare --pid --fork --kill-child --mount-proc bash -c 'slurmd -D -c -N "$0"; exit' "$1"
