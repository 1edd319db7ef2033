#!/bin/bash
# The head of the test cluster: its network, munge, and Slurm's controller.
# Runs in namespaces of its own until its standard input ends; whatever has been started in its
# namespace of processes, the nodes too, ends with it.
# usage: head.sh FOLDER (with slurm.conf and hosts)
set -euo pipefail
cd "$1"
hostname head
mount --bind hosts /etc/hosts
mount --bind /dev/null /etc/resolv.conf # no server of names could be reached: none is waited for
ip link set lo up
ip link add name nodes type bridge
ip address add 10.77.0.1/24 dev nodes
ip link set nodes up

mkdir state log
(umask 077 && head -c 1024 /dev/urandom >munge.key)
munged --force --key-file="$PWD/munge.key" --socket="$PWD/munge.socket" \
  --pid-file="$PWD/munged.pid" --log-file="$PWD/log/munged" --seed-file="$PWD/munged.seed"
SLURM_CONF=$PWD/slurm.conf slurmctld -c

read -r || true
