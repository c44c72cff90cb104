"""Marin's speedruns as they lie in its repository: one result file a run, people left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ncpl_data.catalog.errors import SourceUnreachableError
from ncpl_data.ingest.live.github_tree import raw_file, tree_files
from ncpl_data.ingest.live.transport import Transport

REPOSITORY = "marin-community/marin"
REVISION = "dffdec0106b3a3c7b68c817602721350cb6bede3"
MEMBER = re.compile(r"experiments/speedrun/[A-Za-z0-9._/-]+/speedrun_results[A-Za-z0-9._-]*\.json")
KEPT = (
    "description", "eval/paloma/c4_en/bpb", "model_config", "model_flops", "model_size",
    "num_devices", "run_completion_timestamp", "tokenized_dataset", "total_tokens", "train_config",
    "training_time",
)  # fmt: skip
"""What is recorded of a run; its author and the link to an account are not."""


def speedruns(
    trees: Transport, raw: Transport, revision: str, limit: int | None
) -> Iterator[dict[str, Any]]:
    """Yield a line a run: path, its number in a file of several, and run_info without people.

    `limit` bounds the number of files. Raises SourceUnreachableError for a file that is no result.
    """
    for path, sha1 in sorted(tree_files(trees, REPOSITORY, revision, MEMBER))[:limit]:
        content = raw_file(raw, REPOSITORY, revision, path, sha1)
        try:
            runs = json.loads(content)["runs"]
            infos = [run["run_info"] for run in runs]
            kept = [{key: info[key] for key in KEPT if key in info} for info in infos]
        except (ValueError, KeyError, TypeError) as error:
            raise SourceUnreachableError(
                f"{path} of {REPOSITORY} at {revision} is no speedrun result "
                f"({type(error).__name__} {error})"
            ) from error
        for number, info in enumerate(kept, 1):
            yield {"path": path, "number": number, "run_info": info}
