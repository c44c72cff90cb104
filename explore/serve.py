"""A server of one folder on this machine only."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LOOPBACK = "127.0.0.1"


class Quiet(SimpleHTTPRequestHandler):
    """Files of the folder, with nothing logged and nothing kept by the browser."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""

    def end_headers(self) -> None:
        """Add what a page loaded again needs: the newest files."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()


def server_of(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """Return a server of a folder on loopback; port 0 takes a free one.

    Raises OSError where the port is taken.
    """
    return ThreadingHTTPServer((LOOPBACK, port), partial(Quiet, directory=str(folder)))
