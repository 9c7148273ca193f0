"""What tests say of the runs that they started."""

import json
import time
from typing import Any

from tests import plain

ENDED = ("SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT")


def tell_failures(document: dict[str, Any]) -> None:
    """Print why actions of a run did not succeed at once, for whoever reads of a test that failed."""
    for action in document["actions"]:
        if action["phase"] != "SUCCEEDED" or len(action["attempts"]) > 1:
            print(json.dumps({"run": document["run"], **action}))


def until_ended(endpoint: str, run: str, seconds: float = 60) -> str:
    """Follow a run at a control plane until it has ended; its phase."""
    deadline = time.monotonic() + seconds
    while (phase := str(plain.get(f"{endpoint}/api/runs/{run}").json()["phase"])) not in ENDED:
        assert time.monotonic() < deadline, f"run {run} is {phase} and does not end"
        time.sleep(0.02)
    return phase
