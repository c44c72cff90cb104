"""The page docs/data.md: what each source holds, made from a catalog.

python -m ncpl_data.ingest.datapage docs/data.md           from every shipped source
python -m ncpl_data.ingest.datapage docs/data.md CATALOG   from a catalog
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from ncpl_data.catalog.families import MIN_USABLE
from ncpl_data.catalog.stats import coverage
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.datapage_model import COMPARABLE, READY, family_rows, ready_rows
from ncpl_data.ingest.declared import not_stated
from ncpl_data.ingest.pipeline import ingest
from ncpl_data.ingest.sources import SOURCES
from ncpl_data.schema.fields import Field, run_fields

KINDS = ("logged", "declared", "derived", "repaired")
BARS = " ▁▂▃▄▅▆▇█"
BINS = 24
HISTOGRAMS = ("final_loss", "params_non_embedding", "nominal_train_tokens", "learning_rate")
IS_LOG = {"params_non_embedding", "nominal_train_tokens", "learning_rate"}
SECTIONS = ("model", "optimizer", "schedule", "data", "system", "outcome")
SHOWN_VALUES = 3

INTRODUCTION = """\
# The data

Made from the catalog by `make docs`; edit the sources, not this page. Meaning and unit of every
field: `schema/FIELDS.md`. A value is *logged* by the run, *declared* of all runs by paper, docs or
code, *derived* by a rule, or *repaired* because upstream was wrong (the old value and the evidence
are in the run's origins); *removed* values were guesses nobody can replace. Empty means that the
source does not say. Fields no run of a source has are left out. Histograms run from the smallest to
the largest value, {bins} bins, heights relative to the fullest; sizes, tokens and rates in log.
Runs that several sources hold are counted in each; a snapshot keeps one row (`same_as`).

Of a run with `status` *truncated* the log stops before the run: its `final_loss` is the last one
logged, at `final_step` of `train_steps`. A *diverged* run has its configuration, and a loss where
one was logged. What a flag means stands in `catalog/curate.py` and in each run: `ncpl-data show`.
"""
SPLIT = """\
## The published split

Runs that the split of NCPL names, and what the catalog has of them from all sources together. The
names: `ncpl-data coverage --missing`, `--truncated`.

"""

Rows = Sequence[Mapping[str, Any]]


def page(catalog: Catalog) -> str:
    """Return the page of a catalog as Markdown."""
    manifest = catalog.manifest()
    names = [name for name in SOURCES if name in manifest.sources]
    parts = [INTRODUCTION.format(bins=BINS)]
    sections, overview = [], []
    for name in names:
        rows = catalog.read("runs", source=name, manifest=manifest).to_pylist()
        curves = catalog.read("curves", ["run_id"], source=name, manifest=manifest)
        evals = catalog.read("evals", ["run_id"], source=name, manifest=manifest)
        n_curves = len(pc.unique(curves["run_id"]))
        sheet = manifest.sources[name]
        overview.append(
            {
                "source": f"[{name}](#{name})",
                "licence": sheet.get("licence") or "none stated",
                "runs": f"{len(rows):,}",
                "with a final loss": f"{sum(r['final_loss'] is not None for r in rows):,}",
                "with a curve": f"{n_curves:,}",
                "curve points": f"{curves.num_rows:,}",
                "evaluations": f"{evals.num_rows:,}",
                "same run elsewhere": f"{sum(bool(r['same_as']) for r in rows):,}",
            }
        )
        sections.append(section(name, sheet, rows))
    parts.append(markdown_table(overview))
    parts.append(SPLIT + markdown_table(split_rows(catalog)))
    parts.append(READY + markdown_table(ready_rows(catalog)))
    parts.append(COMPARABLE.format(least=MIN_USABLE) + markdown_table(family_rows(catalog)))
    return "\n".join([*parts, *sections])


def split_rows(catalog: Catalog) -> list[dict[str, str]]:
    """Return one row a part of the published split."""
    return [
        {
            "source": part.source,
            "part": part.part,
            "named": f"{part.named:,}",
            "with a final loss": f"{part.with_loss - len(part.truncated):,}",
            "truncated": f"{len(part.truncated):,}",
            "no loss": f"{len(part.missing):,}",
            "with a curve": f"{part.with_curve:,}",
        }
        for part in coverage(catalog, "ncpl")
    ]


def section(name: str, sheet: Mapping[str, Any], rows: Rows) -> str:
    """Return the part of one source."""
    statuses = Counter(row["status"] or "not known" for row in rows)
    flags = Counter(flag for row in rows for flag in row["flags"] or ())
    lines = [
        f"## {name}",
        "",
        f"{sheet['title']}. {sheet['owner']}; {sheet.get('citation') or 'no citation'}. "
        f"Licence: {sheet.get('licence') or 'none stated'}.",
        "",
        "Status: " + counted(statuses) + ".",
    ]
    if flags:
        lines += ["", "Flags: " + counted(flags) + "."]
    if sheet.get("traps"):
        lines += ["", "Traps:", "", *(f"- {trap}" for trap in sheet["traps"])]
    if missing := not_stated(name):
        lines += ["", "Looked for and not stated:", "", *(f"- {one}" for one in missing)]
    lines += ["", "```text", *histograms(rows), "```", "", markdown_table(field_rows(rows))]
    return "\n".join(lines)


def counted(counts: Mapping[str, int]) -> str:
    """Return counts, most first, as running text."""
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{n:,} {key}" for key, n in order)


def histograms(rows: Rows) -> Iterator[str]:
    """Yield one line for each number worth seeing."""
    for column in HISTOGRAMS:
        values = np.array([r[column] for r in rows if r[column] is not None], dtype=float)
        if column in IS_LOG:
            values = values[values > 0]
        if len(values) == 0:
            continue
        low, high = float(values.min()), float(values.max())
        if column == "final_loss" and high > 3 * float(np.median(values)):
            high = 3 * float(np.median(values))  # a few diverged runs would hide the rest
        bars = histogram(np.clip(values, low, high), is_log=column in IS_LOG)
        yield f"{column:<22}{number(low):>10} |{bars}| {number(high)}"


def histogram(values: np.ndarray[Any, Any], *, is_log: bool) -> str:
    """Return one bar a bin; a bin with anything in it is never blank."""
    scale = np.log10(values) if is_log else values
    low, high = float(scale.min()), float(scale.max())
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # too near for bins of their own
        return BARS[-1]
    counts, _ = np.histogram(scale, bins=BINS)
    heights = np.ceil(counts / counts.max() * (len(BARS) - 1)).astype(int)
    return "".join(BARS[height] for height in heights)


def field_rows(rows: Rows) -> list[dict[str, str]]:
    """Return one row a field that any run has, or that was removed from any."""
    kinds: dict[str, Counter[str]] = {}
    for row in rows:
        for column, origin in (json.loads(row["origins"]) if row["origins"] else {}).items():
            kind = origin["kind"] if isinstance(origin, dict) else origin
            if row.get(column) is None:
                kind = "removed" if kind == "repaired" else ""
            if kind:
                kinds.setdefault(column, Counter())[kind] += 1
    found = []
    for field in run_fields():
        if field.path[0] not in SECTIONS:
            continue
        values = [row[field.column] for row in rows if row[field.column] is not None]
        origins = kinds.get(field.column, Counter())
        if not values and not origins:
            continue
        found.append(
            {
                "field": f"`{field.column}`",
                "range": value_range(field, values),
                **{kind: f"{origins[kind]:,}" if origins[kind] else "" for kind in KINDS},
                "removed": f"{origins['removed']:,}" if origins["removed"] else "",
                "null": f"{len(rows) - len(values):,}" if len(rows) > len(values) else "",
            }
        )
    return found


def value_range(field: Field, values: Sequence[Any]) -> str:
    """Return smallest, median and largest number, or the most frequent other values."""
    if not values:
        return ""
    if field.kind in ("integer", "number"):
        low, middle, high = (float(f(values)) for f in (min, np.median, max))
        return (
            number(low) if low == high else f"{number(low)} .. {number(middle)} .. {number(high)}"
        )
    if field.kind in ("json", "records", "strings"):
        return f"{len(values):,} entries"
    counts = Counter(str(value) for value in values)
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = f", {len(order) - SHOWN_VALUES} more" if len(order) > SHOWN_VALUES else ""
    return ", ".join(text.replace("|", "/") for text, _ in order[:SHOWN_VALUES]) + more


def number(value: float) -> str:
    """Return a number short enough for a table: 214.7M, 0.0009766, 1e-15."""
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:,.0f}"
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.4g}{suffix}"
    return f"{value:.4g}"


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows as a Markdown table."""
    if not rows:
        return ""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(row[name] for name in names) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def ingest_shipped(catalog: Catalog) -> None:
    """Bring every source that ships with the program into a catalog."""
    for source in SOURCES.values():
        if any(origin.bundled_paths() is not None for origin in source.origins):
            ingest(source, catalog, offline=True)


def main(arguments: Sequence[str]) -> int:
    """Write the page."""
    target, *given = arguments
    with tempfile.TemporaryDirectory() as folder:
        catalog = Catalog(Path(given[0]) if given else Path(folder))
        if not given:
            ingest_shipped(catalog)
        Path(target).write_text(page(catalog), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
