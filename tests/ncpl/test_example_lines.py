"""Every example line of --help, README and docs runs, as somebody would type it.

Left out: what takes minutes and has tests of its own (the boards, training), and what needs a model
from elsewhere.
"""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ncpl.cli import main
from ncpl.model.bundle import DEFAULT
from ncpl_data.ingest.cli import main as data_main

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/use.md", "docs/laws.md")
LONG = ("bench ", "gate ", "laws reproduce")
SHOWN = re.compile(
    r"^\s*(?:Example: )?(ncpl .+(?:\n(?!\n)(?!\s*(?:ncpl|echo)\b).+)*)", re.MULTILINE
)
NANOGPT = (
    "batch_size = 12\nblock_size = 1024\ngradient_accumulation_steps = 5 * 8\nmax_iters = 60000\n"
    "learning_rate = 6e-4\nweight_decay = 1e-1\nn_layer = 12\nn_head = 12\nn_embd = 768\n"
)
HF = {
    "model_type": "llama", "hidden_size": 1024, "intermediate_size": 4096,
    "num_attention_heads": 16, "num_hidden_layers": 12, "vocab_size": 32000,
}  # fmt: skip
ARGUMENTS = {
    "learning_rate": 4e-4, "per_device_train_batch_size": 16, "gradient_accumulation_steps": 2,
    "max_steps": 20000, "warmup_steps": 2000, "lr_scheduler_type": "cosine", "optim": "adamw_torch",
}  # fmt: skip
OWN = {
    "params_non_embedding": 3e8, "train_tokens": 1e10, "learning_rate": 2e-3,
    "batch_size_sequences": 256, "sequence_length": 2048,
}  # fmt: skip


MINE = [
    OWN | {"params_non_embedding": n, "train_tokens": 100 * n, "final_loss": loss}
    for n, loss in ((3e7, 3.2), (5e7, 3.05), (1e8, 2.88), (2e8, 2.72))
]
"""Generated: losses near those of QuEST's bf16 runs."""


def commands(command: click.Command) -> Iterator[click.Command]:
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), name)
            assert found is not None
            yield from commands(found)
    yield command


def lines() -> list[str]:
    """Return the example lines in an order in which each finds what it reads."""
    found = []
    for command in commands(main):
        text = f"{command.help or ''}\n{command.epilog or ''}"
        found += [" ".join(match[1].split()) for match in SHOWN.finditer(text)]
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        found += [line.strip() for line in text.splitlines() if line.startswith("    ncpl ")]
    plain = dict.fromkeys(line.split(" #")[0].split(" > ")[0].strip() for line in found)
    kept = [line for line in plain if not line.removeprefix("ncpl ").startswith(LONG)]
    late = ("laws predict", "laws compare", "--bundle mine")
    return sorted(kept, key=lambda line: any(words in line for words in late))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything the examples name."""
    path = tmp_path_factory.mktemp("examples")
    files = {
        "train_gpt2.py": NANOGPT,
        "training_args.json": json.dumps(ARGUMENTS),
        "run.json": json.dumps(OWN),
        "mine.jsonl": "".join(f"{json.dumps(run)}\n" for run in MINE),
        "sweep.csv": ",".join(OWN) + "\n" + ",".join(map(str, OWN.values())) + "\n",
        "runs.csv": "params_non_embedding,train_tokens,loss\n"
        + "".join(f"{n},{d},{2 + 30 * n**-.2 + 300 * d**-.3}\n" for n in (1e7, 3e7, 1e8)
                  for d in (1e9, 4e9, 2e10)),
    }  # fmt: skip
    start = [(step, 2.6 + 8 * step**-0.3) for step in range(500, 8001, 250)]
    candidates = [
        {**OWN, "params_non_embedding": n, "run_id": f"{n:.0e}-{rate:g}", "learning_rate": rate}
        for n in (1e8, 2e8) for rate in (1e-3, 2e-3, 4e-3)
    ]  # fmt: skip
    files["candidates.jsonl"] = "".join(json.dumps(one) + "\n" for one in candidates)
    files["base.json"] = json.dumps(OWN)
    files["results.jsonl"] = json.dumps({"run_id": "1e+08-0.002", "final_loss": 2.7}) + "\n"
    for name, off in (("run.csv", 0.0), ("sibling.csv", 0.02)):
        files[name] = "step,loss\n" + "".join(f"{s},{loss + off}\n" for s, loss in start)
    for name, text in files.items():
        (path / name).write_text(text, encoding="utf-8")
    shutil.copytree(DEFAULT, path / "runs" / "ncpl")
    catalog = ["--catalog", str(path / "catalog")]
    for words in (["ingest", "steplaw", "marin", "losscast", "--offline"], ["snapshot"]):
        assert CliRunner().invoke(data_main, [*words, *catalog]).exit_code == 0
    for name in ("a", "b", "adamw", "muon"):
        words = ["laws", "fit", "chinchilla", "--snapshot", "latest", "--source", "steplaw"]
        words += ["--refits", "20", "--out", str(path / f"{name}.json")]
        assert CliRunner().invoke(main, [*words, *catalog]).exit_code == 0
    return path


@pytest.fixture(autouse=True)
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in the folder, with its catalog."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NCPL_CATALOG", str(folder / "catalog"))


@pytest.mark.slow
@pytest.mark.parametrize("line", lines())
def test_an_example_runs(line: str, folder: Path) -> None:
    is_form = "--beside" in line
    (folder / "config.json").write_text(json.dumps(HF if is_form else OWN), encoding="utf-8")
    given = None
    if line.endswith("predict -"):
        given = '{"params_non_embedding": 3e8, "train_tokens": 1e10}'
        line = "ncpl predict -"
    result = CliRunner().invoke(main, shlex.split(line)[1:], input=given)
    assert result.exit_code == 0, (line, result.output)
    assert result.stdout.strip() or "--out" in line


@pytest.mark.slow
def test_intervals_of_held_out_runs_hold_what_was_measured() -> None:
    result = CliRunner().invoke(main, ["predict", "--snapshot", "latest", "--json"])
    rows = [p for p in json.loads(result.stdout)["predictions"] if p["split"] in ("id", "ood")]
    rows = [p for p in rows if p["final_loss"] is not None]
    inside = [p["low"] <= p["final_loss"] <= p["high"] for p in rows]
    assert len(inside) > 1500
    assert sum(inside) / len(inside) >= 0.85


@pytest.mark.slow
@pytest.mark.parametrize(("size", "tokens"), [(268304384, 2.5e10), (214663680, 1e11)])
def test_a_recommendation_holds_the_best_measured_run(size: float, tokens: float) -> None:
    words = ["plan", "recommend", "--params", str(size), "--tokens", str(tokens), "--json"]
    result = CliRunner().invoke(main, [*words, "--snapshot", "latest"])
    found = json.loads(result.stdout)
    assert found["measured"]["is_same"]
    assert found["prediction"]["low"] <= found["measured"]["loss"] <= found["prediction"]["high"]
