"""Command ncpl bench losscast."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from ncpl.commands.boards import answer, board_folder, make_folder
from ncpl.commands.options import common

log = logging.getLogger("ncpl.bench")


@click.command("losscast")
@click.argument("repository", type=click.Path(path_type=Path, file_okay=False))
@click.option("--split", default="val", show_default=True, help="Folder of their data/.")
@board_folder(
    "losscast.md, losscast.json, and what their scorer reads: predictions.json and predict.py"
)
@common
def losscast(
    *, repository: Path, split: str, out: Path | None, as_json: bool, no_progress: bool
) -> None:
    """Score the shipped weights by LossCast-Bench's own rules, beside its published rows.

    REPOSITORY is a copy of github.com/dangxingyu/losscast-bench. Their scorer then says the same:
    losscast-eval --split val -p board/predictions.json. The part NCPL-OOD is held out of every
    training here; nanochat runs are partly known to the community bundle, and stand apart.

    Example: ncpl bench losscast losscast-bench --out board
    """
    from ncpl.bench import losscast as bench
    from ncpl.bench.losscast_predictor import predict

    runs = bench.read_split(repository, split)
    make_folder(out)

    def tell(done: int) -> None:
        if not no_progress:
            log.info("%d of %d runs", done, len(runs))

    said, rows = bench.run_losscast(runs, predict, tell=tell)
    plain = bench.as_json(rows, {"split": split})
    more = {"predictions.json": bench.submission(said), "predict.py": bench.PREDICTOR}
    answer("losscast", plain, bench.markdown(rows), out, as_json=as_json, more=more)
