"""Rule `depends-on`: which tasks are called, and from where."""

from pathlib import Path

import pytest

from tests.check.project import examined, said

BUILT = ', image=flyte.Image.from_debian_base(name="other").with_env_vars({"A": "1"})'
OTHER = """
    import flyte
    other = flyte.TaskEnvironment(name="other"{image})

    @other.task
    def there(x: int = 1) -> int:
        return x

    @other.task
    async def soon(x: int = 1) -> int:
        return x
"""
MAIN = """
import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
import flyte
import pieces.other
import pieces.other as alias
from pieces.other import other, soon, there, there as renamed
from pieces.helpers import apply, by_default, chosen, closure, helper, Lazy, made, remembered, Worker, worker

env = flyte.TaskEnvironment(name="env"{declared})
partial = functools.partial(there, x=1)
TABLE = {{"one": there, "two": soon}}
STEPS = [there]
{above}
@env.task
{sort}def main(n: int = 1) -> int:
{body}
    return 1
"""
HELPERS = """
import functools
import flyte
from pieces.other import there

def helper(x):
    return inner(x)

def inner(x):
    return there(x)

def apply(function, x):
    return function(x)

def chosen():
    return there

class Worker:
    step = there

    def __init__(self):
        self.own = there

    def work(self):
        return self.again()

    def again(self):
        return there(1)

    @classmethod
    def make(cls):
        return there(1)

    def by_attribute(self):
        return self.own(1)

    def by_class(self):
        return self.step(1)

    def __call__(self, x):
        return there(x)

class Lazy(Worker):
    def work(self):
        return super().work()

@functools.lru_cache
def remembered(x):
    return there(x)

def by_default(x, step=there):
    return step(x)

def made(step):
    def inside(x):
        return step(x)
    return inside

closure = made(there)
worker = Worker()
"""

CERTAIN = {
    "plain": "there(1)",
    "whole module": "pieces.other.there(1)",
    "module alias": "alias.there(1)",
    "renamed": "renamed(1)",
    "local alias": "f = there; f(1)",
    "keyword": "there(x=n)",
    "in a comprehension": "[there(i) for i in range(n)]",
    "in a condition": "n > 1 and there(1)",
    "in a nested function": "def inside():\n        return there(1)\n    inside()",
    "in a lambda": "(lambda: there(1))()",
    "partial of the module": "partial()",
    "partial here": "functools.partial(there, 1)()",
    "flyte.map": "list(flyte.map(there, [1, 2]))",
    "flyte.map of a partial": "list(flyte.map(functools.partial(there), [1, 2]))",
    "builtin map": "list(map(there, [1, 2]))",
    "override": "there.override(short_name='x')(1)",
    "override kept": "t = there.override(short_name='x')\n    t(1)",
    "import within": "from pieces.other import there as late\n    late(1)",
    "import of a module within": "import pieces.other as late\n    late.there(1)",
    "loop over tasks": "for step in (there,):\n        step(1)",
    "loop over a list of the module": "for step in STEPS:\n        step(1)",
    "table with a key": "TABLE['one'](1)",
    "helper": "helper(1)",
    "helper that is given it": "apply(there, 1)",
    "helper that returns it": "chosen()(1)",
    "method": "Worker().work()",
    "method of an object": "worker.work()",
    "attribute of an object": "worker.own(1)",
    "attribute in a method": "Worker().by_attribute()",
    "attribute of the class": "worker.by_class()",
    "class method": "Worker.make()",
    "object that is called": "worker(1)",
    "object that is made and called": "Worker()(1)",
    "inherited method": "Lazy().work()",
    "closure": "closure(1)",
    "closure made here": "made(there)(1)",
    "cached function": "remembered(1)",
    "default": "by_default(1)",
    "getattr": "getattr(alias, 'there')(1)",
    "to a thread": "asyncio.run(asyncio.to_thread(there, 1))",
}
CERTAIN_ASYNC = {
    "await": "await soon(1)",
    "aio": "await there.aio(1)",
    "gather": "await asyncio.gather(soon(1), soon(2))",
    "gather of a list": "await asyncio.gather(*[soon(i) for i in range(n)])",
    "create_task": "await asyncio.create_task(soon(1))",
    "map, asynchronously": "[x async for x in flyte.map.aio(soon, [1, 2])]",
    "group": "with flyte.group('g'):\n        await soon(1)",
}
NONE = {
    "nothing": "pass",
    "forward": "there.forward(1)",
    "a run of its own": "flyte.run(there, 1)",
    "a run with its context": "flyte.with_runcontext(mode='local').run(there, 1)",
    "its name": "print(there.name, there)",
    "a parameter of that name": "(lambda there: there(1))(int)",
    "another value than the default": "by_default(1, int)",
    "a variable of that name": "there = int\n    there(1)",
    "a deployed one": "import flyte.remote\n    flyte.remote.Task.get('other.there', auto_version='latest')(x=1)",
}


def project(
    folder: Path, body: str, *, sort: str = "", declared: str = "", above: str = "", image: str = BUILT
) -> list[str]:
    main = MAIN.format(body=f"    {body}", sort=sort, declared=declared, above=above)
    found = examined(folder, main=main, pieces__other=OTHER.format(image=image), pieces__helpers=HELPERS)
    return said(found, "depends-on", folder)


@pytest.mark.parametrize("name", [*CERTAIN, *CERTAIN_ASYNC])
def test_a_call_without_depends_on_is_found(tmp_path: Path, name: str) -> None:
    sort = "async " if name in CERTAIN_ASYNC else ""
    found = project(tmp_path, {**CERTAIN, **CERTAIN_ASYNC}[name], sort=sort)
    assert len(found) == 1, found
    assert found[0].startswith("error "), found
    assert "calls `other." in found[0]
    assert found[0].endswith("and `env` does not depend on `other`")


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_call_is_none(tmp_path: Path, name: str) -> None:
    assert project(tmp_path, NONE[name]) == []


def test_a_call_that_is_declared_transitively_or_not_is_none(tmp_path: Path) -> None:
    body = "\n    ".join(CERTAIN.values())
    assert project(tmp_path / "one", body, declared=", depends_on=[other]") == []
    above = "between = flyte.TaskEnvironment(name='between', depends_on=[other])\nenv.add_dependency(between)"
    assert project(tmp_path / "two", body, above=above) == []


def test_an_image_that_is_used_as_it_is_is_found_without(tmp_path: Path) -> None:
    assert project(tmp_path, "there(1)", image="") == [
        "advice main.py:18: `env.main` calls `other.there`, and `env` does not depend on `other`; that works, since "
        "the image of `other` is used as it is"
    ]


def test_a_call_that_another_environment_s_runs_know_the_image_of(tmp_path: Path) -> None:
    above = "top = flyte.TaskEnvironment(name='top', depends_on=[env, other])"
    assert project(tmp_path, "there(1)", above=above) == [
        "advice main.py:18: `env.main` calls `other.there`, and `env` does not depend on `other`; that works only in "
        "runs that begin in `top`"
    ]


def test_the_line_and_the_way_are_told(tmp_path: Path) -> None:
    found = project(tmp_path, "x = 1\n    Worker().work()")
    assert found == [
        "error pieces/helpers.py:28: `env.main`, through `work` and `again`, calls `other.there`, "
        "and `env` does not depend on `other`"
    ]
    assert project(tmp_path / "direct", "x = 1\n    there(x)") == [
        "error main.py:19: `env.main` calls `other.there`, and `env` does not depend on `other`"
    ]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("TABLE[str(n)](1)", "which of several is called is decided when it runs"),
        ("import json\n    json.dumps(there)", "whether `json.dumps` calls it is not known"),
        ("there.forward(soon)", "whether `there.forward` calls it is not known"),
    ],
)
def test_what_may_be_a_call_is_not_known(tmp_path: Path, body: str, why: str) -> None:
    found = project(tmp_path, body)
    assert len(found) == 1, found
    assert found[0].startswith("unknown ")
    assert found[0].endswith(why)


def test_decorators_of_the_user_s_are_looked_through(tmp_path: Path) -> None:
    above = """
def counted(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

@env.task
@counted
def decorated(n: int = 1) -> int:
    return there(n)

@flyte.trace
def traced(n: int) -> int:
    return soon(n)

@env.task
def by_trace(n: int = 1) -> int:
    return traced(n)
"""
    found = project(tmp_path, "pass", above=above)
    assert len(found) == 1
    assert "`env.decorated` calls `other.there`" in found[0]


def test_recursion_and_a_function_that_is_made_of_text_end(tmp_path: Path) -> None:
    above = """
def around(n, f=None):
    return around(n - 1, f) if n else f(n)

exec("def made(n): return there(n)")
"""
    assert len(project(tmp_path, "around(3, there)\n    made(1)", above=above)) == 1


def test_code_that_leads_to_itself_in_many_ways_ends(tmp_path: Path) -> None:
    """It would not within days, if every way were followed."""
    visits = "\n".join(f"    if n == {number}:\n        return visit_{number}(n)" for number in range(30))
    functions = "\n".join(f"def visit_{number}(n):\n    return visit(n) or visit(n + 1)" for number in range(30))
    classes = "class Node:\n    def walk(self):\n        " + "; ".join(["Node().walk()"] * 9)
    lines = "\n    ".join(["x = str(n)", *["x = x.strip().lower()", "x = visit(x)"] * 40, "x(1)", "there(x)"])
    above = f"def visit(n):\n{visits}\n    return print\n{functions}\n{classes}"
    found = project(tmp_path, lines + "\n    Node().walk()", above=above)
    assert len(found) == 1


def test_code_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    above = """
exec(compile("def made(n): return there(n)", __file__, "exec"))

class Odd:
    @property
    def __class__(self):
        raise RuntimeError("ask me nothing")

odd = Odd()

@env.task
def strange(n: int) -> int:
    return odd(n)
"""
    assert project(tmp_path, "made(1)", above=above) == [
        "unknown main.py:11: What `env.strange` calls is not known, since the code of `strange` cannot be read",
        "unknown main.py:11: What `env.main` calls is not known, since the code of `made` cannot be read",
    ]


def test_a_comment_turns_it_off(tmp_path: Path) -> None:
    assert project(tmp_path / "a", "there(1)  # flytebuild: ignore[depends-on]") == []
    assert project(tmp_path / "b", "# flytebuild: ignore\n    there(1)") == []
    assert len(project(tmp_path / "c", "there(1)  # flytebuild: ignore[missing-package]")) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_app_that_calls_a_task(tmp_path: Path) -> None:
    above = """
import flyte.app
app = flyte.app.AppEnvironment(name="app", image="acme/app:1")

@app.server
def serve():
    there(1)
"""
    assert project(tmp_path, "pass", above=above) == [
        "error main.py:21: `app.serve` calls `other.there`, and `app` does not depend on `other`"
    ]
