#!/bin/sh
# What makes Debian's Python look like Docker's slim images: called by mmdebstrap with the root file system.
set -eu
root=$1

# Debian's own Python in the places where those images have theirs, open to every installer.
for name in python python3 "$(readlink "$root/usr/bin/python3")"; do
    ln -s ../../bin/python3 "$root/usr/local/bin/$name"
done
rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED

# Where apt's own user cannot reach this folder on the host, apt has kept these for root.
chown 42:0 "$root/var/cache/apt/archives/partial" "$root/var/lib/apt/lists/partial"

rm -rf "$root"/usr/share/man/* "$root"/usr/share/info/* "$root"/usr/share/locale/*
find "$root/usr/share/doc" ! -type d ! -name copyright -delete
find "$root/usr/share/doc" -type d -empty -delete

# Of the host.
rm -f "$root/etc/resolv.conf" "$root/etc/hostname"
