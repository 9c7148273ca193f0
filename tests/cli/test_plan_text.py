"""What people see of a plan."""

from flytebuild.cli.plan_text import render, summary
from flytebuild.plan import make_plan
from tests.test_plan import NODES, SPECS, plan, present, target, variants

EXPECTED = """\
Environments
  fold  image {fold}  tasks run
  msa   image {msa}  tasks run
  main  image {main}  tasks run  depends on fold, msa

Images
  = {fold}  fold  present
      {fold_reference}
      = {base}  base ghcr.io/flyteorg/flyte:py3.11-v2.12.1 @ sha256:111111111111  (shared with msa, main)
      = {uv}  uv from ghcr.io/astral-sh/uv:0.13.4  (shared with msa, main)
      = {venv}  virtual environment /opt/venv (with Python 3.11 if there is none)  (shared with msa, main)
      = {ruff}  pip: ruff  (shared with main)
  + {msa}  msa  to build: not in the engine's store
      {msa_reference}
      = {base}  base ghcr.io/flyteorg/flyte:py3.11-v2.12.1 @ sha256:111111111111  (shared with fold, main)
      = {uv}  uv from ghcr.io/astral-sh/uv:0.13.4  (shared with fold, main)
      = {venv}  virtual environment /opt/venv (with Python 3.11 if there is none)  (shared with fold, main)
      + {pytest}  pip: pytest  (no image that is present has it)
  + {main}  main  to build: not in the engine's store
      {main_reference}
      = {base}  base ghcr.io/flyteorg/flyte:py3.11-v2.12.1 @ sha256:111111111111  (shared with fold, msa)
      = {uv}  uv from ghcr.io/astral-sh/uv:0.13.4  (shared with fold, msa)
      = {venv}  virtual environment /opt/venv (with Python 3.11 if there is none)  (shared with fold, msa)
      = {ruff}  pip: ruff  (shared with fold)
      + {main_pytest}  pip: pytest  (no image that is present has it)

3 images, 2 to build"""


def test_the_whole_plan() -> None:
    planned = plan({target(SPECS["fold"]): present(SPECS["fold"])})
    fold, msa, main = planned.images
    base, uv, venv, ruff, main_pytest = (layer.digest[:8] for layer in main.layers)
    assert render(planned).plain == EXPECTED.format(
        fold=fold.short,
        msa=msa.short,
        main=main.short,
        fold_reference=fold.reference,
        msa_reference=msa.reference,
        main_reference=main.reference,
        base=base,
        uv=uv,
        venv=venv,
        ruff=ruff,
        pytest=msa.layers[-1].digest[:8],
        main_pytest=main_pytest,
    )


def test_the_summary() -> None:
    assert summary(plan({target(item): present(item) for item in SPECS.values()})) == "3 images, nothing to build"
    assert summary(make_plan((), {}, None, {})) == "No environments, nothing to build"
    one = make_plan(NODES[:1], variants({"fold": SPECS["fold"]}), None, {target(SPECS["fold"]): present(SPECS["fold"])})
    assert summary(one) == "1 image, nothing to build"
