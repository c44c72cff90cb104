"""Files of a source at an address of one's own: a mirror, or another revision of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from ncpl_data.catalog.errors import InputError, RawFileError, SourceUnreachableError
from ncpl_data.ingest.base import Origin, RawFile, Source
from ncpl_data.ingest.fetch import (
    Progress,
    cache_folder,
    cached,
    fetch,
    fetch_as_is,
    place_of,
    size_at,
)


def is_url(text: str) -> bool:
    """Return whether a text is an address rather than a path."""
    return text.lower().startswith(("http://", "https://"))


def check_url(url: str) -> None:
    """Raise InputError for an address that names no folder or file of a host."""
    parts = urlsplit(url)
    if not parts.hostname or parts.username or parts.query or parts.fragment:
        raise InputError(
            f"{url[:200]}: expected https://HOST/FOLDER or https://HOST/FOLDER/FILE, without a "
            "user, ? or #"
        )


def files_at(
    source: Source, url: str, *, accept_changed: bool, progress: Progress | None = None
) -> tuple[Origin, dict[str, Path], bool]:
    """Return the first origin whose files lie at an address, where they are kept, if all pinned.

    `url` is that of the folder with the files, or of the file where there is one. With
    `accept_changed` what lies there now is taken, whatever its hash. Raises RawFileError for a file
    that is not the pinned one, SourceUnreachableError where no origin's files are to be had.
    """
    check_url(url)
    cache = cache_folder()
    errors: list[SourceUnreachableError] = []
    for origin in source.origins:
        try:
            paths = {
                file.name: _one(source, file, _address(origin, file, url), accept_changed, progress)
                for file in origin.files
            }
        except SourceUnreachableError as error:
            errors.append(error)
            continue
        is_pinned = all(f.sha256 and paths[f.name] == place_of(f, cache) for f in origin.files)
        return origin, paths, is_pinned
    raise errors[0]


def _address(origin: Origin, file: RawFile, url: str) -> str:
    if len(origin.files) == 1 and urlsplit(url).path.endswith(f"/{quote(file.name)}"):
        return url
    return f"{url.rstrip('/')}/{quote(file.name)}"


def _one(
    source: Source, file: RawFile, url: str, accept_changed: bool, progress: Progress | None
) -> Path:
    """Return where one file is kept in the cache, in a folder named by its hash."""
    cache = cache_folder()
    advice = "give the address of a folder that holds the files of the source under their names"
    if accept_changed:
        return fetch_as_is(url, file.name, cache, progress=progress, advice=advice)
    if file.sha256 and (found := cached(file, cache)) is not None:
        return found
    n_bytes = size_at(url, file.name, advice=advice)
    if not file.sha256 or n_bytes != file.n_bytes:
        wanted = f"expected {file.n_bytes:,}" if file.sha256 else "no hash of it is known"
        raise RawFileError(
            f"{source.name} {file.name}: {url} has {n_bytes:,} bytes, {wanted}; to read it all the "
            "same, add --accept-changed",
            source=source.name,
            file=file.name,
        )
    pinned = replace(file, url=url)
    return fetch(pinned, cache, source=source.name, progress=progress, advice=advice)
