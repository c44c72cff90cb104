"""RegMix: final losses on 13 Pile domains for mixtures of 17, at three sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.packed import csv_columns, csv_header, packed_source, sha256
from ncpl_data.ingest.pins.regmix import PINS

NAME = "regmix"
CITATION = (
    "Liu et al. 2025, RegMix: Data Mixture as Regression for Language Model Pre-training "
    "(ICLR 2025), arXiv:2407.01492"
)
URL = "https://github.com/sail-sg/regmix"
REVISION = "b004d3a3f39846dcec6b3740da22bcd1ba95a5d0"

SHARE = "train_the_pile_"
PRIMARY = "validation/pile_cc"
SETS = (("train", "1m"), ("test", "1m"), ("test", "60m"), ("test", "1B"))
SIZES: Mapping[str, tuple[int, int | None]] = {
    "1m": (1_000_000, 1_000_000_000),
    "60m": (60_000_000, None),
    "1B": (1_000_000_000, 25_000_000_000),
}
"""Nominal parameters, and training tokens where the project's notes state them."""


def read(contents: Mapping[str, bytes]) -> Iterator[Run | Skipped]:
    """Yield one run a row: a mixture file and a loss file, paired by their column index."""
    for part, size in SETS:
        mixture_file, loss_file = f"{part}_mixture_{size}.csv", f"{part}_pile_loss_{size}.csv"
        shares = columns_of(contents[mixture_file], mixture_file, SHARE)
        losses = columns_of(contents[loss_file], loss_file, "metric/the_pile_")
        row_of = {int(index): row for row, index in enumerate(losses.pop("index"))}
        digest = sha256(contents[loss_file])
        for row, index in enumerate(shares.pop("index")):
            if int(index) not in row_of:
                yield Skipped(
                    f"{mixture_file} index {index}",
                    reason="mixture without losses",
                    payload={domain: float(values[row]) for domain, values in shares.items()},
                )
                continue
            mixture = {domain: float(values[row]) for domain, values in shares.items()}
            found = {
                domain.removesuffix("_val_loss"): float(values[row_of[int(index)]])
                for domain, values in losses.items()
            }
            yield run_of(part, size, int(index), mixture, found, loss_file, digest)


def columns_of(content: bytes, name: str, prefix: str) -> dict[str, Any]:
    """Return the columns of one file by domain, and "index"."""
    domains = [column for column in csv_header(content) if column.startswith(prefix)]
    if not domains:
        raise RawFileError(
            f"{NAME} {name}: no column that starts with {prefix}", source=NAME, file=name
        )
    kinds = {"index": pa.int64()} | dict.fromkeys(domains, pa.float64())
    found = csv_columns(content, NAME, name, kinds)
    return {column.removeprefix(prefix): values for column, values in found.items()}


def run_of(
    part: str,
    size: str,
    index: int,
    mixture: Mapping[str, float],
    losses: Mapping[str, float],
    file: str,
    digest: str,
) -> Run:
    """Return the run of one mixture at one size."""
    n_params, tokens = SIZES[size]
    logged = ("mixture", "metrics", "final_loss")
    declared: dict[str, Any] = {"stage": "pretrain", "modality": "text", "architecture": "decoder"}
    declared |= {"dataset": "the_pile"}
    origins: dict[str, Any] = dict.fromkeys(logged, "logged") | dict.fromkeys(declared, "declared")
    origins |= dict.fromkeys(("final_loss_metric", "final_loss_unit", "extra"), "declared")
    if tokens is not None:
        origins["nominal_train_tokens"] = "declared"
    return Run(
        run_id=f"{NAME}/{part}_{size}_{index:04d}",
        source=NAME,
        source_run=f"{part}_{size} index {index}",
        **declared,
        extra={f"{NAME}.nominal_params": n_params},
        nominal_train_tokens=tokens,
        mixture=tuple({"domain": domain, "share_frac": share} for domain, share in mixture.items()),
        final_loss=losses["pile_cc"],
        final_loss_metric=PRIMARY,
        final_loss_unit="nats_per_token",
        metrics=tuple(
            {
                "name": f"validation/{domain}",
                "split": "validation",
                "dataset": f"the_pile/{domain}",
                "unit": "nats_per_token",
                "value": value,
            }
            for domain, value in losses.items()
        ),
        citation=CITATION,
        url=URL,
        file=f"data/{file}",
        file_sha256=digest,
        record=f"index {index}",
        is_copy=False,
        origins=origins,
    )


SOURCE = packed_source(
    read,
    name=NAME,
    title="RegMix: 1,088 mixtures of the Pile with losses on 13 domains",
    owner="Sea AI Lab (Liu et al.)",
    licence="MIT",
    citation=CITATION,
    url=URL,
    revision=REVISION,
    n_runs=1_088,
    files_title="four pairs of mixture and loss tables",
    sha256="df8b97037697c25e16215c4336dbee544b24c8a58ca4b45a6f7e0fbd7c39495e",
    n_bytes=119_453,
    pins=PINS,
    folder="/data",
    traps=(
        "rows of a mixture file and a loss file pair by index, which starts at 0 or 1",
        "shares are rounded: they sum to .996 to 1.003",
        "17 domains are mixed, 13 are measured; final_loss is the one on pile_cc, chosen here",
        "the 256 test mixtures of 1m and of 60m are the same, at two sizes",
        "its train and test parts are its own, not a split of ours",
    ),
)
