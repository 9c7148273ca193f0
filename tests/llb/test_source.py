"""Sources name what they hold, and nothing of the machine or the session."""

import pytest

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.llb.source import local, local_name

DIGEST = "ab" * 32


def test_a_tree_is_named_by_its_digest_alone() -> None:
    one = local(DIGEST, name="src/")
    other = local(DIGEST, name="the same files elsewhere")
    assert one.vertex.digest == other.vertex.digest
    assert one.vertex.digest != local("cd" * 32, name="src/").vertex.digest
    source = ops_pb2.Op.FromString(one.vertex.encoded).source
    assert source.identifier == f"local://{local_name(DIGEST)}" == f"local://tree-{DIGEST[:32]}"
    assert dict(source.attrs) == {"local.sharedkeyhint": local_name(DIGEST)}


def test_what_is_no_digest_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        local("abc", name="src/")
