"""The generated package is what proto/ says."""

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from flytebuild.buildkit._pb import control_pb2, filesync_pb2, gateway_pb2, ops_pb2, session_pb2

PROTO = Path(__file__).parents[2] / "proto"
MODULES = (ops_pb2, control_pb2, session_pb2, filesync_pb2, gateway_pb2)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.DESCRIPTOR.name)
def test_generated_code_and_proto_files_agree(module: object, tmp_path: Path) -> None:
    """If this fails, run `make proto`."""
    descriptor = module.DESCRIPTOR  # type: ignore[attr-defined]
    compiled = tmp_path / "compiled"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={PROTO}", f"--descriptor_set_out={compiled}"]
    subprocess.run([*command, str(PROTO / descriptor.name)], check=True, timeout=60)
    (expected,) = FileDescriptorSet.FromString(compiled.read_bytes()).file
    found = FileDescriptorProto()
    descriptor.CopyToProto(found)
    for item in (expected, found):
        # Compilers differ in whether they write a field's JSON name out.
        _strip_json_names(item)
    assert found == expected


def _strip_json_names(file: FileDescriptorProto) -> None:
    pending = list(file.message_type)
    while pending:
        message = pending.pop()
        pending.extend(message.nested_type)
        for field in message.field:
            field.ClearField("json_name")
