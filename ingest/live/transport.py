"""Requests to a live service: retried where refused, bounded, and clear about what went wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from ncpl_data.catalog.errors import SourceUnreachableError
from ncpl_data.ingest.fetch import (
    CONNECT_TIMEOUT_SECONDS,
    MAX_TRIES,
    READ_TIMEOUT_SECONDS,
    RETRY_STATUS,
    backoff_seconds,
    retry_after_seconds,
)

MAX_ANSWER_BYTES = 64 << 20
"""A page larger than this is no page."""


class AnswerError(SourceUnreachableError):
    """A service that answers, but not with what was asked for."""

    def __init__(self, message: str, status: int | None) -> None:
        """Keep the answer's status; None where no answer came."""
        super().__init__(message)
        self.status = status


class Transport:
    """A connection to one service; use it as a context manager."""

    def __init__(
        self,
        base_url: str,
        *,
        service: str,
        auth: tuple[str, str] | None = None,
        bearer: str | None = None,
        wait: Callable[[float], None] = time.sleep,
        advice: str = "ingest a recording you have: ncpl-data ingest NAME --from FOLDER",
    ) -> None:
        """Prepare requests below a URL; keys go into headers and nowhere else.

        `advice` says what to do where the service can not be read.
        """
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        limits = httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS)
        self.client = httpx.Client(
            base_url=base_url,
            auth=auth,
            headers=headers,
            timeout=limits,
            follow_redirects=True,
            max_redirects=5,
        )
        self.base_url = base_url
        self.service = service
        self.wait = wait
        self.advice = advice

    def __enter__(self) -> Self:
        """Return the connection."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.client.close()

    def post_json(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON answer to a JSON request."""
        return self.json_of(self.request("POST", path, json=body))

    def get_json(self, path: str) -> tuple[Any, str | None]:
        """Return a JSON answer and the address of the next page, if it names one."""
        answer = self.request("GET", path)
        following = answer.links.get("next", {}).get("url")
        if following is not None and answer.url.join(following).host != answer.url.host:
            raise SourceUnreachableError(
                f"{self.service}: {path} names a next page on another host; it is not followed"
            )
        return self.json_of(answer), following

    def get_bytes(self, path: str, max_bytes: int = MAX_ANSWER_BYTES) -> bytes:
        """Return a file of at most so many bytes."""
        return self.request("GET", path, max_bytes=max_bytes).content

    def request(
        self, method: str, path: str, *, max_bytes: int = MAX_ANSWER_BYTES, **options: Any
    ) -> httpx.Response:
        """Return a successful answer.

        Raises AnswerError if none comes after several tries.
        """
        reason, status = "no answer", None
        for attempt in range(MAX_TRIES):
            try:
                answer = self.read(method, path, options, max_bytes)
            except httpx.ConnectError as error:
                reason = str(error) or "no connection"
                break  # without a network another try only costs time
            except httpx.HTTPError as error:
                reason = f"{type(error).__name__}: {error}"
                self.wait(backoff_seconds(attempt))
                continue
            if answer.is_success:
                return answer
            status, reason = answer.status_code, f"status {answer.status_code}"
            if answer.status_code not in RETRY_STATUS:
                break
            asked = retry_after_seconds(answer.headers.get("Retry-After"))
            self.wait(asked if asked is not None else backoff_seconds(attempt))
        hint = " A key may be needed." if reason in ("status 401", "status 403") else ""
        raise AnswerError(
            f"{self.service}: {self.base_url} could not be read ({reason}).{hint} Try again "
            f"later, or {self.advice}",
            status,
        )

    def read(
        self, method: str, path: str, options: Mapping[str, Any], max_bytes: int
    ) -> httpx.Response:
        """Return one answer, read whole but never beyond the bound."""
        with self.client.stream(method, path, **options) as answer:
            parts, size = [], 0
            for part in answer.iter_bytes():
                size += len(part)
                if size > max_bytes:
                    raise httpx.RemoteProtocolError(f"the answer is over {max_bytes:,} bytes")
                parts.append(part)
        headers = [
            (key, value)
            for key, value in answer.headers.multi_items()
            if key.lower() not in ("content-encoding", "content-length", "transfer-encoding")
        ]
        return httpx.Response(
            answer.status_code,
            headers=headers,
            content=b"".join(parts),
            request=answer.request,
        )

    def json_of(self, answer: httpx.Response) -> Any:
        """Return the JSON value of an answer.

        Raises SourceUnreachableError if it holds none.
        """
        try:
            return json.loads(answer.content)
        except ValueError as error:
            raise SourceUnreachableError(
                f"{self.service}: {answer.request.url.path} did not answer with JSON but with "
                f"{answer.content[:60]!r}"
            ) from error
