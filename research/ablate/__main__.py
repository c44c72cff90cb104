"""The command: python -m research.ablate."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ncpl.commands.options import bundle_option, catalog_option, common, snapshot_option

if TYPE_CHECKING:
    from ncpl.language.settings import LanguageConfig
    from ncpl.model.bundle import Bundle
    from research.ablate.bases import Trial

log = logging.getLogger(__name__)
Found = dict[str, list[dict[str, Any]]]
BASE_PRESET = "smollm2-cpu"


@click.command("research.ablate")
@click.option("--write", is_flag=True, help="Put the tables on the bundle's card.")
@click.option(
    "--base",
    help="Compare pretrained with random weights in the paper's mode instead: smollm2, hub id, "
    "folder or GGUF file.",
)
@click.option("--layers", type=click.IntRange(0), help="With --base: keep its first; 0 keeps all.")
@click.option("--epochs", type=click.IntRange(1), help="With --base: epochs of a scored training.")
@click.option(
    "--search-epochs", type=click.IntRange(1), default=4, show_default=True,
    help="With --base: epochs of a training that chooses a recipe.",
)  # fmt: skip
@click.option(
    "--folds", type=click.IntRange(1, 3), default=3, show_default=True,
    help="With --base: how many of the three folds are scored.",
)  # fmt: skip
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path, dir_okay=False),
    help=f"With --base: own TOML file in place of the preset {BASE_PRESET}.",
)  # fmt: skip
@click.option(
    "--rows", "rows_file", type=click.Path(path_type=Path, dir_okay=False),
    help="Take the rows an earlier --json printed instead of measuring.",
)  # fmt: skip
@bundle_option
@snapshot_option
@catalog_option
@common
def ablate(
    *,
    write: bool,
    base: str | None,
    layers: int | None,
    epochs: int | None,
    search_epochs: int,
    folds: int,
    config_file: Path | None,
    rows_file: Path | None,
    folder: Path | None,
    snapshot: str,
    catalog: Path | None,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Measure what each part of the model gives, on folds of training runs; takes minutes.

    One member with the bundle's settings is fitted again and again without whole groups, one size
    or one optimizer, and without one part of the model. Held-out runs are never used.

    Example: python -m research.ablate --bundle runs/ncpl --snapshot latest --write

    With --base, the paper's mode is trained on the same folds from pretrained and from random
    weights (half an hour on one core):

    python -m research.ablate --base smollm2 --layers 4 --json > rows.json
    """
    if base is None and (layers, epochs, config_file) != (None, None, None):
        raise click.UsageError("--layers, --epochs and --config go with --base")
    if base is not None and rows_file is not None:
        raise click.UsageError("give --base or --rows, not both")
    from ncpl.evaluate.card import noted
    from research.ablate.parts import read_rows

    # Before an hour of training: a folder that cannot be written to is told at once.
    has_parts = base is None and rows_file is None
    bundle = _bundle(folder) if write or has_parts else None
    found: Found = {}
    if rows_file is not None:
        found = {"ablations": read_rows(rows_file)}
    elif base is not None:
        changes = {"base_layers": layers, "stage2_epochs": epochs}
        config = _settings(base, changes, config_file)
        effort = {"n_search_epochs": search_epochs, "n_folds": folds}
        found = _bases(config, effort, snapshot, catalog, is_silent=no_progress)
    elif bundle is not None:
        found = _parts(bundle, snapshot, catalog, is_silent=no_progress)
    if write and bundle is not None:
        _write(found, bundle, folder)
    if as_json:
        click.echo(json.dumps(found))
    else:
        tables = (rows for name, rows in found.items() if name != "trainings")
        click.echo("\n\n".join(map(noted, tables)))


def _bundle(folder: Path | None) -> Bundle:
    from ncpl.bundles import load_ensemble

    return load_ensemble(folder, what="ablations")


def _parts(bundle: Bundle, snapshot: str, catalog: Path | None, *, is_silent: bool) -> Found:
    from ncpl.data.find import find_snapshot
    from ncpl.train.fit import settled
    from research.ablate.parts import ablations, joint, leave_one_out

    runs = find_snapshot(snapshot, catalog).runs()

    def told(what: str) -> None:
        if not is_silent:
            click.echo(f"  {what}", err=True)

    parts = {
        fit.family: runs.where(family=fit.family, split="train").finished() for fit in bundle.fits
    }
    found: Found = {"ablations": [], "leave_one_out": []}
    for fit, train in zip(bundle.fits, parts.values(), strict=True):
        found["ablations"] += ablations(train, settled(bundle.config, fit), told=told)
        # Without a size, what left-out sizes choose is chosen again.
        found["leave_one_out"] += leave_one_out(train, bundle.config, told=told)
    if len(parts) > 1:
        found["ablations"] += joint(parts, dataclasses.replace(bundle.config, carry="yes"))
    return found


def _settings(
    base: str, changes: dict[str, int | None], config_file: Path | None
) -> LanguageConfig:
    from ncpl.language.settings import chosen

    config = chosen(None if config_file else BASE_PRESET, config_file, base)
    assert config is not None
    given: dict[str, Any] = {name: v for name, v in changes.items() if v is not None}
    if "stage2_epochs" in given:
        given["stage1_epochs"] = 0  # an arm chooses whether some of its epochs are a first stage
    return dataclasses.replace(config, **given)


def _bases(
    config: LanguageConfig,
    options: dict[str, int],
    snapshot: str,
    catalog: Path | None,
    *,
    is_silent: bool,
) -> Found:
    from ncpl.data.find import find_snapshot
    from ncpl.language.pipeline import bar_of
    from research.ablate.bases import compare_bases

    trainings: list[dict[str, Any]] = []

    def told(trial: Trial) -> None:
        trainings.append(dataclasses.asdict(trial))
        what = "to choose" if trial.fold is None else f"fold {trial.fold}"
        missed = trial.chosen_mae if trial.left_out_mae is None else trial.left_out_mae
        log.info(
            "%s, %s: %s, %d epochs, MAE %.4f, %.1f min of CPU",
            trial.arm, what, trial.recipe, trial.n_epochs, missed, trial.cpu_seconds / 60,
        )  # fmt: skip

    found = find_snapshot(snapshot, catalog)
    rows = compare_bases(
        found, found.runs(), config, **options, told=told,
        show=None if is_silent else bar_of(config),
    )  # fmt: skip
    return {"ablations": rows, "trainings": trainings}


def _write(found: Found, bundle: Bundle, folder: Path | None) -> None:
    from ncpl.evaluate.card import render
    from ncpl.model.bundle import DEFAULT
    from ncpl.model.seal import seal
    from research.ablate.parts import merged

    new = {name: rows for name, rows in found.items() if name != "trainings"}
    new["ablations"] = merged(bundle.about.get("ablations", []), new["ablations"])
    bundle.about |= new
    target = folder or DEFAULT
    bundle.save(target)
    (target / "README.md").write_text(render(bundle.card()), encoding="utf-8")
    seal(target)


if __name__ == "__main__":
    ablate()
