#!/bin/sh
# What makes Debian's Python the base image of Flyte: called by mmdebstrap with the root file system.
# Reads FLYTE_VERSION, UV (a file), CA_BUNDLE (a file, or empty), SOURCE_DATE_EPOCH.
set -eu
root=$1

# Needed for these steps only; the last lines take them away again.
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
if [ -n "$CA_BUNDLE" ]; then
    cp -L "$CA_BUNDLE" "$root/tmp/ca.crt"
    export SSL_CERT_FILE=/tmp/ca.crt
fi
# Folders of the host, which are not there in the root.
unset PIP_FIND_LINKS UV_FIND_LINKS SSL_CERT_DIR

chroot "$root" useradd --create-home --shell /bin/bash --uid 1000 flyte
chroot "$root" chown -R flyte:flyte /root
cp "$UV" "$root/usr/bin/uv"
export UV_NO_CACHE=1 UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never
chroot "$root" uv venv --quiet --python /usr/bin/python3 /opt/venv
chroot "$root" uv pip install --quiet --python /opt/venv/bin/python "flyte==$FLYTE_VERSION"

# Compiled with the time that the image will carry: otherwise Python would find every .pyc stale at every start.
find "$root/opt/venv" -newermt "@$SOURCE_DATE_EPOCH" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
chroot "$root" /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode timestamp /opt/venv/lib || true

# Where apt's own user cannot reach this folder on the host, apt has kept these for root.
chown 42:0 "$root/var/cache/apt/archives/partial" "$root/var/lib/apt/lists/partial"

# As Docker's slim images do.
rm -rf "$root"/usr/share/man/* "$root"/usr/share/info/* "$root"/usr/share/locale/*
find "$root/usr/share/doc" ! -type d ! -name copyright -delete
find "$root/usr/share/doc" -type d -empty -delete

rm -f "$root/etc/resolv.conf" "$root/tmp/ca.crt"
