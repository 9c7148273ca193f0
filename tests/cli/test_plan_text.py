"""What people see of a plan."""

from msgspec.structs import replace

from flytebuild.cli.plan_text import render, summary
from flytebuild.facts import Absent
from flytebuild.plan import Observation, make_plan
from flytebuild.spec.layers import Pin, Pinned, WheelLayer
from tests.samples import AMD64, UV, made_of, pip
from tests.test_plan import NODES, SPECS, plan, present, target, variants

EXPECTED = """\
Environments
  = fold  {fold}  tasks run
  + msa   {msa}  tasks run
  + main  {main}  tasks run  depends on fold, msa

To do
  + {msa}  msa  to build: not in the engine's store
      {msa_reference}
      = 3 layers are there
      + {pytest}  pip: pytest  (no image that is present has it)
  + {main}  main  to build: not in the engine's store
      {main_reference}
      = 4 layers are there
      + {main_pytest}  pip: pytest  (no image that is present has it)

3 images, 2 to build"""

WHOLE = """\
Environments
  = fold  {fold}  tasks run
  + msa   {msa}  tasks run
  + main  {main}  tasks run  depends on fold, msa

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


def test_what_is_to_be_done_is_told_and_all_of_it_when_asked_for() -> None:
    planned = plan({target(SPECS["fold"]): present(SPECS["fold"])})
    fold, msa, main = planned.images
    base, uv, venv, ruff, main_pytest = (layer.digest[:8] for layer in main.layers)
    names = {
        "fold": fold.short,
        "msa": msa.short,
        "main": main.short,
        "fold_reference": fold.reference,
        "msa_reference": msa.reference,
        "main_reference": main.reference,
        "base": base,
        "uv": uv,
        "venv": venv,
        "ruff": ruff,
        "pytest": msa.layers[-1].digest[:8],
        "main_pytest": main_pytest,
    }
    assert render(planned).plain == EXPECTED.format(**names)
    assert render(planned, verbose=True).plain == WHOLE.format(**names)


def test_a_plan_with_nothing_to_do_has_a_line_for_each_environment() -> None:
    planned = plan({target(item): present(item) for item in SPECS.values()})
    fold, msa, main = (image.short for image in planned.images)
    assert render(planned).plain == (
        f"Environments\n  = fold  {fold}  tasks run\n  = msa   {msa}  tasks run\n"
        f"  = main  {main}  tasks run  depends on fold, msa\n\n3 images, nothing to build"
    )
    assert render(make_plan((), {}, None, {})).plain == "No environments, nothing to build"


def test_an_image_that_only_gets_a_name_is_told_with_where_it_is() -> None:
    planned = plan({target(item): present(item) for item in SPECS.values()})
    fold = replace(planned.images[0], status="missing", copied_from="reg.example/fold:1", reason="not in `b`")
    shown = render(replace(planned, images=(fold, *planned.images[1:]))).plain
    assert f"  > fold  {fold.short}  tasks run\n" in shown
    assert shown.endswith(
        f"\n\nTo do\n  > {fold.short}  fold  to re-tag from reg.example/fold:1: not in `b`\n"
        f"      {fold.reference}\n\n3 images, 1 to re-tag"
    )


def test_long_lists_of_an_environment_are_counted() -> None:
    planned = plan({target(item): present(item) for item in SPECS.values()})
    tasks = tuple(f"main.task{number}" for number in range(9))
    planned = replace(planned, environments=(replace(planned.environments[0], tasks=tasks),))
    assert "tasks task0, task1, task2 and 6 others\n" in render(planned).plain
    shown = render(planned, verbose=True).plain
    assert "tasks task0, task1, task2, task3, task4, task5, task6, task7, task8\n" in shown


def test_of_many_environments_that_share_a_layer_some_are_named() -> None:
    specs = {f"env{number}": made_of(pip(f"six=={number}")) for number in range(9)}
    nodes = [replace(NODES[0], name=name) for name in specs]
    nowhere = {target(spec): Observation(Absent()) for spec in specs.values()}
    shown = render(make_plan(nodes, variants(specs), None, nowhere), verbose=True).plain
    assert shown.count("; shared with env1, env2, env3 and 5 others)\n") > 0, shown
    assert "env4, env5" not in shown


def test_packages_that_come_as_wheel_layers_and_such_that_do_not() -> None:
    shared = WheelLayer((Pin("numpy", "2.3.5", "n.whl", "1" * 64, size=16_900_000),), UV, "3.11", AMD64, "/opt/venv")
    own = replace(
        shared,
        pins=(Pin("six", "1.17", "s.whl", "2" * 64, size=11_000), Pin("tqdm", "4.6", "t.whl", "3" * 64, size=8_000)),
    )
    one = made_of(Pinned((*shared.pins, *own.pins), "layers", layers=(shared, own)))
    two = made_of(Pinned(shared.pins, "layers", layers=(shared,)), Pinned(own.pins, reason="it replaces `six`"))
    specs = {"fold": one, "msa": two, "main": two}
    nowhere = {target(spec): Observation(Absent()) for spec in specs.values()}
    planned = replace(make_plan(NODES, variants(specs), None, nowhere), made=frozenset((shared.key,)))
    shown = render(planned).plain
    assert "pip: numpy==2.3.5, six==1.17, tqdm==4.6  (a layer below it is missing; 2 wheel layers, 1 new)\n" in shown
    assert "pip: numpy==2.3.5  (a layer below it is missing; 1 wheel layer)\n" in shown
    assert "pip: six==1.17, tqdm==4.6  (a layer below it is missing; " in shown
    assert "; installed by a step, since it replaces `six`)\n" in shown
    shared_told = f"  = {shared.key[:8]}  wheel: numpy 2.3.5  16.9 MB  (fold, msa, main)\n"
    assert f"Wheel layers\n{shared_told}  + " in render(planned, verbose=True).plain
    assert shown.endswith(
        "Wheel layers\n"
        "  = 1 wheel layer is there\n"
        f"  + {own.key[:8]}  wheels: six 1.17, tqdm 4.6  19.0 kB  (fold)\n\n"
        "2 images, 2 to build"
    )


def test_the_summary() -> None:
    assert summary(plan({target(item): present(item) for item in SPECS.values()})) == "3 images, nothing to build"
    assert summary(make_plan((), {}, None, {})) == "No environments, nothing to build"
    one = make_plan(NODES[:1], variants({"fold": SPECS["fold"]}), None, {target(SPECS["fold"]): present(SPECS["fold"])})
    assert summary(one) == "1 image, nothing to build"
