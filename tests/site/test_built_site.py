"""The built site: every link resolves, every picture is described, nothing is fetched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
FETCHED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}
"""What a page loads by itself, by tag."""


class Page(HTMLParser):
    """The links, pictures, ids and loaded files of a page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.pictures: list[str] = []
        self.ids: set[str] = set()
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what a tag says."""
        said = {name: value or "" for name, value in attrs}
        self.ids.update(said[name] for name in ("id", "name") if name in said)
        if tag == "a" and "href" in said:
            self.links.append(said["href"])
        if tag == "img":
            self.pictures.append(said.get("alt", ""))
        if (
            tag in FETCHED
            and FETCHED[tag] in said
            and said.get("rel") not in ("canonical", "next", "prev")
        ):
            self.loaded.append(said[FETCHED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """The pages by file."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)],
        check=False, capture_output=True, text=True, cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return {file: Page(file) for file in sorted(folder.rglob("*.html")) if file.name != "404.html"}


def test_every_link_of_the_site_leads_somewhere(site: dict[Path, Page]) -> None:
    assert sum(len(page.links) for page in site.values()) > 1000
    broken = []
    for file, page in site.items():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            anchors = site[target].ids if target in site else None
            if not target.exists() or (
                parts.fragment and anchors is not None and unquote(parts.fragment) not in anchors
            ):
                broken.append((file.name, link))
    assert broken == []


def test_every_picture_of_the_site_is_described(site: dict[Path, Page]) -> None:
    pictures = [(file.name, alt) for file, page in site.items() for alt in page.pictures]
    assert len(pictures) >= 5
    assert [one for one in pictures if len(one[1].split()) < 3] == []


def test_the_site_asks_no_other_server(site: dict[Path, Page]) -> None:
    assert len(site) >= 30
    asked = [
        (f.name, one) for f, page in site.items() for one in page.loaded if urlsplit(one).netloc
    ]
    assert asked == []


@pytest.mark.slow
def test_search_finds_pages_from_disk(site: dict[Path, Page], tmp_path: Path) -> None:
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for word in ("--headless=new", "--no-sandbox", f"--user-data-dir={tmp_path}"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        browser.set_window_size(1280, 900)
        browser.get(next(file for file in site if file.name == "start.html").as_uri())
        query = browser.find_element(By.CSS_SELECTOR, "[data-md-component=search-query]")
        query.click()
        query.send_keys("choice gap")
        found = WebDriverWait(browser, 30).until(
            lambda page: page.find_elements(By.CSS_SELECTOR, ".md-search-result__item a")
        )
        assert any("concepts.html" in one.get_attribute("href") for one in found)
        assert browser.get_log("browser") == []
    finally:
        browser.quit()
