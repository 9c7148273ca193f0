"""What a plan tells of the build that would follow."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from flytebuild.build import foresight
from flytebuild.config import Config
from flytebuild.facts import Absent, Fact, Present
from flytebuild.graph import EnvironmentNode
from flytebuild.plan import Observation, Plan, Variants, make_plan, references
from flytebuild.secret_source import SecretSource
from flytebuild.spec.digests import digests
from flytebuild.spec.layers import Command, Secret
from tests.samples import AMD64, ARM64, definition, made_of

NODES = (EnvironmentNode("env", None, (), (), definition()),)
ABSENT, CONFIG = Absent(), Config()
NOTHING: Mapping[str, str] = MappingProxyType({})
SECRET = made_of(Command("true", secrets=(Secret("", "TOK", env="TOK"),)))


def plan(variants: Variants, registry: str | None, fact: Fact = ABSENT) -> Plan:
    seen = {
        target: Observation(fact, image=digests(next(iter(variants.values()))).image)
        for target in references(variants, registry)
    }
    return make_plan(NODES, {"env": variants}, registry, seen)


def told(planned: Plan, environ: Mapping[str, str] = NOTHING, config: Config = CONFIG) -> list[str]:
    return list(foresight.obstacles(planned, config, environ))


def test_several_platforms_need_a_registry() -> None:
    both = {platform: made_of(platform=platform) for platform in (AMD64, ARM64)}
    (message,) = told(plan(both, None))
    assert message.startswith("An image for several platforms cannot be built without a registry")
    assert told(plan(both, "r.example")) == []
    assert told(plan({AMD64: both[AMD64]}, None)) == []


def test_secrets_that_nobody_has() -> None:
    missing = plan({AMD64: SECRET}, None)
    (message,) = told(missing)
    assert message.startswith(
        "`run: true` (main.py:1) needs the secret `TOK`, and there is none; set the variable `TOK`"
    )
    assert told(missing, {"TOK": "s3cr3t"}) == []
    assert told(plan({AMD64: SECRET}, None, Present("sha256:1"))) == []
    for text, problem in (("env:OTHER", "the variable `OTHER` is not set"), ("command:false", "")):
        source = SecretSource.parse(text, Path("/"), "--secret")
        found = told(missing, config=Config(secrets={"tok": source}))
        assert [problem in message for message in found] == ([True] if problem else [])
