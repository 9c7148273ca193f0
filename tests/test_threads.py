"""Blocking work on daemon threads."""

import asyncio
import subprocess
import sys
import threading

import pytest

from flytebuild.threads import in_thread


def test_results_and_errors_come_back() -> None:
    def fail() -> None:
        raise ValueError("no")

    async def work() -> int:
        with pytest.raises(ValueError, match="no"):
            await in_thread(fail, "test")
        return await in_thread(lambda: 3, "test")

    assert asyncio.run(work()) == 3


def test_a_result_that_nobody_waits_for_any_more_harms_nothing() -> None:
    go = threading.Event()

    async def give_up() -> None:
        future = in_thread(go.wait, "test")
        future.cancel()

    asyncio.run(give_up())
    go.set()


def test_an_error_that_nobody_waits_for_any_more_is_not_printed() -> None:
    script = (
        "import asyncio, gc, threading\n"
        "from flytebuild.threads import in_thread\n"
        "def fail():\n"
        "    raise ValueError('no')\n"
        "async def main():\n"
        "    future = in_thread(fail, 'test')\n"
        "    while not future.done():\n"
        "        await asyncio.sleep(0)\n"
        "asyncio.run(main())\n"
        "[thread.join() for thread in threading.enumerate() if thread.daemon]\n"
        "gc.collect()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_process_ends_while_the_work_goes_on() -> None:
    script = (
        "import asyncio, threading\n"
        "from flytebuild.threads import in_thread\n"
        "async def main():\n"
        "    in_thread(threading.Event().wait, 'test')\n"
        "asyncio.run(main())\n"
        "print('ended')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert done.stdout == "ended\n"
