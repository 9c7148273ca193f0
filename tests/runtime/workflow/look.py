"""What the SDK finds on a control plane, as JSON: `look.py DONE RUN`, the second with children and a code bundle."""

import json
import sys
import tempfile
from datetime import datetime, timedelta, timezone

import flyte
from connectrpc.errors import ConnectError
from flyte.models import ActionPhase
from flyte.remote import Action, Condition, Run, TimeFilter

flyte.init_from_config()
recent = TimeFilter(after=datetime.now(timezone.utc) - timedelta(hours=1))
past = TimeFilter(before=datetime.now(timezone.utc) - timedelta(hours=1))


def names(**options):
    return [run.name for run in Run.listall(**options)]


listings = {
    "oldest first": names(),
    "newest first": names(sort_by=("created_at", "desc")),
    "by name": names(sort_by=("name", "asc")),
    "two": names(limit=2),
    "succeeded": names(in_phase=(ActionPhase.SUCCEEDED,)),
    "recovered": names(in_phase=(ActionPhase.RECOVERED,)),
    "of either phase": names(in_phase=("succeeded", "running")),
    "of a task": names(task_name="env.other"),
    "of a version": names(task_version="v1"),
    "recent": names(created_at=recent, updated_at=recent),
    "past": names(created_at=past),
    "labeled": names(with_labels={"team": "red"}),
    "with a label": names(with_label_keys=["team"]),
    "paused": names(paused_actions_only=True),
}
refused = {}
for name, options in {"creator": {"created_by_subject": "me"}, "order": {"sort_by": ("colour", "asc")}}.items():
    try:
        names(**options)
    except ConnectError as error:
        refused[name] = str(error)
run = Run.get(sys.argv[2])
with tempfile.TemporaryDirectory() as folder:
    code = {path.name: path.read_text() for path in run.download_code(dest=folder).rglob("*.py")}
document = {
    "runs": listings,
    "refused": refused,
    "actions": [action.name for action in Action.listall(for_run_name=run.name, sort_by=("created_at", "desc"))],
    "children": [action.name for action in Action.listall(for_run_name=run.name, parent_name="a0", created_at=recent)],
    "conditions": [found.name for found in Condition.listall(run_name=run.name)],
    "reports": [
        Action.get(run_name=sys.argv[1], name="a0").get_report(),
        Action.get(run_name=run.name, name="c1").get_report(attempt=1),
    ],
    "code": code,
}
print(json.dumps(document), flush=True)
