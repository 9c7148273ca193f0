"""The pages in a real browser: live, by keyboard, in both colour schemes. Pictures are left in build/pages/."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import uvicorn
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from flytebuild.build.labels import labels
from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.logs import LogBook
from flytebuild.runtime.model import Action, Attempt, Failure, Phase, Transition, now
from flytebuild.runtime.storage import ObjectStore
from flytebuild.runtime.web.site import Web
from flytebuild.spec.digests import digests
from flytebuild.state import BuildRecord, State
from tests.runtime import samples
from tests.runtime.conftest import PICTURES
from tests.samples import spec

PAGE = "/v2/domain/development/project/flytebuild/runs/r1"
BEGAN = now() - timedelta(seconds=8)


async def known_labels(_image: str) -> dict[str, str]:
    """Every image is made of the same."""
    made = spec("ruff", "pytest")
    return labels(made, digests(made))


class Site:
    """The pages of a ledger, served by a loop in a thread of its own."""

    def __init__(self, home: Path) -> None:
        self.ledger = Ledger()
        self.logs = LogBook(home / "logs")
        self.state = home / "state.sqlite"
        web = Web(
            self.ledger,
            ObjectStore(home / "objects"),
            self.logs,
            port=0,
            home=home,
            fingerprint={},
            labels=known_labels,
            state=self.state,
        )
        settings = uvicorn.Config(web, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(settings)
        # Bound from now on: a request waits until somebody listens.
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def do(self, change: object, *arguments: object, **named: object) -> None:
        """Change the ledger where it belongs."""

        async def call() -> None:
            change(*arguments, **named)  # type: ignore[operator]

        asyncio.run_coroutine_threadsafe(call(), self.loop).result(10)

    def end(self) -> None:
        self.do(self.ledger.close)
        self.server.should_exit = True
        self.thread.join()

    def _run(self) -> None:
        self.loop.run_until_complete(self.server.serve([self.socket]))
        self.loop.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    try:
        yield made
    finally:
        made.end()


def attempt(number: int, *steps: tuple[Phase, float], **facts: object) -> Attempt:
    """An attempt whose phases began so many seconds after the run."""
    transitions = tuple(Transition(phase, BEGAN + timedelta(seconds=at)) for phase, at in steps)
    made = Attempt(number, f"s3://flytebuild/{number}", transitions, image="127.0.0.1:5000/acme/fold:b3-0172be3162ed")
    return replace(made, **facts)  # type: ignore[arg-type]


def child(name: str, task: str, created: float, *attempts: Attempt, **facts: object) -> Action:
    made = samples.action(name, "a0", samples.task_spec(task))
    made = replace(made, created=BEGAN + timedelta(seconds=created), attempts=attempts)
    return replace(made, **facts)  # type: ignore[arg-type]


def fill(ledger: Ledger) -> None:
    """A run with a child that has succeeded, one that failed before, and one that waits."""
    root = attempt(1, (Phase.QUEUED, 0), (Phase.INITIALIZING, 0.2), (Phase.RUNNING, 1.1))
    main = replace(
        samples.action(spec=samples.task_spec("multi_env.main")), created=BEGAN, attempts=(root,), phase=Phase.RUNNING
    )
    ledger.create_run(replace(samples.run(), started=BEGAN), main)
    steps = (Phase.QUEUED, 2), (Phase.INITIALIZING, 2.1), (Phase.RUNNING, 3), (Phase.SUCCEEDED, 5)
    well = attempt(1, *steps, image_id="sha256:ab12", heard=BEGAN + timedelta(seconds=3.6))
    ended = BEGAN + timedelta(seconds=5)
    ledger.add(child("c1", "msa_env.run_msa", 2, well, phase=Phase.SUCCEEDED, ended=ended))
    failure = Failure("ValueError", "Traceback (most recent call last):\nValueError: no such sequence")
    steps = (Phase.QUEUED, 5), (Phase.INITIALIZING, 5.2), (Phase.RUNNING, 6), (Phase.FAILED, 7)
    first = attempt(1, *steps, failure=failure)
    second = attempt(2, (Phase.QUEUED, 7), (Phase.WAITING_FOR_RESOURCES, 7.1), waiting_for="4 CPUs, 2 are free")
    ledger.add(child("c2", "fold_env.run_fold", 5, first, second, phase=Phase.WAITING_FOR_RESOURCES))


def test_a_run_is_followed_without_reloading(site: Site, browser: Chrome) -> None:
    site.do(fill, site.ledger)
    log = site.logs.path(samples.action().key, 1)
    log.parent.mkdir(parents=True)
    log.write_text("2026-01-31T12:00:02.5Z folding AAGGTTCCAA\n")
    browser.get(site.address + PAGE)
    browser.execute_script("window.isTheSame = true")
    # The page may be put in place anew between a look and the next one.
    wait = WebDriverWait(browser, 15, ignored_exceptions=(StaleElementReferenceException,))
    assert len(browser.find_elements(By.CSS_SELECTOR, ".timeline g")) == 3
    browser.save_screenshot(str(PICTURES / "run-light.png"))

    # What is unfolded stays so while the log grows.
    wait.until(lambda _: browser.find_element(By.CSS_SELECTOR, "#a0-log summary").send_keys(Keys.ENTER) is None)
    with log.open("a") as file:
        file.write("2026-01-31T12:00:03.5Z a second line\n")
    wait.until(lambda _: "a second line" in browser.find_element(By.CSS_SELECTOR, "#a0-log pre").text)

    site.do(site.ledger.finish, child("c2", "", 5).key, Phase.SUCCEEDED)
    site.do(site.ledger.finish, samples.action().key, Phase.SUCCEEDED)
    wait.until(lambda _: browser.find_element(By.CSS_SELECTOR, "h1 .badge").text == "succeeded")
    assert browser.find_element(By.TAG_NAME, "main").get_attribute("data-events") == ""
    assert browser.execute_script("return window.isTheSame")
    assert [entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]] == []

    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    browser.save_screenshot(str(PICTURES / "run-dark.png"))
    paper = browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
    assert paper == "rgba(21, 23, 26, 1)"


def test_the_list_of_runs_leads_to_a_run(site: Site, browser: Chrome) -> None:
    site.do(fill, site.ledger)
    browser.get(site.address)
    browser.save_screenshot(str(PICTURES / "runs.png"))
    # A run that begins is there without a word of ours.
    site.do(site.ledger.create_run, samples.run("r2"), samples.action(run_name="r2"))
    WebDriverWait(browser, 15).until(lambda _: "<code>r2</code>" in browser.page_source)
    # The list may be put in place anew between a look and the next one.
    ignored = (StaleElementReferenceException,)
    WebDriverWait(browser, 15, ignored_exceptions=ignored).until(
        lambda _: browser.find_element(By.LINK_TEXT, "r1").send_keys(Keys.ENTER) is None
    )
    WebDriverWait(browser, 15).until(lambda _: "main" in browser.title)
    assert browser.current_url == site.address + PAGE


def test_environments_and_builds_are_drawn(site: Site, browser: Chrome) -> None:
    site.do(fill, site.ledger)
    browser.get(site.address + PAGE)
    # The page lives: what is found in it may be gone before it is clicked.
    assert f'href="{PAGE}/environments"' in browser.page_source
    browser.get(f"{site.address}{PAGE}/environments")
    arrive(browser, "The environments of r1")
    assert "pip: pytest" in browser.find_element(By.TAG_NAME, "main").text
    browser.save_screenshot(str(PICTURES / "environments.png"))

    times = {"begin": 0.5, "end": 4.0, "error": None}
    told = (
        ("uv from ghcr.io/astral-sh/uv", 0.5, 0.5, True, None),
        ("pip: ruff", 0.6, 2.5, False, None),
        ("pip: nothing", 2.5, 4.0, False, "exit code 1"),
    )
    fields = ("name", "begin", "end", "cached", "error")
    steps = [{"image": "r/a:1", **dict(zip(fields, values, strict=True))} for values in told]
    images = [{"reference": "r/a:1", "environments": ["fold_env"], **times}]
    document = {"seconds": 4.2, "images": images, "steps": steps, "left_out": 0}
    with State.open(site.state) as state:
        state.record_build(BuildRecord("b1", BEGAN.timestamp(), json.dumps(document)))
    browser.get(site.address)
    assert 'href="/builds"' in browser.page_source
    browser.get(f"{site.address}/builds")
    browser.find_element(By.CSS_SELECTOR, "td a").click()
    arrive(browser, "Build ")
    names = [item.text for item in browser.find_elements(By.CSS_SELECTOR, ".timeline .name")]
    assert names == ["fold_env", "uv from ghcr.io/astral-sh/uv", "pip: ruff", "pip: nothing"]
    browser.save_screenshot(str(PICTURES / "build.png"))
    assert [entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]] == []


def arrive(browser: Chrome, title: str) -> None:
    """Wait for the page that a link leads to."""
    WebDriverWait(browser, 20).until(lambda driver: driver.title.startswith(title))
