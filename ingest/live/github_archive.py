"""Files of a repository on GitHub at one commit, read from its archive without unpacking it."""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from ncpl_data.catalog.errors import SourceUnreachableError
from ncpl_data.ingest.live.transport import Transport

BASE_URL = "https://codeload.github.com"
MAX_ARCHIVE_BYTES = 512 << 20
MAX_FILE_BYTES = 8 << 20


def archive_files(
    transport: Transport, repository: str, revision: str, member: re.Pattern[str]
) -> Iterator[tuple[re.Match[str], bytes]]:
    """Yield (match of its path, content) of each regular file whose path a pattern fits.

    Paths begin with the folder of the archive. Raises SourceUnreachableError for an archive that
    is cut off or is none.
    """
    content = transport.get_bytes(f"/{repository}/tar.gz/{revision}", MAX_ARCHIVE_BYTES)
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for entry in archive:
                match = member.fullmatch(entry.name)
                if match is None or not entry.isfile() or entry.size > MAX_FILE_BYTES:
                    continue
                file = archive.extractfile(entry)
                assert file is not None  # a regular file has content
                yield match, file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise SourceUnreachableError(
            f"the archive of {repository} at {revision} is cut off or altered ({error}); try again"
        ) from error


def write_files(
    transport: Transport,
    repository: str,
    revision: str,
    member: re.Pattern[str],
    folder: Path,
    limit: int | None = None,
) -> list[Path]:
    """Write the files a pattern fits below a folder, each under the pattern's group `path`.

    Nothing is written unless the whole archive was read. `limit` bounds the number of files.
    """
    found = {
        match["path"]: content
        for match, content in archive_files(transport, repository, revision, member)
    }
    paths = []
    for name, content in sorted(found.items())[:limit]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(content)
        part.replace(path)
        paths.append(path)
    return paths
