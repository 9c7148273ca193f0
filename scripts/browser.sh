#!/usr/bin/env bash
# Installs Debian's Chromium with its driver, for the tests that look at pages; does nothing where they are.
set -euo pipefail
command -v chromedriver >/dev/null && command -v chromium >/dev/null && exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium chromium-driver fonts-dejavu-core >/dev/null
