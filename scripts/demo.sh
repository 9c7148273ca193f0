#!/bin/sh
# The main job on a machine that may have nothing: plan, build and run examples/alphafold2.
# All that it makes lies in .demo and .venv; `make clean-demo` stops and removes what is in .demo.
set -eu
cd "$(dirname "$0")/.."
top=$PWD
demo=$top/.demo
bin=$top/.venv/bin

heading() { printf '\n── %s\n' "$*"; }

# The port that the demo had before, or the first one from flytebuild's own upwards that is free.
control_plane_port() {
    "$bin/python" - "$demo/environment" <<'EOF'
import re, socket, sys
from pathlib import Path
from flytebuild.config import DEFAULT_PORT

def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

before = Path(sys.argv[1])
known = re.search(r"FLYTEBUILD_PORT=(\d+)", before.read_text()) if before.exists() else None
print(known[1] if known else next(port for port in range(DEFAULT_PORT, DEFAULT_PORT + 100) if is_free(port)))
EOF
}

heading "make setup"
make --no-print-directory setup

heading "an engine, a registry, base images (each where it is missing)"
mkdir -p "$demo"
port=$(control_plane_port)
environment=$("$bin/python" -m scripts.machine up --state "$demo/machine" --env)
{
    printf '%s\n' "$environment"
    printf "export FLYTEBUILD_HOME='%s'\n" "$demo/home"
    printf 'export FLYTEBUILD_PORT=%s\n' "$port"
    printf "export PATH='%s':\"\$PATH\"\n" "$bin"
} >"$demo/environment"
cat "$demo/environment"
. "$demo/environment"

cd examples/alphafold2
heading "flytebuild plan --for main"
flytebuild plan --for main
heading "flytebuild build --for main"
flytebuild build --for main
heading "flytebuild run main.py main --sequence AAGGTTCCAA"
flytebuild run main.py main --sequence AAGGTTCCAA

# Now that the control plane has run and written it: where Flyte's own SDK and commands find it.
printf "export FLYTECTL_CONFIG='%s'\n" "$demo/home/config.yaml" >>"$demo/environment"

heading "to go on"
cat <<EOF
. .demo/environment               this shell uses the demo's engine, registry and control plane
cd examples/alphafold2
python main.py                    the same run, the way Flyte's documentation starts it; \`flyte run\` does it too
http://127.0.0.1:$port             the runs, their actions and logs
make clean-demo                   stop all of it, and remove .demo
EOF
