"""What people see of the sizes of images."""

import pytest

from flytebuild.cli.size import lines
from flytebuild.size import StoredImage, StoredLayer, account

BASE = "pulled from ghcr.io/flyteorg/flyte:py3.11-v2.12.1@sha256:" + "1" * 64


@pytest.mark.parametrize(
    ("width", "shown"), [(160, BASE), (100, BASE[:73] + "…"), (80, BASE[:53] + "…"), (20, BASE[:39] + "…")]
)
def test_a_layer_s_name_is_whole_where_the_width_allows(width: int, shown: str) -> None:
    base = StoredLayer("sha256:1", 40_000_000, BASE)
    found = account([StoredImage(f"r.example/{name}:1", (name,), (base,)) for name in ("a", "b")])
    told = [line.plain for line in lines(found, [], width)]
    assert told == [
        "Images",
        "    40.0 MB  a  0 B of its own, 40.0 MB shared",
        "    40.0 MB  b  0 B of its own, 40.0 MB shared",
        "Layers",
        f"    40.0 MB  {shown}  in 2 images",
        "2 images, 40.0 MB together",
    ]
