"""What a room may not load, seen in a fresh process."""

import json
import subprocess
import sys

import pytest

SHOW = "; import json, sys; print(json.dumps(sorted(sys.modules)))"


def loaded_by(code: str) -> set[str]:
    """Return the names of the modules that a line of code loads."""
    done = subprocess.run(
        [sys.executable, "-c", code + SHOW], check=True, capture_output=True, text=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import ncpl",
        "import ncpl.data.snapshot, ncpl.data.schedules, ncpl.data.consistency",
        "import ncpl; ncpl.load().predict([{'params_non_embedding': 3e8, 'train_tokens': 1e10}])",
    ],
)
def test_neither_torch_nor_transformers_nor_the_trainer_is_loaded(code: str) -> None:
    found = loaded_by(code)
    assert not found & {"torch", "transformers", "matplotlib", "duckdb", "polars"}
    assert not [name for name in found if name.startswith(("ncpl.train", "ncpl.language"))]
