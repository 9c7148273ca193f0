"""The pages of a real run in a real browser. Pictures are left in build/pages/."""

from __future__ import annotations

from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.runtime.conftest import PICTURES

pytestmark = pytest.mark.engine


def test_a_run_s_pages_show_what_ran(table_run: tuple[dict[str, Any], dict[str, Any]], browser: Chrome) -> None:
    _, document = table_run
    browser.get(document["url"])
    assert browser.find_element(By.CSS_SELECTOR, "h1 .badge").text == "succeeded"
    for action in document["actions"]:
        section = browser.find_element(By.ID, action["name"])
        assert action["container"][:12] in section.text
        assert section.find_elements(By.TAG_NAME, "details"), "its log at least"
    made = document["actions"][1]["name"]
    for part in ("image", "Outputs"):
        browser.find_element(By.CSS_SELECTOR, f"[id='{made}-{part}'] summary").click()
    layers = [item.text for item in browser.find_elements(By.CSS_SELECTOR, f"[id='{made}-image'] li")]
    assert any("pandas" in layer for layer in layers)
    rows = browser.find_elements(By.CSS_SELECTOR, ".timeline g")
    assert len(rows) == 3
    for row in rows:
        assert row.find_elements(By.CSS_SELECTOR, ".started")
        assert row.find_elements(By.CSS_SELECTOR, ".ran")
    picture(browser, "real-run")

    browser.get(f"{document['url']}/environments")
    assert "frame_owners" in browser.find_element(By.TAG_NAME, "main").text
    picture(browser, "real-environments")
    browser.get(document["url"].partition("/v2/")[0])
    # The list lives: what is found in it may be gone a moment later.
    assert document["run"] in browser.page_source
    picture(browser, "real-runs")
    assert [entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]] == []


def picture(browser: Chrome, name: str) -> None:
    """The page in both colour schemes, and as wide as a telephone; nothing of it is cut off there."""
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.save_screenshot(str(PICTURES / f"{name}-{scheme}.png"))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    narrow = {"width": 400, "height": 1300, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    browser.save_screenshot(str(PICTURES / f"{name}-narrow.png"))
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 400
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
