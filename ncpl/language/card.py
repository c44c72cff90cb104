"""The card of a language-model bundle, for people: README.md beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ncpl.evaluate.scores import format_table

TEXT = """# NCPL bundle, the paper's mode

A causal language model reads a training configuration and gives the final loss of the run{curve},
in nats per token, as a correction to a scaling law. Method: arXiv 2602.10300.

- snapshot: `{snapshot_id}`
- base: `{base}`, target: {target}, units: {units}
- trained on the `train` part only: {trained_on}; {held_out_runs} more in held-out groups, which
  chose the step ({best_step} of {steps}, their MAE {held_out_mae}) and set the intervals
- configuration: `{config_sha256}`, seed {seed}
- trained: {created_at}, {train_seconds} s, {processes} process(es) on {device}, ncpl {ncpl},
  torch {torch}, transformers {transformers}

## Scores

Final loss on the held-out parts of the `ncpl` split. ID: other (N, D) groups of the trained sizes.
OOD: models above 430M parameters. `gap %`: how far the run the model would choose lies above the
best measured one.

```
{table}
```
{curves}
## Use and limits

- For runs like those of the snapshot's sources: {sources}. Losses of different sources are not
  comparable; every prediction names its source.
- The interval is a constant from held-out groups of the training part, tripled outside the
  training ranges; the factor three is a guess.
- Runs that diverged were not trained on: a recipe that blows up gets the loss of one that did not.
"""


def render(card: Mapping[str, Any]) -> str:
    """Return the Markdown text of a card."""
    error = card["held_out_mae"]
    curves = "\n".join(
        f"Curve points past 10% of the run, {row['source']} {row['split'].upper()}: MAE "
        f"{row['mae']:.4f} over {row['points']} points of {row['runs']} runs."
        for row in card["curve_scores"]
    )
    given = {
        name: card[name]
        for name in (
            "snapshot_id", "config_sha256", "created_at", "train_seconds", "seed", "processes",
            "device", "held_out_runs", "best_step", "steps",
        )
    }  # fmt: skip
    config = card["config"]
    return TEXT.format(
        **given,
        **card["versions"],
        base=config["base"].replace("\\", "/").rsplit("/", 1)[-1]
        if config["base"].endswith(".gguf")
        else config["base"],
        target=config["target"],
        units=config["units"],
        curve=" and its curve" if config["has_curves"] else "",
        trained_on=", ".join(f"{n} runs of {name}" for name, n in card["train_runs"].items()),
        held_out_mae="unknown" if error is None else f"{error:.4f}",
        table=format_table(card["scores"]),
        curves=f"\n{curves}\n" if curves else "",
        sources=", ".join(f"{s['name']} ({s.get('licence') or '?'})" for s in card["sources"]),
    )
