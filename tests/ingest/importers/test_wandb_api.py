"""A W&B project is read through its API: a loopback server answers what wandb 0.31 asks."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("wandb")

EXPORTED = {
    "_step": [100, 200, 300],
    "train/loss": [6.1023, 5.4417, 5.0981],
    "eval/loss": [None, 5.4682, None],
}
LIVE = {"_step": 400, "train/loss": 4.8732, "eval/loss": 4.9015}
"""The last row is not exported yet: it comes from the live tail."""

CONFIG = {"lr": 0.001, "max_steps": 400, "batch_size": 32, "seq_len": 512, "api_key": "x" * 40}


def parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(EXPORTED), buffer)
    return buffer.getvalue()


def run_node(name: str) -> dict[str, Any]:
    """Return one run as the server describes it."""
    key = {"typeCounts": [{"type": "number", "count": 4}], "monotonic": False, "previousValue": 1}
    return {
        "id": "cnVu",
        "name": name,
        "displayName": "gpt-small",
        "state": "finished",
        "config": json.dumps({k: {"value": v} for k, v in CONFIG.items()}),
        "summaryMetrics": json.dumps({"_runtime": 812.4, "_step": 400}),
        "systemMetrics": "{}",
        "tags": [],
        "createdAt": "2026-01-01T00:00:00",
        "heartbeatAt": "2026-01-01T00:00:00",
        "historyLineCount": 4,
        "user": {"name": "a", "username": "a"},
        "historyKeys": {
            "lastStep": 400,
            "sets": [],
            "keys": {"train/loss": key, "eval/loss": key},
        },
        "projectId": "1",
        "sweepName": None,
        "group": None,
        "jobType": None,
        "commit": None,
        "readOnly": False,
        "description": None,
        "notes": None,
    }


class Server(ThreadingHTTPServer):
    """GraphQL and one Parquet file, on loopback; remembers what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.file = parquet()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the data of one operation. Runs come in two pages of one run each."""
        if operation == "Viewer":
            teams: dict[str, Any] = {"edges": []}
            return {"viewer": {"id": "1", "flags": "{}", "entity": "lab", "teams": teams}}
        if operation == "GetDefaultEntity":
            return {"viewer": {"id": "1", "entity": "lab"}}
        if operation == "Runs":
            name = "def456" if variables.get("cursor") else "abc123"
            page = {"endCursor": "c1", "hasNextPage": name == "abc123"}
            runs = {"edges": [{"node": run_node(name), "cursor": "c1"}], "pageInfo": page}
            return {"project": {"internalId": "1", "runCount": 2, "readOnly": False, "runs": runs}}
        if operation == "RunParquetHistory":
            found = {"liveData": [LIVE], "parquetUrls": [f"{self.url}/history.parquet"]}
            return {"project": {"run": {"parquetHistory": found}}}
        if operation == "RunHistoryKeys":
            return {"project": {"run": {"historyKeys": run_node("a")["historyKeys"]}}}
        if operation == "HistoryPage":
            return {"project": {"run": {"history": [json.dumps(LIVE)]}}}
        return {}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        query = json.loads(body)
        match = re.search(r"(?:query|mutation)\s+(\w+)", query["query"])
        operation = match[1] if match else "?"
        self.server.asked.append(operation)
        data = self.server.answer(operation, query.get("variables") or {})
        self.send(200, json.dumps({"data": data}).encode(), {"Content-Type": "application/json"})

    def do_GET(self) -> None:
        content = self.server.file
        asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            self.send(200, content, {"Accept-Ranges": "bytes"})
            return
        start, end = int(asked[1]), int(asked[2] or len(content) - 1)
        place = {"Content-Range": f"bytes {start}-{end}/{len(content)}"}
        self.send(206, content[start : end + 1], place)

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def convert(folder: Path, url: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own: wandb starts a helper that outlives calls."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB") and k != "HOME"}
    names = ("WANDB_CACHE_DIR", "WANDB_DIR", "WANDB_CONFIG_DIR", "HOME")
    places = dict.fromkeys(names, str(folder))
    settings = {"WANDB_BASE_URL": url, "WANDB_ERROR_REPORTING": "false"}
    code = "from ncpl_data.ingest.cli import main; main()"
    command = [sys.executable, "-c", code, "convert", "wandb", "lab/demo", "--source", "lab"]
    return subprocess.run(
        [*command, "--json"],
        env=kept | places | settings | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_project_is_read_whole_and_without_secrets(server: Server, tmp_path: Path) -> None:
    done = convert(tmp_path, server.url, WANDB_API_KEY="y" * 40)
    assert done.returncode == 0, done.stderr
    documents = json.loads(done.stdout)["documents"]
    assert [d["run_id"] for d in documents] == ["lab/abc123", "lab/def456"]
    curves = {c["metric"]: c for c in documents[0]["curves"]}
    assert curves["train/loss"]["step"] == [100, 200, 300, 400]
    assert curves["train/loss"]["value"] == [6.1023, 5.4417, 5.0981, 4.8732]
    assert curves["eval/loss"]["value"] == [5.4682, 4.9015]
    assert documents[0]["schedule"]["train_tokens"] == 400 * 32 * 512
    assert documents[0]["source_run"] == "gpt-small"
    assert "xxxxxxxx" not in done.stdout
    # lazy=False: one request a page, none for the configuration of each run
    assert server.asked.count("Runs") == 2
    assert "Run" not in server.asked


def test_a_missing_key_is_said_with_the_place_to_get_one(server: Server, tmp_path: Path) -> None:
    done = convert(tmp_path, server.url)
    assert done.returncode == 3
    assert "WANDB_API_KEY" in done.stderr
    assert "even for public projects" in done.stderr
    assert "Traceback" not in done.stderr
