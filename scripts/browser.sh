#!/usr/bin/env bash
# Installs Debian's Chromium with its driver, for the tests that look at pages; does nothing where they are.
set -euo pipefail
# Two test processes may come here at once, and apt lets nobody in meanwhile.
exec 9</
flock 9
command -v chromedriver >/dev/null && command -v chromium >/dev/null && exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium chromium-driver fonts-dejavu-core >/dev/null
