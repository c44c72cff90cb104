"""The card of a bundle, for people: README.md beside the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ncpl.evaluate.scores import format_table
from ncpl.model.intervals import BEND, FACTORS

TEXT = """# NCPL bundle

Predicts the final loss and the loss curve of a language-model pretraining run from its
configuration, in nats per token, with a 90% interval. Small transformers and a Gaussian process
correct a scaling law fitted on the same runs; a head on each transformer gives the curve's shape.

- snapshot: `{snapshot_id}`
- trained on the `train` part only: {trained_on}
- configuration: `{config_sha256}`
- seeds: {seeds}
- trained: {created_at}, {train_seconds} s, ncpl {ncpl_version}, torch {torch_version}

## Scores

Final loss on the held-out parts of the `ncpl` split. ID: other (N, D) groups of the trained sizes.
OOD: models above 430M parameters. `gap %`: how far the run the model would choose lies above the
best measured one. `±`: standard deviation over seeds.

```
{table}
```

Curves, over points past 10% of the run (at most 29 a run; Huber threshold 0.01, times 1e4):

{curves}

## Intervals

{intervals}

Share of held-out runs inside the 90% interval; near: within 1% of the best run of the group; far:
more than 5% above it.

{coverage}

Counted by groups of (optimizer, N, D), each the same: the mean share of a group's runs inside, and
that of the worst group of ten runs or more.

{groups}

## Input forms

What a prediction is worth when a configuration states less than the run did: the other fields are
hidden and filled in as `ncpl predict` does. `covered_near_groups`: mean over groups of the share of
their runs within 1% of the best that lie inside; half widths are medians, nats.

{forms}

## Divergence

{divergence}

## What each part gives

Training runs only, one seed: mean absolute error on left-out groups of (optimizer, N, D), and on
the left-out largest size. What training chose by left-out sizes (where the law's floor starts, what
is carried beyond) is given to all variants alike, so the largest size has had its say; in the
second table it is chosen again without the size.

{ablations}

Nothing like it seen: one size or one optimizer left out of training, nats.

{left_out}

## Use and limits

- For runs like those of the snapshot's sources: {sources}. Losses of different sources are not
  comparable; every prediction names its source.
- Beyond the trained sizes the law extrapolates and the network's share stays at its border value;
  such predictions carry a warning and a wider interval.
- The loss is that of a run that does not diverge. The risk of divergence is a number of its own,
  given where training held runs that diverged.
- What a configuration leaves out is filled in from the training runs: what all of them had, the
  shape of the nearest size, or a distribution of settings; the prediction says which.
- Of a field that never varied in training no run shows the effect; the prediction says so.
"""


def render(card: Mapping[str, Any]) -> str:
    """Return the Markdown text of a card."""
    families = card["families"]
    lines = []
    for family in families:
        found = FACTORS | family["calibration"]
        factors = (
            f"{found['inside']:.4f} times the power {found['power']:.2f} of the members' scale "
            f"and spread in units of {found['typical']:.4f}, times e to the "
            f"{found['growth']:.2f} times the power {BEND} of the nats above the best; "
            f"{found['outside']:.3f} nats more for each unit of "
            "distance outside the trained range (log units of size, data and batch, three times "
            "those of a learning rate, more for names and other numbers no run had), "
            f"{found['apart']:.3f} for each log of tokens per parameter outside theirs, "
            "by the square of each distance beyond one unit"
        )
        forms = ", ".join(
            f"{name.removeprefix('form_')} {value:.2f}"
            for name, value in found.items()
            if name.startswith("form_")
        )
        if forms:
            factors += f"; times, where these are filled in: {forms}"
        missed = ", ".join(
            f"{name} {found[key]:.4f}"
            for name, key in (
                ("other groups", "inside_left_out_mae"),
                ("the largest size", "outside_left_out_mae"),
                ("the fewest tokens per parameter", "few_left_out_mae"),
                ("their bias", "few_left_out_bias"),
                ("the most", "long_left_out_mae"),
                ("their bias", "long_left_out_bias"),
            )
            if key in found
        )
        seen = f"; MAE of one member on left-out training runs: {missed}" if missed else ""
        lines.append(f"- {family['family'][0]}: half width = {factors}{seen}.")
    text = TEXT.format(
        snapshot_id=card["snapshot_id"],
        config_sha256=card["config_sha256"],
        seeds="; ".join(f"{f['family'][0]} {f['seeds']}" for f in families),
        created_at=card["created_at"],
        train_seconds=card["train_seconds"],
        ncpl_version=card["versions"]["ncpl"],
        torch_version=card["versions"]["torch"],
        trained_on=", ".join(f"{n} runs of {name}" for name, n in card["train_runs"].items()),
        table=format_table(card["scores"]),
        intervals="\n".join(lines),
        curves=markdown(card.get("curve_scores", [])),
        coverage=markdown(card.get("coverage", [])),
        groups=markdown(card.get("groups", [])),
        forms=markdown(card.get("forms", [])),
        divergence=markdown(card.get("divergence", []))
        if card.get("divergence")
        else "No source had enough runs that diverged; no risk is told.",
        ablations=noted(card.get("ablations", [])),
        left_out=markdown(card.get("leave_one_out", [])),
        sources=", ".join(f"{s['name']} ({s.get('licence') or '?'})" for s in card["sources"]),
    )
    return text + mixtures_text(card)


def mixtures_text(card: Mapping[str, Any]) -> str:
    """Return the part of a card on mixtures of experts; empty where the bundle knows none."""
    entry = card.get("experts")
    if not entry:
        return ""
    known = "; ".join(f"{name} {low:.4g} to {high:.4g}" for name, (low, high) in
                      entry["bounds"].items())  # fmt: skip
    names = ", ".join(entry["sources"])
    return f"""
## Mixtures of experts

Learned from mixtures of {names} (snapshot `{entry["snapshot_id"][:12]}`, experts.safetensors): a
mixture does as well as a dense model of an effective size, which follows from the ratio of all
parameters to the active ones, and from the active ones. Known: {known}. MAE in nats on left-out
parts of the sources, all of routers that learn:

{markdown(entry["scores"])}
"""


def noted(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a Markdown table with their notes, each once, beneath."""
    table = markdown([{k: v for k, v in row.items() if k != "note"} for row in rows])
    notes = dict.fromkeys(str(row["note"]) for row in rows if row.get("note"))
    return "\n\n".join([table, *notes])


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a Markdown table; the names of the first row are its head."""
    if not rows:
        return "Not measured."
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for row in rows:
        cells = [_cell(row.get(name)) for name in names]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
