#!/bin/sh
# Make the virtual environment $1 with Python $2 (as found on PATH) and install the project and its tools into it.
set -eu
venv=$1
python=$2

if [ -z "$python" ]; then
    echo "error: no Python 3.10 or newer is on PATH" >&2
    exit 69
fi
if [ ! -x "$venv/bin/python" ] && ! "$python" -m venv "$venv" >&2; then
    rm -rf "$venv"
    echo "error: \`$python\` cannot make a virtual environment" >&2
    echo "hint: on Debian, \`apt-get install python3-venv\`" >&2
    exit 69
fi

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

echo "setup: installing flytebuild and its tools into $venv ..." >&2
# uv installs in seconds what takes pip a minute. It reads none of pip's settings; where it fails for that, pip does it.
index=${PIP_INDEX_URL:-$(pip config get global.index-url 2>/dev/null || true)}
if [ -n "$index" ]; then
    export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
fi
if [ -n "${PIP_CERT:-}" ]; then
    export SSL_CERT_FILE="${SSL_CERT_FILE:-$PIP_CERT}"
fi
# Twice quiet: not even a word on settings of pip that lead nowhere.
pip install --quiet --quiet uv
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --editable '.[dev]' ||
    pip install --quiet --editable '.[dev]'
