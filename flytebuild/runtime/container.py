"""From a task's template to the order for a container: pure functions, no engine.

Environment, the weakest first: what trust in a private CA needs, the run's variables, the task's variables, its
secrets, and what the SDK inside relies on, which nothing overrides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timezone
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from flytebuild.runtime import quantity
from flytebuild.runtime.addresses import HOST_NAME, LABEL, object_store_variables
from flytebuild.runtime.archives import Entry
from flytebuild.runtime.model import Action, Attempt, Run
from flytebuild.runtime.passes import Bearer, Passes
from flytebuild.runtime.reuse import Reuse, reuse

if TYPE_CHECKING:
    from flyteidl2.core.security_pb2 import Secret
    from flyteidl2.core.tasks_pb2 import Container, TaskTemplate

CA_PATH = "/run/flytebuild/ca.crt"
"""Where containers find the bundle of trusted certificates."""

SECRETS_FOLDER = "/etc/flyte/secrets"
"""Where containers find secrets as files, `GROUP/KEY` or `KEY`; the SDK knows no other place."""

_SECRET_PART = re.compile(r"(?!\.+$)[A-Za-z0-9._-]+")
_TEMPLATE = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")
_TRUST_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
_CPU, _GPU, _MEMORY = 1, 2, 3
"""Numbers of `Resources.ResourceName` in the protocol."""


class OrderError(Exception):
    """Raised when a task asks for something that this control plane does not do; says so in one sentence.

    `code` is the failure's, as Flyte names it.
    """

    code = "Unsupported"


class SecretUnknownError(OrderError):
    """Raised for a secret that nobody has handed over."""

    code = "SecretNotFound"


Secrets: TypeAlias = Callable[[str], str]
"""A secret's value by its name; raises LookupError with the reason, as the end of a sentence."""


def no_secrets(_name: str) -> str:
    """No secret at all."""
    raise LookupError("there is none")


@dataclass(frozen=True, slots=True)
class Site:
    """What the control plane lends to containers: where it is, credentials of their own, the machine's size.

    `home` identifies the control plane among several on one engine. `cpus` is 0 where the number is not known.
    `is_warm` asks for warm containers for every task. `storage` gives the variables by which containers
    reach a store of the user's own, with its credentials of the moment; it raises OrderError where there are none.
    `network` is the one that containers join where the engine is on another machine; it has HOST_NAME in it.
    """

    home: str
    port: int
    passes: Passes
    cpus: int = 0
    has_ca_bundle: bool = False
    is_warm: bool = False
    storage: Callable[[], Mapping[str, str]] | None = None
    network: str = ""

    @property
    def endpoint(self) -> str:
        """The control plane, as containers reach it."""
        return f"http://{HOST_NAME}:{self.port}"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may use; sizes are in bytes, None is no limit."""

    nano_cpus: int | None = None
    memory: int | None = None
    shared_memory: int | None = None
    gpus: int | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A container to be started. `entrypoint` replaces the image's where it is not empty.

    `secret_files` are texts by their paths in SECRETS_FOLDER. `own` names those variables of `environment` that are
    this attempt's alone; all else may be another's as well, with which it shares a container where `reuse` says so.
    `files` are put into it before it starts. Without a `network` it joins the engine's default one.
    `task` is the task's name, and `caller` that of the task that called it, if one did.
    `takes_input` is set where its program reads its standard input, and by that the files as well.
    """

    image: str
    entrypoint: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    labels: Mapping[str, str]
    limits: Limits
    network: str = ""
    secret_files: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    own: frozenset[str] = frozenset()
    reuse: Reuse | None = None
    files: tuple[Entry, ...] = ()
    takes_input: bool = False
    task: str = ""
    caller: str = ""

    @property
    def is_flyte(self) -> bool:
        """Whether its program is the entrypoint of Flyte's SDK."""
        return not self.entrypoint and self.arguments[:1] == ("a0",)


def order(run: Run, action: Action, attempt: Attempt, site: Site, secrets: Secrets = no_secrets) -> Order:
    """The container that executes one attempt of a task, with those of the secrets that it asks for.

    Raises OrderError for a task that cannot be executed here, SecretUnknownError.
    """
    if action.task is None:
        raise OrderError("only tasks run in containers")
    template = action.task.task_template
    container = executable(template)
    values = template_values(run, action, attempt)
    own = own_variables(run, action, attempt, site)
    return Order(
        image=container.image,
        entrypoint=tuple(substitute(item, values) for item in container.command),
        arguments=tuple(substitute(item, values) for item in container.args),
        environment={**common_variables(run, container, site, secret_variables(template, secrets)), **own},
        labels={
            f"{LABEL}.home": site.home,
            f"{LABEL}.run": run.name,
            f"{LABEL}.action": action.key.name,
            f"{LABEL}.attempt": str(attempt.number),
        },
        limits=resources(template, container, site.cpus),
        secret_files=secret_files(template, secrets),
        own=frozenset(own),
        reuse=reuse_of(run, action, site),
        task=template.id.name,
        network=site.network,
    )


def reuse_of(run: Run, action: Action, site: Site) -> Reuse | None:
    """How the containers of a task are used again, or None. Raises OrderError."""
    assert action.task is not None  # noqa: S101 - nothing else runs in containers
    template = action.task.task_template
    if template.container.data_config.enabled:
        # No SDK in it could take a second action.
        return None
    is_limited = resources(template, template.container, site.cpus) != Limits()
    return reuse(run, template, action.environment, is_warm=site.is_warm, is_limited=is_limited)


def executable(template: TaskTemplate) -> Container:
    """The container of a task that we are able to execute as it is meant.

    Raises OrderError where running it would silently leave something out.
    """
    if not template.HasField("container"):
        raise OrderError(f"Task `{template.id.name}` has a `{template.WhichOneof('target')}`, not a container")
    return template.container


def template_values(run: Run, action: Action, attempt: Attempt) -> dict[str, str]:
    """What the placeholders in a task's arguments stand for."""
    raw = run.spec.raw_data_storage.raw_data_prefix.rstrip("/")
    tail = f"{action.key.name}/{attempt.number}"
    previous = f"{action.attempt_outputs(attempt.number - 1)}/_flytecheckpoints"
    return {
        "input": action.input_uri,
        "outputPrefix": attempt.outputs,
        "rawOutputDataPrefix": f"{raw}/{run.folder}/{tail}" if raw else f"{attempt.outputs}/data",
        "checkpointOutputPrefix": f"{attempt.outputs}/_flytecheckpoints",
        "prevCheckpointPrefix": previous if attempt.number > 1 else "",
        "runName": run.name,
        "actionName": action.key.name,
        "runStartTime": run.started.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }


def substitute(text: str, values: Mapping[str, str]) -> str:
    """Replace the placeholders `{{.name}}` that have a value; others belong to somebody else and stay."""
    return _TEMPLATE.sub(lambda found: values.get(found[1], found[0]), text)


def secret_variables(template: TaskTemplate, secrets: Secrets) -> dict[str, str]:
    """The secrets that a task asks for, by the variables that it wants them in. Raises SecretUnknownError."""
    asked = template.security_context.secrets
    return {secret.env_var: _value(template, secret, secrets) for secret in asked if secret.env_var}


def secret_files(template: TaskTemplate, secrets: Secrets) -> dict[str, str]:
    """The secrets that a task asks for as files, by their paths in SECRETS_FOLDER.

    Raises SecretUnknownError, and OrderError for a name that no file can have.
    """
    found: dict[str, str] = {}
    for secret in template.security_context.secrets:
        if secret.env_var:
            continue
        parts = [part for part in (secret.group, secret.key) if part]
        if not parts or not all(map(_SECRET_PART.fullmatch, parts)):
            raise OrderError(f"Task `{template.id.name}` asks for the secret `{'/'.join(parts)}`, which names no file")
        found["/".join(parts)] = _value(template, secret, secrets)
    return found


def secret_names(template: TaskTemplate) -> tuple[str, ...]:
    """The names of the secrets that a task asks for."""
    return tuple(dict.fromkeys(map(_name, template.security_context.secrets)))


def _name(secret: Secret) -> str:
    return "_".join(filter(None, (secret.group, secret.key)))


def _value(template: TaskTemplate, secret: Secret, secrets: Secrets) -> str:
    name = _name(secret)
    try:
        return secrets(name)
    except LookupError as why:
        raise SecretUnknownError(f"Task `{template.id.name}` asks for the secret `{name}`, and {why}") from why


def common_variables(
    run: Run, container: Container, site: Site, secrets: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """The variables that containers of a task have in common."""
    trust = dict.fromkeys(_TRUST_VARIABLES, CA_PATH) if site.has_ca_bundle else {}
    return {
        "FLYTE_DISABLE_TELEMETRY": "1",
        # Logs are followed while they are written.
        "PYTHONUNBUFFERED": "1",
        **trust,
        **{item.key: item.value for item in run.spec.envs.values},
        **{item.key: item.value for item in container.env},
        **secrets,
    }


def own_variables(run: Run, action: Action, attempt: Attempt, site: Site) -> dict[str, str]:
    """The variables of one attempt that the SDK inside relies on; they come before all others."""
    own = site.passes.issue(Bearer(run.name, run.folder, action.key.name, attempt.number))
    return {
        "ACTION_NAME": action.key.name,
        "RUN_NAME": run.name,
        "FLYTE_ATTEMPT_NUMBER": str(attempt.number - 1),
        "FLYTE_INTERNAL_EXECUTION_PROJECT": run.project,
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": run.domain,
        "_U_ORG_NAME": run.org,
        "_U_RUN_BASE": run.base,
        "_U_EP_OVERRIDE": f"{site.endpoint}{own.path}",
        "_U_INSECURE": "1",
        "_U_USE_ACTIONS": "1",
        **(site.storage() if site.storage else object_store_variables(site.endpoint, own.key_id, own.key_secret)),
    }


def resources(template: TaskTemplate, container: Container, cpus: int) -> Limits:
    """The limits of a container: a limit counts before a request, CPUs end at the machine's.

    Raises OrderError for a quantity that cannot be read.
    """
    amounts: dict[int, str] = {}
    for entry in (*container.resources.requests, *container.resources.limits):
        amounts[entry.name] = entry.value
    try:
        cpu = quantity.parse(amounts[_CPU]) if amounts.get(_CPU) else None
        memory = quantity.parse(amounts[_MEMORY]) if amounts.get(_MEMORY) else None
        gpus = quantity.parse(amounts[_GPU]) if amounts.get(_GPU) else None
        shared_text = template.extended_resources.shared_memory.size_limit
        shared = quantity.parse(shared_text) if shared_text else None
    except ValueError as error:
        raise OrderError(f"Task `{template.id.name}` asks for resources that cannot be read: {error}") from error
    if cpu is not None and cpus:
        # An engine refuses more than the machine has; on a laptop, all of it is what was meant.
        cpu = min(cpu, quantity.parse(str(cpus)))
    return Limits(
        nano_cpus=int(cpu * 10**9) if cpu else None,
        memory=int(memory) if memory else None,
        shared_memory=int(shared) if shared else None,
        gpus=int(gpus) if gpus else None,
    )
