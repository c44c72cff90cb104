"""Observational scaling: public models with size, tokens and benchmark scores; no losses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ncpl_data.catalog.record import Evaluation, Run, Skipped
from ncpl_data.ingest.packed import csv_dicts, packed_source, sha256
from ncpl_data.ingest.pins.observational import PINS

NAME = "observational"
CITATION = (
    "Ruan, Maddison, Hashimoto 2024, Observational Scaling Laws and the Predictability of "
    "Language Model Performance, arXiv:2405.10938"
)
URL = "https://github.com/ryoungj/ObsScaling"
REVISION = "4d6e1e4"

FILE = "base_llm_benchmark_eval.csv"
SIZE, TOKENS, FLOPS = "Model Size (B)", "Pretraining Data Size (T)", "FLOPs (1E21)"
TASKS = ("MMLU", "ARC-C", "HellaSwag", "Winograd", "TruthfulQA", "GSM8K", "XWinograd", "HumanEval")

# The size given for mixtures of experts is total for some, active for others, neither for one
# (Qwen2-57B-A14B is given as 24B), so it is kept aside.
EXPERTS = frozenset(
    {
        "Qwen/Qwen2-57B-A14B",
        "mistralai/Mixtral-8x7B-v0.1",
        "mistralai/Mixtral-8x22B-v0.1",
        "deepseek-ai/DeepSeek-V2",
        "deepseek-ai/DeepSeek-Coder-V2-Base",
        "deepseek-ai/deepseek-moe-16b-base",
    }
)


def read(contents: Mapping[str, bytes]) -> Iterator[Run | Skipped]:
    """Yield one run a model, in file order."""
    content = contents[FILE]
    digest = sha256(content)
    columns = ("Model", "Model Family", SIZE, TOKENS, FLOPS, *TASKS)
    for line, row in csv_dicts(content, NAME, FILE, columns):
        yield run_of(
            row.values, {c: row.number(c) for c in columns[2:] if row.text(c)}, line, digest
        )


def run_of(row: Mapping[str, str], numbers: Mapping[str, float], line: int, digest: str) -> Run:
    """Return the run of one model."""
    logged: dict[str, Any] = {
        "source_run": row["Model"],
        "model_family": row["Model Family"],
    }
    if row["Model"] in EXPERTS:
        logged["extra"] = {f"{NAME}.size_billions": numbers[SIZE]}
    else:
        logged["params_total"] = round(numbers[SIZE] * 1e9)
    if TOKENS in numbers:
        logged["nominal_train_tokens"] = round(numbers[TOKENS] * 1e12)
    if FLOPS in numbers:
        logged["train_flops"] = numbers[FLOPS] * 1e21
    origins: dict[str, Any] = dict.fromkeys(logged, "logged")
    origins |= dict.fromkeys(("stage", "modality"), "declared")
    if FLOPS in numbers:
        origins["train_flops"] = {
            "kind": "logged",
            "evidence": "equals 6 x size x tokens in every row: computed by the authors",
        }
    return Run(
        run_id=f"{NAME}/{row['Model']}",
        source=NAME,
        stage="pretrain",
        modality="text",
        citation=CITATION,
        url=URL,
        file=f"eval_results/{FILE}",
        file_sha256=digest,
        record=f"line {line}",
        is_copy=True,
        origins=origins,
        raw_config=dict(row),
        evals=tuple(
            Evaluation(task, "accuracy", numbers[task]) for task in TASKS if task in numbers
        ),
        **logged,
    )


SOURCE = packed_source(
    read,
    name=NAME,
    title="Observational scaling: 148 public models, their sizes, tokens and benchmark scores",
    owner="Ruan, Maddison, Hashimoto",
    licence="Apache-2.0",
    citation=CITATION,
    url=URL,
    revision=REVISION,
    n_runs=148,
    files_title="the table of base models",
    sha256="0c8b651ee003bde428c9068e63452b13d08e1724304d2bcc114a5da7107b963d",
    n_bytes=10_494,
    pins=PINS,
    folder="/eval_results",
    traps=(
        "no losses: scores only, so these runs train nothing here",
        "tokens of 25 models are not published and stay null",
        "FLOPs are 6 x size x tokens, not measured",
        "the size of six mixtures of experts is total, active or neither: kept aside",
    ),
)
