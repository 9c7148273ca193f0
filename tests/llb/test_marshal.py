"""States become bytes: the same ones everywhere, every vertex once, in BuildKit's own field order."""

import hashlib

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.llb.lower import lower
from flytebuild.llb.marshal import marshal
from flytebuild.llb.run import run
from flytebuild.llb.source import image
from flytebuild.llb.trust import CA_BUNDLE
from flytebuild.spec.images import RuntimeConfig
from flytebuild.spec.layers import PipPackages
from flytebuild.spec.model import SetEnv
from tests.samples import AMD64, BASE, UV, made_of, pip, spec

CONTEXT = RuntimeConfig(env=(("PATH", "/bin"),), user="root")


def operations(definition: ops_pb2.Definition) -> list[ops_pb2.Op]:
    return [ops_pb2.Op.FromString(raw) for raw in definition.ops]


def test_bytes_are_the_same_every_time() -> None:
    once, again = marshal(lower(spec("ruff", "pytest"))), marshal(lower(spec("ruff", "pytest")))
    assert once.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)


def test_inputs_come_first_and_are_named_by_the_digest_of_their_bytes() -> None:
    definition = marshal(lower(spec("ruff", "pytest")))
    known: set[str] = set()
    for raw, operation in zip(definition.ops, operations(definition), strict=True):
        assert {item.digest for item in operation.inputs} <= known
        known.add("sha256:" + hashlib.sha256(raw).hexdigest())
    last = operations(definition)[-1]
    assert last.WhichOneof("op") is None
    assert len(last.inputs) == 1


def test_the_operation_itself_comes_after_inputs_and_platform() -> None:
    state = run(image("r.example/x:1", AMD64, name="base"), ["true"], CONTEXT, AMD64, name="step")
    exec_field = (2 << 3) | 2
    head = ops_pb2.Op.FromString(state.vertex.encoded)
    head.ClearField("exec")
    assert state.vertex.encoded.startswith(head.SerializeToString(deterministic=True) + bytes([exec_field]))


def test_a_shared_vertex_is_sent_once() -> None:
    base = image("r.example/x:1", AMD64, name="base")
    same = image("r.example/x:1", AMD64, name="another name, which is no part of it")
    assert base == same
    first = run(base, ["a"], CONTEXT, AMD64, name="a")
    assert len(marshal(first).ops) == 3


def test_equal_prefixes_of_two_images_are_equal_vertices() -> None:
    one, other = marshal(lower(spec("ruff", "pytest"))), marshal(lower(spec("ruff")))
    assert set(other.ops[:-1]) <= set(one.ops)


def test_a_deep_chain_needs_no_recursion() -> None:
    state = image("r.example/x:1", AMD64, name="base")
    for number in range(3000):
        state = run(state, [str(number)], CONTEXT, AMD64, name="step")
    assert len(marshal(state).ops) == 3002


def steps(*layers: PipPackages) -> list[ops_pb2.ExecOp]:
    return [item.exec for item in operations(marshal(lower(made_of(*layers)))) if item.WhichOneof("op") == "exec"]


def test_pip_is_an_argument_list_unless_the_user_wrote_shell_text() -> None:
    layer = pip("a<2", "b", index_url="https://i/simple", extra_index_urls=("https://e/simple",), pre=True)
    assert list(steps(layer)[1].meta.args) == (
        [
            "uv",
            "pip",
            "install",
            "--python",
            "/opt/venv/bin/python",
            "--index-url",
            "https://i/simple",
            "--extra-index-url",
            "https://e/simple",
            "--pre",
            "a<2",
            "b",
        ]
    )
    shell = steps(pip("a<2", extra_args="--no-deps"))[1].meta.args
    assert list(shell) == [
        "/bin/sh",
        "-c",
        "uv pip install --python /opt/venv/bin/python --no-deps 'a<2'",
    ]


def test_index_settings_are_optional_secrets_so_that_every_host_sends_the_same_bytes() -> None:
    step = steps(pip("a"))[1]
    assert {variable.name for variable in step.secret_env} >= {"UV_INDEX_URL", "UV_DEFAULT_INDEX"}
    assert all(variable.optional for variable in step.secret_env)


def test_a_bundle_is_named_only_where_there_is_one() -> None:
    without = steps(pip("a"))[1]
    assert not any(variable.name == "SSL_CERT_FILE" for variable in without.secret_env)
    assert not any(mount.mount_type == ops_pb2.SECRET for mount in without.mounts)
    found = [
        item.exec for item in operations(marshal(lower(made_of(pip("a")), has_bundle=True))) if item.HasField("exec")
    ]
    step = found[1]
    secret = next(mount for mount in step.mounts if mount.mount_type == ops_pb2.SECRET)
    assert (secret.secret_opt.id, secret.secret_opt.optional) == (CA_BUNDLE, True)
    assert {variable.name for variable in step.secret_env} >= {"SSL_CERT_FILE", "CURL_CA_BUNDLE"}
    assert not any("SSL_CERT_FILE" in value for value in step.meta.env)


def test_bases_are_fetched_from_where_they_were_found_by_digest() -> None:
    sources = [item.source.identifier for item in operations(marshal(lower(spec("a")))) if item.HasField("source")]
    assert sorted(sources) == [
        f"docker-image://mirror.example/astral-sh/uv@{UV.digest}",
        f"docker-image://mirror.example/flyteorg/flyte@{BASE.digest}",
    ]


def test_a_variable_of_the_image_is_not_replaced_by_the_host_s() -> None:
    made = made_of(SetEnv((("UV_INDEX_URL", "https://i/simple"),)), pip("a"))
    step = [item.exec for item in operations(marshal(lower(made))) if item.HasField("exec")][-1]
    assert "UV_INDEX_URL=https://i/simple" in step.meta.env
    assert "UV_INDEX_URL" not in {variable.name for variable in step.secret_env}
