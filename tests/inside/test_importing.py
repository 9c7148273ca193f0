"""The program that imports modules in an image, run as it is run there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from flytebuild import inside


def answer(folder: Path, modules: list[str], packages: list[str] | None = None) -> dict[str, Any]:
    wanted = json.dumps({"modules": modules, "packages": packages or []})
    command = [sys.executable, "-c", inside.text_of("importing"), wanted]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_imports_raise_is_told_with_the_user_s_frames(tmp_path: Path) -> None:
    for name, text in {
        "fine.py": "import os\nprint('said')\nos.write(1, b'written')\n",
        "deep/inner.py": "x = 1\nimport nobody_has_this.part\n",
        "lacks.py": "import deep.inner\n",
        "leaves.py": "raise SystemExit('enough')\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    found = answer(tmp_path, ["fine", "lacks", "leaves"], ["json", "nobody_has_this", "deep"])
    assert found == {
        "failures": [
            {
                "module": "lacks",
                "type": "ModuleNotFoundError",
                "message": "No module named 'nobody_has_this'",
                "missing": "nobody_has_this",
                "frames": [
                    ["lacks.py", 1, "<module>", "import deep.inner"],
                    ["deep/inner.py", 2, "<module>", "import nobody_has_this.part"],
                ],
            },
            {
                "module": "leaves",
                "type": "SystemExit",
                "message": "enough",
                "missing": None,
                "frames": [["leaves.py", 1, "<module>", "raise SystemExit('enough')"]],
            },
        ],
        "absent": ["nobody_has_this"],
    }
