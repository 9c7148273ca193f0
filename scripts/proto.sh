#!/usr/bin/env bash
# Generates flytebuild/buildkit/_pb from proto/. The compiler is pinned in a venv of its own: its output must load
# with the oldest protobuf runtime that flyte admits (6.30), which a newer compiler's would refuse.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=build/proto-tools
pin=grpcio-tools==1.72.2
if [ ! -e "$tools/$pin" ]; then
  rm -rf "$tools"
  "${PYTHON:-python3}" -m venv "$tools"
  "$tools/bin/pip" install --quiet "$pin" setuptools
  touch "$tools/$pin"
fi
out=flytebuild/buildkit/_pb
rm -f "$out"/*_pb2.py "$out"/*_pb2.pyi
"$tools/bin/python" -m grpc_tools.protoc --proto_path=proto --python_out=. --pyi_out=. proto/"$out"/*.proto
