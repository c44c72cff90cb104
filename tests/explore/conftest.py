"""A small explorer with hostile texts, and a real browser to look at it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ncpl
from ncpl_data.catalog.curve import Curve
from ncpl_data.catalog.record import Run
from ncpl_data.catalog.store import Catalog
from ncpl_data.explore.build import build
from ncpl_data.explore.tables import read_catalog

sys.path.insert(0, str(Path(__file__).parent))  # helpers of these tests
HOSTILE = (
    "</script><img src=x onerror=\"document.title='owned'\"><script>alert(1)</script>'\\\u2028"
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1280,900",
)  # fmt: skip


def steplaw_run(name: str, **fields: Any) -> Run:
    """Return a run as StepLaw's are, so that the bundle predicts it."""
    step = np.arange(1, 31, dtype=np.int64) * 500
    loss = 2.5 + 2 / np.sqrt(step)
    values: dict[str, Any] = {
        "source_run": name, "optimizer": "adamw", "learning_rate": 1e-3, "schedule": "cosine",
        "params_non_embedding": 60_000_000, "batch_size_sequences": 128, "sequence_length": 2048,
        "train_steps": 15_000, "train_tokens": 15_000 * 128 * 2048, "status": "finished",
        "d_model": 576, "d_ff": 5016, "weight_decay": 0.1, "warmup_steps": 2000,
        "min_learning_rate": 1e-5, "final_loss": float(loss[-1]), "adam_beta1": 0.9,
        "adam_beta2": 0.95, "adam_epsilon": 1e-8, "grad_clip_norm": 1.0,
        "final_loss_metric": "train/loss_smoothed", "final_loss_unit": "nats_per_token",
        "curves": (Curve("train/loss_smoothed", step, loss, tokens=step * 128 * 2048),),
    }  # fmt: skip
    return Run(run_id=f"steplaw/{name}", source="steplaw", **(values | fields))


def made_runs() -> list[Run]:
    """Return twelve runs over learning rate and batch, and one full of hostile texts."""
    runs = [
        steplaw_run(f"lr{rate}-bs{batch}", learning_rate=rate, batch_size_sequences=batch,
                    train_steps=15_000 * 128 // batch, final_loss=2.6 + abs(rate - 2e-3) * 20)
        for rate in (5e-4, 1e-3, 2e-3, 4e-3)
        for batch in (64, 128, 256)
    ]  # fmt: skip
    hostile = steplaw_run(
        "hostile", notes=HOSTILE, optimizer=HOSTILE, dataset=HOSTILE, source_run=HOSTILE,
        model_family="__proto__", extra={"__proto__": HOSTILE},
        final_loss_metric=HOSTILE, curves=(),
    )  # fmt: skip
    return [*runs, hostile]


@pytest.fixture(scope="session")
def small_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of thirteen runs."""
    root = tmp_path_factory.mktemp("explored") / "catalog"
    Catalog(root).upsert(made_runs(), source="steplaw", operation="test", origin="made")
    return root


@pytest.fixture(scope="session")
def site(small_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An explorer of them, with the shipped bundle and a board."""
    board = {
        "snapshot_id": "0" * 64,
        "rows": [{"method": HOSTILE, "k": 3, "mae": 0.1, "median_mae": 0.1, "families": 1}],
        "families": [{"method": HOSTILE, "k": 3, "family": "made", "mae": 0.1, "coverage": 0.9,
                      "targets": 4.0}],
        "absent": {},
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("explorer") / "site"
    bundle: Any = ncpl.load()
    build(read_catalog(small_catalog), bundle, board, folder, lambda _: None)
    return folder


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """A headless Chromium of its own; the test is skipped where none is installed."""
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'browser'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(driver))
    found.set_script_timeout(60)
    try:
        yield found
    finally:
        found.quit()


@pytest.fixture
def look(browser: Any) -> Callable[..., None]:
    """Open a page and wait until it is drawn."""
    from selenium.webdriver.support.ui import WebDriverWait

    def open_page(place: str, hash_: str = "#/") -> None:
        browser.get("about:blank")
        browser.get(f"{place}/index.html{hash_}")
        ready = "const m = document.getElementById('main'); return m.querySelector('h1') && "
        ready += "!m.hasAttribute('aria-busy')"
        WebDriverWait(browser, 60).until(lambda b: b.execute_script(ready))

    return open_page
