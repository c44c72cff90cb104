"""A catalog in a bucket: an S3-compatible store with conditional writes stands in for a folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import platformdirs

from ncpl_data.catalog.errors import InputError, IntegrityError, SourceUnreachableError
from ncpl_data.catalog.folder import LocalFolder, Storage

ADDRESS = re.compile(r"s3:/{1,2}(?P<bucket>[a-z0-9][a-z0-9.-]+)(?:/(?P<prefix>.*))?")
"""One slash is what is left of two in a path."""
HASHED_NAME = re.compile(r"-([0-9a-f]{24})\.parquet$")
RETRY_SECONDS = 30


def is_bucket(location: Path | str) -> bool:
    """Return whether a location is a bucket's address."""
    return str(location).startswith("s3:/")


def open_storage(location: Path | str) -> Storage:
    """Return the storage of a location: a folder, or s3://bucket/prefix."""
    if not is_bucket(location):
        return LocalFolder(Path(location))
    match = ADDRESS.fullmatch(str(location))
    if match is None:
        raise InputError(f'"{location}" is no address; expected s3://bucket/prefix')
    return Bucket(match["bucket"], (match["prefix"] or "").strip("/"))


def read_cache(place: str) -> Path:
    """Return the local folder that a bucket's files are read through."""
    given = os.environ.get("NCPL_CACHE")
    base = Path(given) if given else platformdirs.user_cache_path("ncpl-data")
    return base / "buckets" / hashlib.sha256(place.encode()).hexdigest()[:16]


def is_whole(name: str, content: bytes) -> bool:
    """Return False where a file's name tells another hash than that of its content."""
    told = HASHED_NAME.search(name)
    return told is None or hashlib.sha256(content).hexdigest().startswith(told[1])


class Bucket:
    """One prefix of a bucket. Data files are immutable, so they are downloaded once.

    Keys, region and endpoint come from the usual environment: AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        """Take bucket and prefix. Raises InputError without the package obstore."""
        try:
            import obstore
            from obstore.store import S3Store
        except ImportError as error:
            raise InputError(
                "a catalog in a bucket needs the package obstore; install it: "
                "pip install 'ncpl-data[s3]'"
            ) from error
        self.obstore: Any = obstore
        self.place = f"s3://{bucket}/{prefix}".rstrip("/")
        self.cache = LocalFolder(read_cache(self.place))
        options: dict[str, Any] = {}
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if endpoint:
            options = {"endpoint": endpoint, "virtual_hosted_style_request": False}
            if endpoint.startswith("http://"):
                options["client_options"] = {"allow_http": True}
        retry: Any = {"max_retries": 5, "retry_timeout": timedelta(seconds=RETRY_SECONDS)}
        self.store: Any = S3Store(bucket, prefix=prefix or None, retry_config=retry, **options)

    @property
    def local_root(self) -> Path:
        """The folder that holds every file `path` returns."""
        return self.cache.root

    def call(self, what: str, *args: Any, **options: Any) -> Any:
        """Call the store; its failures become errors of ours.

        FileNotFoundError and AlreadyExistsError are answers, and pass.
        """
        with self.answering():
            return getattr(self.obstore, what)(self.store, *args, **options)

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Turn failures of the store into one sentence."""
        try:
            yield
        except (FileNotFoundError, self.obstore.exceptions.AlreadyExistsError):
            raise
        except (self.obstore.exceptions.BaseError, OSError) as error:
            reason = str(error).strip().splitlines()[0][:300]
            raise SourceUnreachableError(
                f"{self.place} did not answer ({reason}); check the address, the network and the "
                "AWS_... variables"
            ) from error

    def path(self, name: str) -> Path:
        """Return the local copy of a data file, downloaded if it is not there yet."""
        target = self.cache.path(name)
        if not target.is_file():
            temporary = self.cache.temporary(name)
            content = self.read(name)
            if not is_whole(name, content):  # an answer that broke off would be kept for good
                content = self.read(name)
            temporary.write_bytes(content)
            temporary.replace(target)
        return target

    def names(self, prefix: str) -> list[str]:
        """Return the names of the files of one sub-folder, sorted."""
        return sorted(meta["path"] for meta in self.entries(prefix))

    def entries(self, prefix: str) -> list[dict[str, Any]]:
        """Return what the store says of every file below a sub-folder."""
        with self.answering():
            pages = self.obstore.list(self.store, prefix=f"{prefix}/")
            return [meta for page in pages for meta in page]

    def ages(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Yield name and age in seconds of every file below a sub-folder."""
        for meta in self.entries(prefix):
            yield meta["path"], (datetime.now(UTC) - meta["last_modified"]).total_seconds()

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        try:
            return bytes(self.call("get", name).bytes())
        except FileNotFoundError as error:
            raise IntegrityError(f"{self.place}/{name} is missing") from error

    def temporary(self, name: str) -> Path:
        """Return a fresh local path, to be written and then put under the name."""
        return self.cache.temporary(name)

    def put_if_absent(self, name: str, temporary: Path) -> bool:
        """Upload a finished temporary file; return False if the name is taken."""
        try:
            self.call("put", name, temporary, mode="create", use_multipart=False)
        except self.obstore.exceptions.AlreadyExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def put_content(self, name: str, temporary: Path) -> None:
        """Upload a file whose name says its content, and keep it as the local copy."""
        self.call("put", name, temporary)
        temporary.replace(self.cache.path(name))

    def put_bytes_if_absent(self, name: str, content: bytes) -> bool:
        """Upload bytes; return False if the name is taken."""
        temporary = self.temporary(name)
        temporary.write_bytes(content)
        return self.put_if_absent(name, temporary)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.call("delete", name)

    def mark(self, name: str) -> None:
        """Write an empty file whose name says everything."""
        self.call("put", name, b"")

    def forget(self, name: str) -> bool:
        """Remove the local copy of a data file, so that it is downloaded again."""
        try:
            self.cache.path(name).unlink()
        except OSError:
            return False
        return True

    def remove_if_older(self, name: str, seconds: float) -> bool:
        """Remove a file unless a writer put it again meanwhile; return whether it is gone.

        A bucket can not move a file aside: between the look and the removal lies one round trip.
        Keep the age far above the time one commit takes.
        """
        try:
            meta = self.call("head", name)
        except FileNotFoundError:
            return False
        if (datetime.now(UTC) - meta["last_modified"]).total_seconds() < seconds:
            return False
        self.call("delete", name)
        with contextlib.suppress(FileNotFoundError):
            self.cache.path(name).unlink()
        return True
