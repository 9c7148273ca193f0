#!/bin/sh
# Adds Flyte to a root file system with Debian's Python; called in a mount namespace and a process namespace of its own.
# Reads FLYTE_VERSION, UV (a file), CA_BUNDLE (a file, or empty), SOURCE_DATE_EPOCH.
set -eu
root=$1
mount -t proc proc "$root/proc"

# Needed for these steps only; the last line takes them away again.
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
if [ -n "$CA_BUNDLE" ]; then
    cp -L "$CA_BUNDLE" "$root/tmp/ca.crt"
    export SSL_CERT_FILE=/tmp/ca.crt
fi
# Folders of the host, which are not there in the root.
unset PIP_FIND_LINKS UV_FIND_LINKS SSL_CERT_DIR TMPDIR

chroot "$root" useradd --create-home --shell /bin/bash --uid 1000 flyte
chroot "$root" chown -R flyte:flyte /root
cp "$UV" "$root/usr/bin/uv"
export UV_NO_CACHE=1 UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never
chroot "$root" uv venv --quiet --python /usr/bin/python3 /opt/venv
chroot "$root" uv pip install --quiet --python /opt/venv/bin/python "flyte==$FLYTE_VERSION"
chroot "$root" /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode timestamp /opt/venv/lib || true

rm -f "$root/etc/resolv.conf" "$root/tmp/ca.crt"
