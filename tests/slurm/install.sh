#!/bin/bash
# Installs Slurm and munge where root and apt can be had, and starts nothing; else it says why not.
set -u
for command in slurmctld slurmd srun munged ip nsenter unshare; do
  command -v "$command" >/dev/null || missing="${missing-} $command"
done
[ -n "${missing-}" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "no$missing here, and no right or no apt-get to install them"
  exit 0
fi
echo "apt-get install slurm-wlm munge iproute2 util-linux"
# Debian's packages start their services as they are installed, unless this says no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
(apt-get update && apt-get install -y --no-install-recommends \
  slurm-wlm munge iproute2 util-linux) >/dev/null 2>&1 ||
  echo "they could not be installed"
