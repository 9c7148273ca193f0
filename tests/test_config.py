"""Where settings come from, and what is refused."""

from pathlib import Path

import pytest

from flytebuild.config import load
from flytebuild.errors import ConfigError
from flytebuild.secret_source import SecretSource


def test_later_sources_win(tmp_path: Path) -> None:
    inner = tmp_path / "project"
    inner.mkdir()
    (tmp_path / "pyproject.toml").write_text('[tool.flytebuild]\nregistry = "one.example"\njobs = 2\nport = 1000\n')
    (inner / "flytebuild.toml").write_text('registry = "two.example/team/"\n[mirrors]\n"ghcr.io" = "m.example/ghcr"\n')
    config = load(inner, {"FLYTEBUILD_PORT": "2000"}, jobs=3)
    assert (config.registry, config.port, config.jobs) == ("two.example/team", 2000, 3)
    assert dict(config.mirrors) == {"ghcr.io": "m.example/ghcr"}


def test_a_variable_can_unset_the_registry_and_set_mirrors(tmp_path: Path) -> None:
    (tmp_path / "flytebuild.toml").write_text('registry = "one.example"\n')
    config = load(tmp_path, {"FLYTEBUILD_REGISTRY": "", "FLYTEBUILD_MIRRORS": "a.io=b.io/a, c.io=d.io"})
    assert config.registry is None
    assert dict(config.mirrors) == {"a.io": "b.io/a", "c.io": "d.io"}


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "flytebuild.toml").write_text('ca_bundle = "certs/ca.pem"\n')
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "ca.pem").touch()
    (tmp_path / "sub").mkdir()
    assert load(tmp_path / "sub", {}).ca_bundle == tmp_path / "certs" / "ca.pem"


def test_the_host_s_ca_bundle_is_the_default(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    assert load(tmp_path, {"SSL_CERT_FILE": str(bundle)}).ca_bundle is None
    bundle.touch()
    assert load(tmp_path, {"SSL_CERT_FILE": str(bundle)}).ca_bundle == bundle


def test_a_ca_bundle_that_cannot_be_read_is_refused_at_once(tmp_path: Path) -> None:
    missing = tmp_path / "nothing.pem"
    with pytest.raises(ConfigError, match=r"nothing\.pem` cannot be read \(No such file or directory\)"):
        load(tmp_path, {"FLYTEBUILD_CA_BUNDLE": str(missing)})
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path, {"FLYTEBUILD_CA_BUNDLE": str(tmp_path)})
    # What a later source replaces does not count.
    (tmp_path / "flytebuild.toml").write_text('ca_bundle = "nothing.pem"\n')
    (tmp_path / "ca.pem").touch()
    assert load(tmp_path, {"FLYTEBUILD_CA_BUNDLE": str(tmp_path / "ca.pem")}).ca_bundle == tmp_path / "ca.pem"


@pytest.mark.parametrize("value", [0, 65, -1])
def test_jobs_have_the_same_bounds_everywhere(tmp_path: Path, value: int) -> None:
    message = f"`jobs` must be a whole number from 1 to 64, not `{value}` "
    with pytest.raises(ConfigError, match=rf"{message}\(in `--jobs`\)"):
        load(tmp_path, {}, jobs=value)
    with pytest.raises(ConfigError, match=rf"{message}\(in `FLYTEBUILD_JOBS`\)"):
        load(tmp_path, {"FLYTEBUILD_JOBS": str(value)})
    (tmp_path / "flytebuild.toml").write_text(f"jobs = {value}\n")
    with pytest.raises(ConfigError, match=rf"{message}\(in `.*flytebuild\.toml`\)"):
        load(tmp_path, {})


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("registri = 'x'", "unknown key `registri`", "did you mean `registry`?"),
        ("[tool.flytebuild]\njobs = 1", "unknown key `tool`", "without a table's name"),
        ("jobs = 'many'", "`jobs`", None),
        ("jobs = 0", "`jobs`", None),
        ("jobs = '4'", 'not the text `"4"`', "write `jobs = 4`, without quotes"),
        ("jobs = true", "`jobs`", None),
        ("mirrors = 'x'", "`mirrors`", "for example"),
        ("registry = 1", "`registry`", None),
        (
            "registry = 'https://r.example/x'",
            "`registry` in .* is `https://r.example/x`, which is not",
            "without `https://`",
        ),
        ("registry = 'r.example/UP'", "is not a registry", "small letters"),
        ("mirrors = { 'ghcr.io' = 'http://m' }", "`mirrors` in .* is `http://m`", "without `https://`"),
        ("platforms = 'linux/amd64'", "must be a list", "for example"),
        (
            "platforms = ['linux/foo']",
            "`linux/foo` is not a platform that Flyte runs on",
            "`linux/amd64` or `linux/arm64`",
        ),
        ("cache = 'r.example'", "is `r.example`, which is not a repository", "`inline`, or `off`"),
        ("cache = 'r.example/cache:1'", "is not a registry", "small letters"),
        ("compression = 'xz'", "must be one of `zstd`, `gzip`, not `xz`", None),
        ("platforms = [1]", "`1` is not a platform", "`linux/amd64` or `linux/arm64`"),
        ("registry = ", "cannot be read", None),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, text: str, message: str, hint: str | None) -> None:
    (tmp_path / "flytebuild.toml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, {})
    assert caught.value.exit_code == 64
    assert hint is None or hint in (caught.value.hint or "")


def test_what_is_wrong_with_a_variable_names_it(tmp_path: Path) -> None:
    for name, value in (("REGISTRY", "https://ghcr.io/x"), ("PLATFORMS", "linux/amd64,linux/foo")):
        with pytest.raises(ConfigError, match=f"`FLYTEBUILD_{name}`"):
            load(tmp_path, {f"FLYTEBUILD_{name}": value})


@pytest.mark.parametrize("value", ["localhost", "127.0.0.1:5000/team/x", "[::1]:5000", "r.example/a-b_c"])
def test_registries(tmp_path: Path, value: str) -> None:
    assert load(tmp_path, {"FLYTEBUILD_REGISTRY": value}).registry == value


def test_a_section_that_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool]\nflytebuild = 3\n")
    with pytest.raises(ConfigError, match="must be a table"):
        load(tmp_path, {})


def test_a_variable_of_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="FLYTEBUILD_JOB"):
        load(tmp_path, {"FLYTEBUILD_JOB": "2"})
    with pytest.raises(ConfigError, match="whole number"):
        load(tmp_path, {"FLYTEBUILD_JOBS": "two"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FLYTEBUILD_HOME", ""),
        ("FLYTEBUILD_CA_BUNDLE", ""),
        ("FLYTEBUILD_REGISTRY", "me:hunter2@r.example/x"),
        ("FLYTEBUILD_MIRRORS", "ghcr.io=me:hunter2@r.example/x"),
    ],
)
def test_nothing_empty_for_a_path_and_no_credentials(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {name: value})
    assert caught.value.hint
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_secrets_are_joined_and_relative_to_what_names_them(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.flytebuild.secrets]\nA = "file:token"\nB = "env:X"\nC = "command:pass show c"\n'
    )
    config = load(tmp_path, {"FLYTEBUILD_SECRETS": "B=command:printf %s,b , D=env:D"}, secrets={"C": "env:C=="})
    said = str(tmp_path / "pyproject.toml")
    assert dict(config.secrets) == {
        "A": SecretSource("file", "token", tmp_path, said),
        "B": SecretSource("command", "printf %s,b", Path.cwd(), "FLYTEBUILD_SECRETS"),
        "C": SecretSource("env", "C==", Path.cwd(), "--secret"),
        "D": SecretSource("env", "D", Path.cwd(), "FLYTEBUILD_SECRETS"),
    }


@pytest.mark.parametrize("value", ['"s3cret"', '"env:"', '"s3cret:x"', "7", '["env:X"]'])
def test_a_secret_itself_has_no_place_in_the_configuration(tmp_path: Path, value: str) -> None:
    (tmp_path / "flytebuild.toml").write_text(f"[secrets]\nTOKEN = {value}\n")
    with pytest.raises(ConfigError, match="does not say where `TOKEN` is taken from") as caught:
        load(tmp_path, {})
    assert "s3cret" not in caught.value.message + (caught.value.hint or "")
    assert caught.value.__suppress_context__


def test_secrets_that_are_no_table(tmp_path: Path) -> None:
    (tmp_path / "flytebuild.toml").write_text('secrets = "s3cret"\n')
    with pytest.raises(ConfigError, match="must be a table") as caught:
        load(tmp_path, {})
    assert "s3cret" not in caught.value.message + (caught.value.hint or "")


def test_what_is_pushed_and_cached_is_a_choice(tmp_path: Path) -> None:
    given = {"FLYTEBUILD_CACHE": "r.example/team/cache", "FLYTEBUILD_COMPRESSION": "gzip"}
    found = load(tmp_path, given)
    assert (found.cache, found.compression) == ("r.example/team/cache", "gzip")
    assert (load(tmp_path, {}).cache, load(tmp_path, {}).compression) == (None, "zstd")
    assert load(tmp_path, {"FLYTEBUILD_CACHE": "off"}).cache == "off"


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("REGISTRI", "r.example", "did you mean `FLYTEBUILD_REGISTRY`?"),
        ("XYZ", "1", "`FLYTEBUILD_CACHE`"),
        ("MIRRORS", "ghcr.io", "for example: ghcr.io=registry.example.com/ghcr.io"),
    ],
)
def test_what_to_do_about_a_variable_is_said_of_variables(tmp_path: Path, name: str, value: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"`FLYTEBUILD_{name}`") as caught:
        load(tmp_path, {f"FLYTEBUILD_{name}": value})
    assert hint in (caught.value.hint or "")
