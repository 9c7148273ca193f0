"""What the SDK does with secrets and projects on a control plane, as JSON."""

import json

import flyte
from connectrpc.errors import ConnectError
from flyte.remote import Project, Secret

flyte.init_from_config()


def refusal(action, *arguments, **options):
    try:
        action(*arguments, **options)
    except (ConnectError, RuntimeError) as error:
        return str(error)
    return ""


def names():
    return [secret.name for secret in Secret.listall()]


Secret.create("API_KEY", "first")
Secret.create(name="in-a-file", value=b"second")
document = {
    "created": names(),
    "again": refusal(Secret.create, "api-key", "other"),
    "binary": refusal(Secret.create, "picture", b"\xff\xfe"),
    "one": Secret.get("API_KEY").to_dict(),
}
Secret.delete("in-a-file")
document |= {
    "left": names(),
    "gone": refusal(Secret.get, "in-a-file"),
    "delete": refusal(Secret.delete, "never"),
    "projects": {found.pb2.id: [item.id for item in found.pb2.domains] for found in Project.listall()},
    "archived": [found.pb2.id for found in Project.listall(archived=True)],
    "project": Project.get("flytebuild").pb2.name,
    "unknown": refusal(Project.get, "never"),
    "new": refusal(Project.create, "new", "New"),
}
print(json.dumps(document), flush=True)
