"""What people do in the explorer, in a real browser; screenshots stay in screenshots/."""

from __future__ import annotations

import base64
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plans import Look, assert_python_agrees, plan_of

SHOTS = Path(__file__).parents[2] / "screenshots"
AXE = "axe-core@4.14.1"
PAGES = {
    "sources": "#/", "runs": "#/runs", "run": "#/run/steplaw%2Flr0.001-bs128",
    "hostile": "#/run/steplaw%2Fhostile", "curves": "#/curves", "contours": "#/contours",
    "predicted": "#/predicted", "board": "#/board", "plan": "#/plan",
}  # fmt: skip
pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of axe-core (MPL-2.0), from its package; skipped where npm can not get it."""
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("axe")
    if npm is None:
        pytest.skip("npm is not installed")
    done = subprocess.run([npm, "pack", AXE, "--silent"], check=False, cwd=folder, timeout=120)
    packed = next(folder.glob("*.tgz"), None)
    if done.returncode or packed is None:
        pytest.skip(f"npm can not get {AXE}")
    with tarfile.open(packed) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode("utf-8")


def resize(browser: Any, width: int, height: int, scheme: str = "light") -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def screenshot(browser: Any, name: str, width: int) -> None:
    """Keep a picture of the whole page."""
    SHOTS.mkdir(exist_ok=True)
    high = browser.execute_script("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": min(high, 4000), "scale": 1}
    options = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    found = browser.execute_cdp_cmd("Page.captureScreenshot", options)
    (SHOTS / f"{name}-{width}.png").write_bytes(base64.b64decode(found["data"]))


def until(found: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + 30
    while not found():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def test_filters_sort_and_a_link_keep_the_state(site: Path, browser: Any, look: Look) -> None:
    look(site.as_uri(), "#/runs")
    status = browser.find_element("css selector", "p.count")
    assert status.text == "13 of 13 runs"
    field = browser.find_element("css selector", "input[placeholder='low..high']")
    assert field.is_displayed()
    browser.find_element("css selector", "input[type=search]").send_keys("bs128")
    until(lambda: status.text == "4 of 13 runs")
    head = "//*[@role='columnheader']//button[text()='loss']"
    browser.find_element("xpath", head).click()
    rows = browser.find_elements("css selector", ".vbody a")
    assert rows[0].text == "lr0.002-bs128"
    kept = browser.current_url
    assert "q=bs128" in kept
    assert "sort=final_loss" in kept
    browser.get("about:blank")
    browser.get(kept)
    until(lambda: len(browser.find_elements("css selector", ".vbody a")) == 4)
    browser.find_elements("css selector", ".vbody a")[0].click()
    until(lambda: "lr0.002-bs128" in browser.find_element("css selector", "h1").text)
    until(lambda: "Values and where each comes from" in browser.page_source)
    assert browser.get_log("browser") == []


def test_dragging_the_plan_moves_the_loss_as_python_does(
    site: Path, browser: Any, look: Look
) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    look(site.as_uri(), "#/plan?source=steplaw")
    shown = browser.find_element("id", "plan-loss")
    before = shown.text
    slider = browser.find_elements("css selector", "input[type=range]")[2]
    ActionChains(browser).drag_and_drop_by_offset(slider, 60, 0).perform()
    until(lambda: shown.text != before)
    config, found = plan_of(browser)
    assert_python_agrees(config, found)
    assert shown.text == f"{found['loss']:.4f} nats per token"
    dragged = shown.text
    slider.send_keys(Keys.ARROW_LEFT * 20)
    until(lambda: shown.text != dragged)
    assert_python_agrees(*plan_of(browser))
    until(lambda: "rate=" in browser.current_url)
    assert browser.get_log("browser") == []


@pytest.mark.parametrize(
    "asked",
    [
        "source=marin&optimizer=soap&N=500000000&D=40000000000&rate=0.002&batch=256",
        "source=marin&optimizer=kron&N=130000000&D=3000000000&rate=0.001&batch=512",
        "source=steplaw&N=2000000000&D=100000000000&rate=0.001&batch=1000",
    ],
)
def test_plans_inside_and_beyond_training_are_those_of_python(
    asked: str, site: Path, browser: Any, look: Look
) -> None:
    look(site.as_uri(), f"#/plan?{asked}")
    assert_python_agrees(*plan_of(browser))


def test_a_click_on_a_point_opens_its_run(site: Path, browser: Any, look: Look) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    look(site.as_uri(), "#/predicted")
    over = browser.find_element("css selector", ".u-over")
    x, y = browser.execute_script(
        "const p = NCPL.predictedChart.plot, q = NCPL.predictedChart.layers[0].points[0];"
        "return [p.valToPos(q.x, 'x'), p.valToPos(q.y, 'y')]"
    )
    size = over.size
    move = ActionChains(browser).move_to_element_with_offset(
        over, round(x - size["width"] / 2), round(y - size["height"] / 2)
    )
    move.click().perform()
    until(lambda: "#/run/" in browser.current_url)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_no_page_has_a_serious_fault_of_access(
    width: int, scheme: str, site: Path, browser: Any, look: Look, axe: str
) -> None:
    resize(browser, width, 900, scheme)
    for name, page in PAGES.items():
        look(site.as_uri(), page)
        time.sleep(0.3)
        screenshot(browser, name if scheme == "light" else f"{name}-{scheme}", width)
        assert browser.title != "owned"
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} pixels wide"
        browser.execute_script(axe)
        found = browser.execute_async_script(
            "const done = arguments[0]; axe.run({preload: false}).then(r => done(r.violations))"
        )
        bad = [
            (one["id"], [node["html"][:200] for node in one["nodes"]][:3])
            for one in found
            if one["impact"] in {"serious", "critical"}
        ]
        assert bad == [], name
        assert browser.get_log("browser") == [], name


def test_the_explorer_works_by_keyboard_alone(site: Path, browser: Any, look: Look) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(*keys: str) -> None:
        ActionChains(browser).send_keys(*keys).perform()

    def at() -> Any:
        return browser.switch_to.active_element

    look(site.as_uri(), "#/")
    press(Keys.TAB)
    assert at().text == "Skip to the page"
    press(Keys.ENTER)
    assert at().get_attribute("id") == "main"
    look(site.as_uri(), "#/")
    for _ in range(12):
        press(Keys.TAB)
        if at().text == "Runs":
            break
    press(Keys.ENTER)
    until(lambda: browser.find_element("css selector", "h1").text == "Runs")
    for _ in range(40):
        press(Keys.TAB)
        if at().text == "loss":
            break
    press(Keys.ENTER)
    until(lambda: "sort=final_loss" in browser.current_url)
    for _ in range(40):
        press(Keys.TAB)
        if "#/run/" in (at().get_attribute("href") or ""):
            break
    name = at().text
    press(Keys.ENTER)
    until(lambda: name in browser.find_element("css selector", "h1").text)
    assert browser.get_log("browser") == []
