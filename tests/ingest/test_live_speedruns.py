"""Marin's speedruns from a loopback server in the form of GitHub's: listed, fetched, ingested."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import Result

from ncpl_data.catalog.errors import SourceUnreachableError
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import packed_lines
from ncpl_data.ingest.cli import main
from ncpl_data.ingest.live import speedruns
from ncpl_data.ingest.live.record import PROJECTS, SPEEDRUNS_FILE
from ncpl_data.ingest.sources.marin_speedruns import FILE, SOURCE

TREE = f"/repos/{speedruns.REPOSITORY}/git/trees/{speedruns.REVISION}?recursive=1"
PERSON = {"name": "A Person", "affiliation": "A University"}


def results(fixtures: Path) -> dict[str, bytes]:
    """The fixture's real results as the repository keeps them, one file a run, with an author."""
    found = {}
    for row in packed_lines(fixtures / "marin_speedruns" / FILE, "marin_speedruns"):
        info = row["run_info"] | {"author": PERSON, "wandb_run_link": "https://wandb.ai/a-person"}
        found[row["path"]] = json.dumps({"runs": [{"run_info": info}]}).encode()
    return found


@pytest.fixture
def served(fixtures: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The address of a server and what it answers, by path."""
    files = results(fixtures) | {"README.md": b"# Marin"}
    sha1 = {
        path: hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        for path, content in files.items()
    }
    tree: list[dict[str, Any]] = [{"path": "experiments", "type": "tree", "sha": "0"}]
    tree += [{"path": path, "type": "blob", "sha": sha1[path]} for path in files]
    answers = {TREE: json.dumps({"tree": tree, "truncated": False}).encode()}
    answers |= {f"/{speedruns.REPOSITORY}/{speedruns.REVISION}/{p}": c for p, c in files.items()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = answers.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", answers
        server.shutdown()
        thread.join()


def test_a_recording_gives_the_runs_of_the_shipped_table(
    served: tuple[str, dict[str, bytes]],
    fixtures: Path,
    tmp_path: Path,
    run_command: Callable[..., Result],
) -> None:
    """Same runs and values, from one file a run; no person is written."""
    url, _ = served
    folder = tmp_path / "rec"
    done = run_command(
        main, "record", "marin_speedruns", "--out", folder, "--url", url, "--json"
    ).stdout
    assert json.loads(done)["revision"] == speedruns.REVISION
    text = (folder / SPEEDRUNS_FILE).read_text("utf-8")
    assert "Person" not in text
    assert "wandb.ai" not in text
    shipped = list(SOURCE.origins[0].read({FILE: fixtures / "marin_speedruns" / FILE}))
    recorded = list(SOURCE.origins[1].read({SPEEDRUNS_FILE: folder / SPEEDRUNS_FILE}))
    values = [
        {r.run_id: (r.final_loss, r.learning_rate, r.optimizer) for r in rs if isinstance(r, Run)}
        for rs in (shipped, recorded)
    ]
    assert values[0] == values[1]
    told = run_command(
        main, "ingest", "marin_speedruns", "--from", folder, "--catalog", tmp_path / "c", "--json"
    )
    assert told.exit_code == 0


def test_a_file_that_is_not_the_listed_one_leaves_no_recording(
    served: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    url, answers = served
    path = next(p for p in answers if p.endswith("speedrun_results.json"))
    answers[path] = answers[path].replace(b"bpb", b"bpc")
    with pytest.raises(SourceUnreachableError, match="Git's hash of what arrived"):
        PROJECTS["marin_speedruns"].record(tmp_path / "rec", url, None)
    assert not (tmp_path / "rec" / SPEEDRUNS_FILE).exists()


def test_a_tree_that_is_cut_is_refused(
    served: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    url, answers = served
    answers[TREE] = json.dumps({"tree": [], "truncated": True}).encode()
    with pytest.raises(SourceUnreachableError, match="did not list all files"):
        PROJECTS["marin_speedruns"].record(tmp_path / "rec", url, None)


def test_a_model_of_another_kind_is_skipped_with_what_it_lacks(
    served: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    """A newer name of the sequence length is read; a model without heads is not guessed at."""
    url, _ = served
    PROJECTS["marin_speedruns"].record(tmp_path, url, 2)
    path = tmp_path / SPEEDRUNS_FILE
    first, second = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    model = first["run_info"]["model_config"]
    model["max_seq_len"] = model.pop("seq_len")
    del second["run_info"]["model_config"]["num_heads"]
    path.write_text("".join(json.dumps(row) + "\n" for row in (first, second)), "utf-8")
    run, skipped = SOURCE.origins[1].read({SPEEDRUNS_FILE: path})
    assert isinstance(run, Run)
    assert run.sequence_length == 4096
    assert isinstance(skipped, Skipped)
    assert skipped.reason == "no num_heads"
