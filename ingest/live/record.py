"""Record a live project in a folder, so that ingesting it needs no network and can be repeated."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ncpl_data.ingest.live import (
    github_archive,
    github_tree,
    hub_dataset,
    losscast_repository,
    speedruns,
    wandb_project,
)
from ncpl_data.ingest.live.transport import Transport
from ncpl_data.ingest.secrets import scrubbed
from ncpl_data.ingest.studies import losscast, marin
from ncpl_data.ingest.studies.wandb_runs import FILE, STATES_WITHOUT_END

REVISION_FILE = "REVISION"
SPEEDRUNS_FILE = "speedrun_results.jsonl"
OVERTRAINING_REVISION = "a003c4913793ac2ae7ef87b28ecb562955d026d5"
"""The commit whose model files the source pins."""


@dataclass(frozen=True)
class Recorded:
    """What was recorded."""

    paths: Sequence[Path]
    n_runs: int | None
    """None for files that are taken as they are."""
    revision: str | None


def marin_metric(keys: Sequence[str]) -> str | None:
    """Return the key of the study's target metric, if the run logged it."""
    return marin.METRIC if marin.METRIC in keys else None


def smoothed_loss(keys: Sequence[str]) -> str | None:
    """Return the key of the smoothed train loss: the shortest that says both."""
    found = [key for key in keys if "loss" in key.lower() and "smooth" in key.lower()]
    return min(found, key=lambda key: (len(key), key), default=None)


@dataclass(frozen=True)
class WandbProject:
    """A W&B project that can be recorded."""

    entity: str
    project: str
    choose: Callable[[Sequence[str]], str | None]
    tags: Sequence[str] = ()

    def record(self, folder: Path, base_url: str | None, limit: int | None) -> Recorded:
        """Write one JSON line a run; the file takes its name only when it is complete.

        A recording that was cut off goes on where it stopped: runs that had ended are not asked
        for again. The key in WANDB_API_KEY is used if there is one. Values of configuration and
        summary that look like secrets are left out.
        """
        key = os.environ.get("WANDB_API_KEY")
        address = base_url or wandb_project.BASE_URL
        path = folder / FILE
        auth = ("api", key) if key else None
        with (
            Transport(address, service="W&B", auth=auth) as transport,
            continued(path) as (file, known),
        ):
            n_runs = len(known)
            for run in wandb_project.project_runs(
                transport,
                self.entity,
                self.project,
                self.choose,
                tags=self.tags,
                limit=limit,
                known=known,
            ):
                run |= {part: scrubbed(run[part]) for part in ("config", "summary")}
                file.write(json.dumps(run, sort_keys=True, ensure_ascii=False) + "\n")
                n_runs += 1
        return Recorded((path,), n_runs, None)


@dataclass(frozen=True)
class HubDataset:
    """A dataset repository that can be recorded."""

    repository: str
    revision: str = "main"

    def record(self, folder: Path, base_url: str | None, limit: int | None) -> Recorded:
        """Download the repository's data files at the commit its revision stands for.

        The key in HF_TOKEN is used if there is one. `limit` bounds the number of files.
        """
        address = base_url or hub_dataset.BASE_URL
        bearer = os.environ.get("HF_TOKEN")
        with Transport(address, service="Hugging Face", bearer=bearer) as transport:
            commit = hub_dataset.revision_of(transport, self.repository, self.revision)
            files = list(hub_dataset.data_files(transport, self.repository, commit))[:limit]
            paths = [
                hub_dataset.download(transport, self.repository, commit, file, folder)
                for file in files
            ]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / REVISION_FILE).write_text(f"{self.repository} {commit}\n", encoding="utf-8")
        return Recorded(tuple(paths), None, commit)


@dataclass(frozen=True)
class LossCastRepository:
    """The benchmark's repository at one revision, with the runs the shipped copy lacks."""

    revision: str

    def record(self, folder: Path, base_url: str | None, limit: int | None) -> Recorded:
        """Write one JSON line a run; the file appears whole or not at all."""
        address = base_url or github_archive.BASE_URL
        path, n_runs = folder / losscast.RECORDED_FILE, 0
        with Transport(address, service="GitHub") as transport, whole(path) as file:
            for run in losscast_repository.repository_runs(transport, self.revision):
                if limit is not None and n_runs >= limit:
                    break
                file.write(json.dumps(run, ensure_ascii=False) + "\n")
                n_runs += 1
        return Recorded((path,), n_runs, self.revision)


@dataclass(frozen=True)
class GithubFiles:
    """Files of a repository at one commit."""

    repository: str
    revision: str
    member: re.Pattern[str]
    """Fits the paths of the files in the archive; its group `path` is where they are written."""

    def record(self, folder: Path, base_url: str | None, limit: int | None) -> Recorded:
        """Write the files below a folder, byte for byte. `limit` bounds their number."""
        address = base_url or github_archive.BASE_URL
        with Transport(address, service="GitHub") as transport:
            paths = github_archive.write_files(
                transport, self.repository, self.revision, self.member, folder, limit
            )
        return Recorded(tuple(paths), None, self.revision)


@dataclass(frozen=True)
class Speedruns:
    """Marin's speedrun results at one commit."""

    revision: str

    def record(self, folder: Path, base_url: str | None, limit: int | None) -> Recorded:
        """Write one JSON line a run; the file appears whole or not at all.

        The key in GITHUB_TOKEN is used for the listing if there is one. `limit` bounds the number
        of result files.
        """
        bearer = os.environ.get("GITHUB_TOKEN")
        path, n_runs = folder / SPEEDRUNS_FILE, 0
        with (
            Transport(base_url or github_tree.TREE_URL, service="GitHub", bearer=bearer) as trees,
            Transport(base_url or github_tree.RAW_URL, service="GitHub") as raw,
            whole(path) as file,
        ):
            for run in speedruns.speedruns(trees, raw, self.revision, limit):
                file.write(json.dumps(run, sort_keys=True, ensure_ascii=False) + "\n")
                n_runs += 1
        return Recorded((path,), n_runs, self.revision)


Project = WandbProject | HubDataset | LossCastRepository | GithubFiles | Speedruns
PROJECTS: Mapping[str, Project] = {
    "marin": WandbProject("marin-community", "optimizer-scaling", marin_metric),
    "steplaw": WandbProject("billzid", "predictable-scale", smoothed_loss),
    "losscast": LossCastRepository(losscast.REVISION),
    "overtraining": GithubFiles(
        "mlfoundations/scaling",
        OVERTRAINING_REVISION,
        re.compile(r"[^/]+/exp_data/(?P<path>(models|evals)/[A-Za-z0-9._=-]+\.json)"),
    ),
    "ncpl_logs": HubDataset("zhqwqwq/NCPL-Pretraining-Logs"),
    "marin_speedruns": Speedruns(speedruns.REVISION),
}


@contextmanager
def whole(path: Path) -> Iterator[IO[str]]:
    """Give a file to write that takes its name only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def continued(path: Path) -> Iterator[tuple[IO[str], frozenset[str]]]:
    """Give a file to write and the names of the runs that it holds already.

    What was written stays when the writing fails, and is there the next time; a run that had not
    ended, and a line that was cut off, are left out then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    lines: dict[str, str] = {}
    for text in part.read_text("utf-8").splitlines() if part.is_file() else ():
        try:
            run = json.loads(text)
        except ValueError:
            break
        if run["state"] not in STATES_WITHOUT_END:
            lines[run["name"]] = text
    with part.open("w", encoding="utf-8") as file:
        try:
            file.writelines(f"{text}\n" for text in lines.values())
            yield file, frozenset(lines)
        finally:
            file.flush()
            if file.tell() == 0:
                part.unlink()
    part.replace(path)
