"""The head of a model card: what the hub reads of a bundle."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

HEAD = re.compile(r"\A---\n.*?^---\n+", re.DOTALL | re.MULTILINE)
TAGS = ("ncpl", "scaling-laws", "pretraining", "loss-prediction", "hyperparameters")
WHOLE = ("NCPL, ensemble", "NCPL, language model")
"""What a bundle answers with, among the rows of its scores: over all held-out runs."""
TASK = {"type": "tabular-regression", "name": "final loss of a pretraining run"}


def with_head(text: str, card: Mapping[str, Any], repository: str, licence: str) -> str:
    """Return a model card with the head of its bundle in front; one that is there is replaced."""
    import yaml

    head = yaml.safe_dump(
        head_of(card, repository, licence), sort_keys=False, allow_unicode=True, width=100
    )
    return f"---\n{head}---\n\n{HEAD.sub('', text)}"


def head_of(card: Mapping[str, Any], repository: str, licence: str) -> dict[str, Any]:
    """Return library, licence, tags, and the scores of a card as an index of results."""
    head: dict[str, Any] = {
        "library_name": "ncpl", "license": licence, "pipeline_tag": "tabular-regression",
        "tags": list(TAGS),
    }  # fmt: skip
    results = list(_results(card))
    if results:
        head["metrics"] = ["mae"]
        head["model-index"] = [{"name": repository.partition("/")[2], "results": results}]
    return head


def _results(card: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what the hub shows of scores on held-out runs; nothing where there are none."""
    titles = {s["name"]: s.get("title") or s["name"] for s in card.get("sources", [])}
    for row in card.get("scores", []):
        if row["predictor"] in WHOLE:
            source = row["source"]
            yield _result(source, titles.get(source, source), row["split"], row, row["n"])
    for family in card.get("families", []):
        scores = family.get("about", {}).get("scores", {}) if "about" in family else {}
        for split in ("id", "ood"):
            if split in scores:
                name = "/".join(part for part in family["family"][:4] if part)
                yield _result(name, name, split, scores[split], scores[split]["runs"])


def _result(
    source: str, title: str, split: str, row: Mapping[str, Any], n_runs: int
) -> dict[str, Any]:
    told = (
        ("mae", "mae", "mean absolute error, nats per token"),
        ("spearman", "spearmanr", "rank correlation"),
        ("coverage", "coverage", "share inside the 90% interval"),
    )
    return {
        "task": dict(TASK),
        "dataset": {
            "type": source, "name": f"{title}: {n_runs} held-out runs, {split.upper()}",
            "split": split,
        },
        "metrics": [
            {"type": kind, "name": name, "value": round(float(row[key]), 6)}
            for key, kind, name in told
            if row.get(key) is not None
        ],
    }  # fmt: skip
