"""The runs of LossCast-Bench's repository, which keeps two small files a run."""

from __future__ import annotations

import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from typing import Any

from ncpl_data.catalog.errors import SourceUnreachableError
from ncpl_data.ingest.live.transport import Transport

BASE_URL = "https://codeload.github.com"
REPOSITORY = "dangxingyu/losscast-bench"
MAX_ARCHIVE_BYTES = 512 << 20
MAX_FILE_BYTES = 8 << 20
MEMBER = re.compile(r"[^/]+/data/(train|val)/([A-Za-z0-9._-]+)/(config|losses)\.json")


def repository_runs(transport: Transport, revision: str) -> Iterator[dict[str, Any]]:
    """Yield the runs of the repository at a revision as recorded lines, by name.

    Only the two files of a run are looked at; nothing is unpacked. Raises SourceUnreachableError
    for an archive that is cut off or holds something else.
    """
    content = transport.get_bytes(f"/{REPOSITORY}/tar.gz/{revision}", MAX_ARCHIVE_BYTES)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for member in archive:
                match = MEMBER.fullmatch(member.name)
                if match is None or not member.isfile() or member.size > MAX_FILE_BYTES:
                    continue
                file = archive.extractfile(member)
                assert file is not None  # a regular file has content
                found.setdefault((match[2], match[1]), {})[match[3]] = json.loads(file.read())
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError) as error:
        raise SourceUnreachableError(
            f"the archive of {REPOSITORY} at {revision} is cut off or altered ({error}); try again"
        ) from error
    for (name, split), files in sorted(found.items()):
        if files.keys() >= {"config", "losses"}:
            yield {"split": split, "run_id": name, **files}
