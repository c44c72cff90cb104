"""Commands of ncpl forecast: the register of dated predictions."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import click

from ncpl.commands.options import bundle_option, common
from ncpl_data.terminal.console import NumberRange

register_option = click.option(
    "--register", "path", type=click.Path(path_type=Path, dir_okay=False),
    default=Path("forecasts.jsonl"), show_default=True, help="File of the register.",
)  # fmt: skip


@click.group()
def forecast() -> None:
    """Keep dated predictions of announced runs, and score them when results are known.

    Example: ncpl forecast show --register docs/forecasts.jsonl
    """


@forecast.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="The run's name; one forecast has it.")
@click.option("--source", help="Whose losses its loss compares with: steplaw, marin, ...")
@click.option("--announced", required=True, metavar="URL", help="Where the run was announced.")
@click.option(
    "--says", required=True,
    help="What is announced there, and what is known of a result; a sentence.",
)  # fmt: skip
@register_option
@bundle_option
@common
def make(
    *,
    config: Path,
    name: str,
    source: str | None,
    announced: str,
    says: str,
    path: Path,
    folder: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Add the forecast of a configuration, dated today, to the register.

    Nothing of it can be changed later: a line's digest holds it and all lines before it.

    Example: ncpl forecast make run.json --name big-run --source marin --announced URL --says TEXT
    """
    del no_progress  # one prediction
    from ncpl.commands.adapt import chosen
    from ncpl.data.fields import derive
    from ncpl.errors import ConfigError
    from ncpl.evaluate.configurations import check_all
    from ncpl.forms.files import configs_of
    from ncpl.model.bundle import DEFAULT, read_card
    from ncpl.plan.register import add_forecast

    configs, _ = configs_of(config)
    if len(configs) != 1:
        raise ConfigError(f"{config} holds {len(configs)} configurations; expected the run's")
    bundle = chosen(folder, None, source)
    (whole,) = check_all([configs[0] | ({"source": source} if source else {})], bundle)
    (said,) = bundle.predict([whole])
    family = bundle.fit_for(derive(whole)).family
    own = read_card(bundle.folder or DEFAULT)
    entry = {
        "name": name, "announced": announced, "says": says, "config": dict(whole),
        "metric": "/".join(part for part in family[:2] if part),
        "prediction": {k: round(getattr(said, k), 6) for k in ("loss", "low", "high")},
        "warnings": list(said.warnings),
        "snapshot_id": own["snapshot_id"],
        "weights": own.get("weights_sha256") or own.get("draws_sha256"),
    }  # fmt: skip
    line = add_forecast(path, entry, dt.datetime.now(dt.UTC).date())
    told = line["prediction"]
    click.echo(
        json.dumps(line) if as_json
        else f"{path}: {name} {told['loss']:.4f} ({told['low']:.4f} to {told['high']:.4f}), "
        f"{line['made_on']}, digest {line['digest'][:16]}"
    )  # fmt: skip


@forecast.command()
@click.argument("name")
@click.option(
    "--loss", type=NumberRange(0, min_open=True), required=True, help="Measured, nats per token."
)
@click.option("--measured", required=True, metavar="URL", help="Where the result stands.")
@register_option
@common
def score(
    *, name: str, loss: float, measured: str, path: Path, as_json: bool, no_progress: bool
) -> None:
    """Add what was measured of a forecast; the forecast itself stays.

    Example: ncpl forecast score big-run --loss 2.71 --measured URL --register docs/forecasts.jsonl
    """
    del no_progress  # one line
    from ncpl.plan.register import add_score

    line = add_score(path, name, loss, measured, dt.datetime.now(dt.UTC).date())
    place = "inside" if line["is_inside"] else "outside"
    click.echo(
        json.dumps(line) if as_json
        else f"{name}: forecast {line['error']:+.4f} off {loss:.4f}, {place} its interval"
    )  # fmt: skip


@forecast.command()
@register_option
@common
def show(*, path: Path, as_json: bool, no_progress: bool) -> None:
    """Check a register's digests and print it as a Markdown table.

    Example: ncpl forecast show --register docs/forecasts.jsonl
    """
    del no_progress  # a file is read
    from ncpl.errors import ConfigError
    from ncpl.plan.register import read_register, table_of

    if not path.exists():
        raise ConfigError(f"{path} does not exist; give --register, or make a forecast first")
    found = read_register(path)
    click.echo(json.dumps(list(found.lines)) if as_json else "\n".join(table_of(found)))
