from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("terminal", "schema", "catalog", "ingest", "ncpl")

BLOCK = """
import importlib, pkgutil, sys
import torch, transformers, safetensors, pyarrow, numpy
from transformers import AutoModel, LlamaConfig, Qwen3Config
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"duckdb", "polars", "jsonschema", "scipy", "sklearn",
                                      "lightgbm", "matplotlib", "platformdirs"} or name.startswith(
                "ncpl_data.") and not name.startswith("ncpl_data.terminal"):
            raise ModuleNotFoundError(f"{name} is not on this machine", name=name)
sys.meta_path.insert(0, Block())
import ncpl
for module in pkgutil.walk_packages(ncpl.__path__, "ncpl."):
    if "cli" not in module.name.split("."):
        importlib.import_module(module.name)
"""


def test_ncpl_imports_on_a_machine_with_only_its_light_dependencies() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCK], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_folder_with_code_is_a_package_and_so_in_the_wheel() -> None:
    for part in PARTS:
        for file in (ROOT / part).rglob("*.py"):
            assert (file.parent / "__init__.py").is_file(), f"{file.parent} has no __init__.py"


def test_the_namespace_has_no_folder_of_its_own() -> None:
    assert not (ROOT / "ncpl_data").exists()


def test_every_shipped_data_folder_is_in_the_notice() -> None:
    notice = (ROOT / "NOTICE").read_text("utf-8")
    for folder in (ROOT / "ingest" / "data").iterdir():
        assert f"ingest/data/{folder.name}/" in notice, folder.name


def test_no_file_names_a_path_of_a_machine_or_a_registry() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], check=False, cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:  # an unpacked source archive
        names = [str(p.relative_to(ROOT)) for part in PARTS for p in (ROOT / part).rglob("*.py")]
    else:
        names = listed.stdout.splitlines()
    pattern = re.compile(rb"/(?:work|root|farm)/|\.\./shared|py" + rb"pi\.org|pythonhosted")
    for name in names:
        path = ROOT / name
        if path == Path(__file__) or not path.is_file() or path.suffix in {".parquet", ".gz"}:
            continue
        found = pattern.search(path.read_bytes())
        assert found is None, f"{name}: {found and found.group()!r}"
