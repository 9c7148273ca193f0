"""Tasks with a pod template: their primary container is a container like any other; the rest is Kubernetes'.

The SDK has put the task's own command, variables and resources into that container already. What there is no pod for
here is left out, and told: other containers, volumes, where it is scheduled, what it may do.

Source: `K8sPod` of flyteidl2/core/tasks.proto; https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flyteidl2.core.tasks_pb2 import Container, Resources, TaskTemplate
from flyteidl2.task.task_definition_pb2 import TaskSpec
from google.protobuf.json_format import MessageToDict

LEFT_OUT = "flytebuild.left-out"
"""The key of a template's configuration that has what was left out, in words."""

_NAMED = "primary_container_name"
"""The key of a template's configuration by which the SDK names the primary container."""

_RESOURCES = {
    "cpu": Resources.CPU,
    "memory": Resources.MEMORY,
    "nvidia.com/gpu": Resources.GPU,
    "storage": Resources.STORAGE,
    "ephemeral-storage": Resources.EPHEMERAL_STORAGE,
}
_TAKEN = frozenset({"name", "image", "command", "args", "env", "resources"})


class PodError(ValueError):
    """Raised for a pod in which there is nothing to run."""


def contained(spec: TaskSpec) -> TaskSpec:
    """The same task with a container instead of its pod; one that has no pod as it is. Raises PodError."""
    template = spec.task_template
    if not template.HasField("k8s_pod"):
        return spec
    pod = MessageToDict(template.k8s_pod.pod_spec)
    name = template.k8s_pod.primary_container_name or template.config.get(_NAMED, "")
    containers = pod.get("containers") or []
    primary = next((item for item in containers if item.get("name") == name), None)
    if primary is None:
        raise PodError(f"The pod of task `{template.id.name}` has no container `{name}`")
    made = TaskSpec()
    made.CopyFrom(spec)
    made.task_template.container.CopyFrom(_container(primary))
    made.task_template.container.data_config.CopyFrom(template.k8s_pod.data_config)
    if left_out := ", ".join(_left_out(template, pod, primary)):
        made.task_template.config[LEFT_OUT] = left_out
    return made


def _container(primary: Mapping[str, Any]) -> Container:
    container = Container(
        image=primary.get("image", ""), command=primary.get("command") or (), args=primary.get("args") or ()
    )
    for item in primary.get("env") or ():
        if "valueFrom" not in item:
            container.env.add(key=item["name"], value=item.get("value", ""))
    resources = primary.get("resources") or {}
    for kind, entries in (("requests", container.resources.requests), ("limits", container.resources.limits)):
        for name, value in (resources.get(kind) or {}).items():
            if name in _RESOURCES:
                entries.add(name=_RESOURCES[name], value=str(value))
    return container


def _left_out(template: TaskTemplate, pod: Mapping[str, Any], primary: Mapping[str, Any]) -> Iterator[str]:
    for item in pod["containers"]:
        if item is not primary:
            yield f"container `{item.get('name')}`"
    yield from (f"`{key}` of the pod" for key in sorted(pod) if key != "containers")
    yield from (f"`{key}` of its container" for key in sorted(primary) if key not in _TAKEN)
    yield from (f"variable `{item['name']}`" for item in primary.get("env") or () if "valueFrom" in item)
    asked = {name for entries in (primary.get("resources") or {}).values() for name in entries}
    yield from (f"resource `{name}`" for name in sorted(asked) if name not in _RESOURCES)
    metadata = template.k8s_pod.metadata
    yield from (kind for kind in ("labels", "annotations") if getattr(metadata, kind))
