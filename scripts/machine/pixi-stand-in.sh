#!/bin/sh
# NOT pixi: a stand-in for tests on machines that cannot have it. It resolves and installs nothing.
#
# `pixi install` writes what it was called with to /var/lib/pixi-stand-in/<n>, n counting from 1:
#   arguments      one per line
#   variables      the names of its environment variables; no values, which may be secrets
#   environments   the pixi environments that were asked for
#   folder         the working folder
#   <manifest>, pixi.lock   what it saw of the two
# and makes <project>/.pixi/envs/<environment> a virtual environment, empty, of the Python that is there.
set -eu
say() { echo "pixi (stand-in): $*" >&2; }

case ${1-} in
--version | -V)
    echo "pixi @VERSION@ (stand-in)"
    exit
    ;;
install | i) ;;
*)
    say "can only do \`pixi install\`, not \`pixi $*\`"
    exit 2
    ;;
esac

record=/var/lib/pixi-stand-in
number=1
while [ -e "$record/$number" ]; do number=$((number + 1)); done
record=$record/$number
mkdir -p "$record"
printf '%s\n' "$@" >"$record/arguments"
env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p' | sort >"$record/variables"
pwd >"$record/folder"

manifest=
environments=
is_locked=
shift
while [ $# -gt 0 ]; do
    case $1 in
    --manifest-path) manifest=$2 && shift ;;
    --manifest-path=*) manifest=${1#*=} ;;
    --environment | -e) environments="$environments $2" && shift ;;
    --environment=*) environments="$environments ${1#*=}" ;;
    --locked | --frozen) is_locked=1 ;;
    esac
    shift
done
environments=${environments:- default}
for environment in $environments; do echo "$environment"; done >"$record/environments"

if [ -z "$manifest" ]; then
    manifest=pixi.toml
    [ -e "$manifest" ] || manifest=pyproject.toml
fi
[ ! -d "$manifest" ] || manifest=$manifest/pixi.toml
if [ ! -f "$manifest" ]; then
    say "there is no manifest at \`$manifest\`"
    exit 1
fi
project=$(cd "$(dirname "$manifest")" && pwd)
cp "$manifest" "$record/$(basename "$manifest")"
if [ -f "$project/pixi.lock" ]; then
    cp "$project/pixi.lock" "$record/pixi.lock"
elif [ -n "$is_locked" ]; then
    say "there is no \`pixi.lock\` beside \`$manifest\`"
    exit 1
fi

if ! python=$(command -v python3); then
    say "needs a python3 in the image"
    exit 1
fi
python=$(readlink -f "$python")
for environment in $environments; do
    folder=$project/.pixi/envs/$environment
    [ -e "$folder/bin/python" ] && continue
    "$python" -m venv --symlinks --without-pip "$folder"
    mkdir -p "$folder/conda-meta"
done
say "recorded in $record, nothing installed"
