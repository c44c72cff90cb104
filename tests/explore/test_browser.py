"""The explorer in a real browser: from disk and from a server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plans import Look, assert_python_agrees, plan_of

from ncpl_data.explore.serve import server_of

PAGES = ("#/", "#/runs", "#/run/steplaw%2Fhostile", "#/run/steplaw%2Flr0.001-bs128", "#/plan")


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """The explorer behind a server on this machine."""
    with server_of(site) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_smoke_the_first_page_and_the_plan_open_from_disk(
    site: Path, browser: Any, look: Look
) -> None:
    look(site.as_uri())
    assert "13 published pretraining runs" in browser.find_element("id", "main").text
    look(site.as_uri(), "#/plan?source=marin&optimizer=muon&N=200000000")
    config, found = plan_of(browser)
    assert config["params_non_embedding"] == 200_000_000
    assert_python_agrees(config, found)
    assert browser.get_log("browser") == []


@pytest.mark.slow
@pytest.mark.parametrize("place", ["disk", "server"])
def test_every_page_opens_without_a_word_in_the_console(
    place: str, site: Path, address: str, browser: Any, look: Look
) -> None:
    for page in PAGES:
        look(site.as_uri() if place == "disk" else address, page)
        assert browser.title != "owned", page
        assert browser.find_elements("css selector", "#main img, #main script") == []
        assert browser.find_elements("css selector", "[role=alert]") == [], page
        assert browser.get_log("browser") == [], page
        names = browser.execute_script(
            "return performance.getEntriesByType('resource').map(e => e.name)"
        )
        assert all(name.startswith((site.as_uri(), address, "data:")) for name in names)
