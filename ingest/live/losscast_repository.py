"""The runs of LossCast-Bench's repository, which keeps two small files a run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ncpl_data.catalog.errors import SourceUnreachableError
from ncpl_data.ingest.live.github_archive import archive_files
from ncpl_data.ingest.live.transport import Transport

REPOSITORY = "dangxingyu/losscast-bench"
MEMBER = re.compile(r"[^/]+/data/(train|val)/([A-Za-z0-9._-]+)/(config|losses)\.json")


def repository_runs(transport: Transport, revision: str) -> Iterator[dict[str, Any]]:
    """Yield the runs of the repository at a revision as recorded lines, by name.

    Only the two files of a run are looked at. Raises SourceUnreachableError for an archive that
    is cut off or holds something else.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for match, content in archive_files(transport, REPOSITORY, revision, MEMBER):
        try:
            found.setdefault((match[2], match[1]), {})[match[3]] = json.loads(content)
        except ValueError as error:
            raise SourceUnreachableError(
                f"the archive of {REPOSITORY} at {revision} is altered: {match[0]} is not JSON "
                f"({error}); try again"
            ) from error
    for (name, split), files in sorted(found.items()):
        if files.keys() >= {"config", "losses"}:
            yield {"split": split, "run_id": name, **files}
