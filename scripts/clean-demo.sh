#!/bin/sh
# Stop and remove what `make demo` started, and only that.
set -eu
cd "$(dirname "$0")/.."
demo=$PWD/.demo

if [ ! -d "$demo" ]; then
    echo "clean-demo: there is no .demo" >&2
    exit 0
fi
if [ -f "$demo/environment" ] && [ -x .venv/bin/flytebuild ]; then
    # Says itself when nothing runs; a control plane that is gone is no reason to leave the rest behind.
    (. "$demo/environment" && flytebuild down) || echo "clean-demo: \`flytebuild down\` failed" >&2
fi
python=.venv/bin/python
[ -x "$python" ] || python=python3
"$python" -m scripts.machine down --state "$demo/machine"
rm -rf --one-file-system "$demo"
