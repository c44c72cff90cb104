"""`ncpl-data convert`: other programs' logs into run documents."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click

from ncpl_data.terminal.console import EXIT_INVALID, Console, output_options

FORMATS = ("auto", "csv", "hf", "log", "mlflow", "tensorboard", "wandb")

USEFUL = (
    "/optimizer/learning_rate",
    "/schedule/train_steps",
    "/schedule/batch_size_sequences",
    "/schedule/sequence_length",
    "/data/dataset",
    "/model/n_layers",
    "/outcome/final_loss",
)
"""What a run is compared by; a log seldom holds all of it."""

EPILOG = """\b
Formats:
  auto         told by the names of the files
  csv          a table of points (Lightning's metrics.csv, a chart of W&B as CSV, step and loss),
               or one row a run with --mapping FILE.toml
  hf           trainer_state.json of the Hugging Face Trainer, trainer_log.jsonl, logging.jsonl,
               or a folder of one or many runs
  log          what a program printed: Megatron-LM, GPT-NeoX, torchtitan, nanotron, MaxText, NeMo,
               fairseq, MLX, litgpt, nanoGPT, nanochat, llm.c, OLMo, Composer and others
  mlflow       an mlruns folder
  tensorboard  event files
  wandb        an export folder, an offline run-*.wandb, or ENTITY/PROJECT through the API
\b
Examples:
  ncpl-data convert hf out/ --source acme --set /system/n_devices=8 --out runs.jsonl
  ncpl-data convert csv sweep.csv --source acme --mapping sweep.toml | ncpl-data submit -
  ncpl-data convert log logs/ --source acme --set /data/dataset=fineweb --out runs.jsonl
  ncpl-data convert log a.log --source acme --line "train/loss=[{step}] loss={value}"
\b
Each framework, and what right looks like: docs/logs.md
"""


@click.command(epilog=EPILOG)
@click.argument("layout", metavar="FORMAT", type=click.Choice(FORMATS))
@click.argument("path")
@click.option("--source", required=True, help="Name of your source: the first part of each id.")
@click.option("--run", "run_name", help="Name of the run; for a log of one run.")
@click.option("--metric", help="Metric whose end is the final loss.")
@click.option("--unit", "units", multiple=True, metavar="METRIC=UNIT", help="Unit of a metric.")
@click.option(
    "--set",
    "values",
    multiple=True,
    metavar="POINTER=VALUE",
    help="A value you know of every run, such as /data/dataset=fineweb. It is marked declared.",
)
@click.option(
    "--set-run",
    "run_values",
    multiple=True,
    metavar="RUN:POINTER=VALUE",
    help="The same for one run of several, by its name.",
)
@click.option("--step-key", metavar="NAME", help="Column or key that counts optimizer steps.")
@click.option(
    "--launch",
    metavar="N|all",
    help="Which launch of a log that holds several; by default the last from scratch.",
)
@click.option(
    "--line",
    "lines",
    multiple=True,
    metavar="METRIC=TEXT",
    help="A form of line of a text log, with {step} and {value} in it.",
)
@click.option("--mapping", type=click.Path(path_type=Path), help="Mapping of a CSV table (TOML).")
@click.option(
    "--config", type=click.Path(path_type=Path), help="Hyperparameters, as JSON, YAML or TOML."
)
@click.option("--aliases", default="common", help="Whose names they are: huggingface, nanogpt, ...")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file.")
@output_options
def convert(
    layout: str,
    path: str,
    source: str,
    run_name: str | None,
    metric: str | None,
    units: tuple[str, ...],
    values: tuple[str, ...],
    run_values: tuple[str, ...],
    step_key: str | None,
    launch: str | None,
    lines: tuple[str, ...],
    mapping: Path | None,
    config: Path | None,
    aliases: str,
    out: Path | None,
    console: Console,
) -> int:
    """Turn a log of another program into run documents, one JSON document a line.

    What the log does not state stays absent. Documents that are not valid yet are written all
    the same, with what is missing on stderr: add --set, or edit them.
    """
    from ncpl_data.catalog.errors import InputError
    from ncpl_data.ingest.importers import importer
    from ncpl_data.ingest.importers.base import Options
    from ncpl_data.ingest.submissions.documents import Document
    from ncpl_data.ingest.submissions.finding import Finding, checked

    options = Options(
        source=source,
        run=run_name,
        metric=metric,
        units=dict(pair(text, "--unit") for text in units),
        values=dict(map(declared, values)),
        run_values=values_of_runs(run_values),
        step_key=step_key,
        launch=launch_of(launch, layout),
        lines=tuple(pair(text, "--line") for text in lines),
        mapping=mapping,
        config=config,
        aliases=aliases,
    )
    documents, problems = [], []
    for document in importer(layout)(path, options):
        documents.append(document)
        _, found = checked(Document(path, document))
        finding = Finding(Document(str(document["run_id"]), document), None, tuple(found))
        problems += list(finding.as_dicts())
    for note in options.notes:
        console.note(note)
    if not documents:
        raise InputError(f"{path} holds no run that {layout} logs: no metric with a step")
    known = sorted({m["name"] for d in documents for m in d.get("outcome", {}).get("metrics", ())})
    if unknown := [name for name in options.units if name not in known]:
        raise InputError(
            f'--unit: no metric "{unknown[0]}" was logged; there are: {", ".join(known)}'
        )
    names = Counter(document["run_id"] for document in documents)
    if repeated := [run_id for run_id, times in names.items() if times > 1]:
        raise InputError(
            f'{path}: {names[repeated[0]]} runs would be called "{repeated[0]}"; convert them one '
            "at a time, each with a --run of its own"
        )
    for problem in problems:
        console.note(
            f"{problem['run_id']} {problem['pointer']}: found {problem['found']}; "
            f"expected {problem['expected']}. {problem['hint'] or ''}".strip()
        )
    if absent := not_stated(documents):
        console.note(
            f"not stated: {', '.join(absent)}. Add what you know: --set /data/dataset=NAME ..."
            + (" (hf: with /system/n_devices the batch is known)" if layout == "hf" else "")
        )
    written = "\n".join(json.dumps(d, ensure_ascii=False) for d in documents)
    if out is not None:
        try:
            out.write_text(f"{written}\n", "utf-8")
        except OSError as error:
            raise InputError(f"could not write {out}: {error.strerror or error}") from error
    result: dict[str, Any] = {"runs": [d["run_id"] for d in documents], "problems": problems}
    result["notes"] = options.notes
    if out is None:
        result["documents"] = documents
    text = written if out is None else f"{len(documents):,} documents written to {out}"
    console.result(result, text)
    return EXIT_INVALID if problems else 0


def not_stated(documents: list[dict[str, Any]]) -> list[str]:
    """Return the fields that make a run useful and that no document states, by pointer."""
    absent = []
    for pointer in USEFUL:
        section, name = pointer.strip("/").split("/")
        if not any((document.get(section) or {}).get(name) for document in documents):
            absent.append(pointer)
    return absent if documents else []


def pair(text: str, option: str) -> tuple[str, str]:
    """Return the two sides of KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.UsageError(f'{option} "{text}": expected KEY=VALUE')
    return key, value


def declared(text: str) -> tuple[str, Any]:
    """Return the pointer and the value of a --set."""
    key, value = pair(text, "--set")
    return "/" + key.strip("/"), value_of(value)


def values_of_runs(texts: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return what is declared of single runs, by the run's name."""
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        run, colon, rest = text.partition(":")
        if not colon or "=" not in rest:
            raise click.UsageError(f'--set-run "{text}": expected RUN:POINTER=VALUE')
        pointer, value = declared(rest)
        found.setdefault(run, {})[pointer] = value
    return found


def launch_of(text: str | None, layout: str) -> int | None:
    """Return which launch is meant; 0 for all of a text log."""
    if text is None:
        return None
    if text == "all" and layout == "log":
        return 0
    if not text.isdecimal() or int(text) < 1:
        raise click.UsageError(
            f'--launch "{text}": expected a number from 1 (of a text log, or all)'
        )
    return int(text)


def value_of(text: str) -> Any:
    """Return a value of the command line: JSON where it is JSON, else text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
