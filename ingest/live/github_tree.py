"""Single files of a repository on GitHub at one commit: listed as a tree, fetched one by one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from urllib.parse import quote

from ncpl_data.catalog.errors import SourceUnreachableError
from ncpl_data.ingest.live.transport import Transport

TREE_URL = "https://api.github.com"
RAW_URL = "https://raw.githubusercontent.com"
MAX_FILE_BYTES = 1 << 20


def tree_files(
    transport: Transport, repository: str, commit: str, member: re.Pattern[str]
) -> Iterator[tuple[str, str]]:
    """Yield (path, Git's hash of the content) of each file whose path a pattern fits.

    Raises SourceUnreachableError for an answer that is no tree, or not the whole of it.
    """
    answer, _ = transport.get_json(f"/repos/{repository}/git/trees/{commit}?recursive=1")
    entries = answer.get("tree") if isinstance(answer, dict) else None
    if not isinstance(entries, list) or answer.get("truncated"):
        raise SourceUnreachableError(
            f"GitHub did not list all files of {repository} at {commit}; take them from a clone"
        )
    for entry in entries:
        if entry.get("type") == "blob" and member.fullmatch(str(entry.get("path"))):
            yield str(entry["path"]), str(entry.get("sha"))


def raw_file(transport: Transport, repository: str, commit: str, path: str, sha1: str) -> bytes:
    """Return the content of one listed file.

    Raises SourceUnreachableError if what arrives is not the file that was listed.
    """
    content = transport.get_bytes(f"/{repository}/{commit}/{quote(path)}", MAX_FILE_BYTES)
    found = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    if found != sha1:
        raise SourceUnreachableError(
            f"{path} of {repository} at {commit}: Git's hash of what arrived is {found[:12]}, "
            f"listed is {sha1[:12]}; try again"
        )
    return content
