"""The card of a bundle, for people: README.md beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ncpl.evaluate import format_table

TEXT = """# NCPL bundle

Predicts the final loss of a language-model pretraining run from its configuration, in nats per
token, with a 90% interval. A small transformer corrects a scaling law fitted on the same runs.

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

## Intervals

{intervals}

## Use and limits

- For runs like those of the snapshot's sources: {sources}. Losses of different sources are not
  comparable; every prediction names its source.
- Beyond the trained sizes the law extrapolates and the network's share stays at its border value;
  such predictions carry a warning and a wider interval.
- Runs that diverged were not trained on: a recipe that blows up gets the loss of one that did not.
- A field that never varied in training has no effect; the prediction says so.
"""


def render(card: Mapping[str, Any]) -> str:
    """Return the Markdown text of a card."""
    families = card["families"]
    lines = []
    for family in families:
        found = family["calibration"]
        factors = ", ".join(
            f"{where} the trained range x{found[where]:.2f}"
            for where in ("inside", "outside")
            if where in found
        )
        missed = ", ".join(
            f"{name} {found[key]:.4f}"
            for name, key in (
                ("other groups", "inside_left_out_mae"),
                ("the largest size", "outside_left_out_mae"),
            )
            if key in found
        )
        seen = f"; MAE of one member on left-out training runs: {missed}" if missed else ""
        lines.append(f"- {family['family'][0]}: raw scale {factors}{seen}.")
    return TEXT.format(
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
        sources=", ".join(f"{s['name']} ({s.get('licence') or '?'})" for s in card["sources"]),
    )
