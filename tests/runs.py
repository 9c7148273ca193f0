"""What tests say of the runs that they started."""

import json
from typing import Any

ENDED = ("SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT")


def tell_failures(document: dict[str, Any]) -> None:
    """Print why actions of a run did not succeed at once, for whoever reads of a test that failed."""
    for action in document["actions"]:
        if action["phase"] != "SUCCEEDED" or len(action["attempts"]) > 1:
            print(json.dumps({"run": document["run"], **action}))
