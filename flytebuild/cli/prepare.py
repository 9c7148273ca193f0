"""Images first: planning and building what a run needs, told in as few words as the work deserves."""

from __future__ import annotations

from collections.abc import Sequence

from flytebuild import pipeline
from flytebuild.authoring.environments import Definitions
from flytebuild.cli.console import err, notice
from flytebuild.cli.plan_text import summary
from flytebuild.cli.progress import follow
from flytebuild.config import Config
from flytebuild.events import Notice
from flytebuild.graph import EnvironmentNode
from flytebuild.plan import Plan
from flytebuild.spec.model import Definition, ExternalImage

ready: dict[Definition, str] = {}
"""References of the images that this process has seen or made; the SDK asks for each of them once more."""


async def prepare(
    config: Config, definitions: Definitions, targets: Sequence[str], *, is_checked: bool = False
) -> Plan:
    """Plan the closure of `targets` and build what is missing of it; tell what checks find, if wanted.

    Raises as planning and building do.
    """
    with pipeline.reader(config, notice) as read:
        nodes = definitions.needed(targets, read)
    if is_checked:
        # Loaded here: `flyte run` tells nothing of it.
        from flytebuild import checks

        for message in checks.warnings(checks.check(config, definitions, nodes)):
            notice(Notice(message))
    return await prepare_nodes(config, nodes)


async def prepare_nodes(config: Config, nodes: Sequence[EnvironmentNode]) -> Plan:
    """The same for environments whose closure is known."""
    planned = await pipeline.plan_nodes(config, nodes, notice)
    err().print(summary(planned))
    if not planned.is_fulfilled:
        with pipeline.recorded(config) as experience, follow(config.progress, expected=experience.seconds) as emit:
            await pipeline.build(config, planned, emit)
    ready.update(
        {node.image: planned.reference_of(node.name) for node in nodes if not isinstance(node.image, ExternalImage)}
    )
    return planned
