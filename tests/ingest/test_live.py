"""Live clients against loopback servers. The pages are shaped as the services answer; the runs in
them are real ones, from the fixtures of marin and losscast."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
from click.testing import Result

from ncpl_data.catalog.errors import SourceUnreachableError
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.cli import main
from ncpl_data.ingest.live.record import PROJECTS, smoothed_loss
from ncpl_data.ingest.live.transport import Transport
from ncpl_data.ingest.sources import losscast, ncpl_logs, overtraining
from ncpl_data.ingest.studies import losscast as bench
from ncpl_data.ingest.studies import marin as study
from ncpl_data.ingest.studies import wandb_runs
from ncpl_data.ingest.studies.recover_marin import write_table

Runner = Callable[..., Result]
C4 = study.METRIC
SMOOTHED = "train/smooth_loss"


@dataclass
class Service:
    """A loopback server: what it answers, and what it was asked."""

    answer: Callable[[str, str, Any], tuple[int, dict[str, str], bytes]] = lambda *_: (404, {}, b"")
    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


@pytest.fixture
def service() -> Iterator[Service]:
    state = Service()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            n_bytes = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(n_bytes)) if n_bytes else None
            state.asked.append((self.command, self.path))
            state.keys.append(self.headers.get("Authorization"))
            status, headers, content = state.answer(self.command, self.path, body)
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer  # noqa: N815 - the names are the standard library's

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield state
        server.shutdown()
        thread.join()


def as_json(value: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


def marin_nodes(fixtures: Path) -> list[dict[str, Any]]:
    """Real runs of the study in the shape of the service's answers."""
    rows = [json.loads(t) for t in (fixtures / "marin" / "runs.jsonl").read_text().splitlines()]
    curves = (fixtures / "marin" / "eval_curves.jsonl").read_text().splitlines()
    points = {json.loads(c)["eval_paloma_c4_en_loss"][-1]: json.loads(c) for c in curves}
    nodes = []
    for row in rows:
        curve = points.get(row["loss"])
        steps, values = (
            ([], []) if curve is None else (curve["step"], curve["eval_paloma_c4_en_loss"])
        )
        if curve is None and isinstance(row["loss"], float):
            steps, values = [row["steps"] - 1], [row["loss"]]
        config = {key: v for key, v in row["config"].items() if key != "train_batch_size"}
        trainer = {"train_batch_size": row["batch_size"], "num_train_steps": row["steps"]}
        summary = {C4: row["loss"], "lm_eval/copa/acc": 0.65, "lm_eval/averages/acc": 0.5}
        nodes.append(
            {
                "name": row["wandb_id"],
                "displayName": row["wandb_id"],
                "state": "finished",
                "tags": ["llama", row["size"]],
                "config": json.dumps(
                    {
                        "_wandb": {"value": {"cli_version": "0"}},
                        "optimizer": {"desc": None, "value": config},
                        "trainer": {"desc": None, "value": trainer},
                        "api_key": {"desc": None, "value": "a" * 40},
                    }
                ),
                "summaryMetrics": json.dumps(summary),
                "historyKeys": {"keys": {C4: {}, "train/loss": {}}},
                "history": [{"_step": s, C4: v} for s, v in zip(steps, values, strict=True)],
            }
        )
    return nodes


def graphql(nodes: list[dict[str, Any]], *, per_page: int = 3) -> Callable[..., Any]:
    """Answer as a project with these runs."""

    def answer(_: str, path: str, body: Any) -> tuple[int, dict[str, str], bytes]:
        assert path == "/graphql"
        variables = body["variables"]
        if "run" in variables:
            (node,) = (n for n in nodes if n["name"] == variables["run"])
            spec = json.loads(variables["specs"][0])
            low, high = spec.get("minStep", 0), spec.get("maxStep", 10**12)
            points = [
                {k: p[k] for k in spec["keys"]}
                for p in node["history"]
                if low <= p["_step"] < high and all(k in p for k in spec["keys"])
            ]
            if len(points) > spec["samples"]:  # the service gives a sample, and does not say so
                points = points[:: -(-len(points) // spec["samples"])]
            return as_json({"data": {"project": {"run": {"sampledHistory": [points]}}}})
        start = int(variables["after"] or 0)
        shown = nodes[start : start + per_page]
        page = {
            "edges": [{"node": {k: v for k, v in n.items() if k != "history"}} for n in shown],
            "pageInfo": {
                "endCursor": str(start + per_page),
                "hasNextPage": start + per_page < len(nodes),
            },
        }
        return as_json({"data": {"project": {"runs": page}}})

    return answer


def test_marin_is_recorded_page_by_page_and_ingested(
    service: Service, fixtures: Path, tmp_path: Path, run_command: Runner
) -> None:
    nodes = marin_nodes(fixtures)
    service.answer = graphql(nodes)
    folder = tmp_path / "rec"
    done = run_command(main, "record", "marin", "--out", folder, "--url", service.url, "--json")
    assert json.loads(done.stdout)["runs"] == len(nodes) == 8
    lines = [json.loads(t) for t in (folder / wandb_runs.FILE).read_text().splitlines()]
    assert [line["name"] for line in lines] == [node["name"] for node in nodes]
    assert "a" * 40 not in (folder / wandb_runs.FILE).read_text()
    catalog = ("--catalog", tmp_path / "c")
    out = run_command(main, "ingest", "marin", "--from", folder, *catalog)
    assert "marin (wandb): 8 added, 0 updated, 0 unchanged, 0 rejected" in out.stdout
    again = run_command(main, "ingest", "marin", "--from", folder, *catalog)
    assert "0 added, 0 updated, 8 unchanged" in again.stdout


def test_a_live_run_says_what_the_result_files_say(
    service: Service, fixtures: Path, tmp_path: Path
) -> None:
    service.answer = graphql(marin_nodes(fixtures))
    PROJECTS["marin"].record(tmp_path, service.url, None)
    live = {
        str(run.source_run): run
        for run in wandb_runs.read_marin({wandb_runs.FILE: tmp_path / wandb_runs.FILE})
        if isinstance(run, Run)
    }
    run = live["sweep-130m-2B-muon02b4fclr0.016-wd0.1-minlr0-warmup0-b10.8-b20.9-9c2fe9"]
    assert (run.status, run.final_loss) == ("finished", 3.463632106781006)
    assert (run.schedule, run.decay_steps, run.momentum) == ("wsd", 4096, 0.95)
    assert run.extra is not None
    assert run.extra["marin.digest"] == "exact"
    assert [e.task for e in run.evals] == ["copa"]
    nan = live["sweep-300m-6B-marsb65964lr0.008-wd0.1-minlr0-warmup1000-b10.98-b-e8240b"]
    assert (nan.status, nan.final_loss) == ("diverged", None)
    whole = live["sweep-130m-2B-mars692316lr0.016-wd0.1-minlr0-warmup2000-b10.9-b2-93e276"]
    assert whole.curves[0].step.tolist() == [0, 1000, 2000, 3000, 4000, 5000, 5119]


def change(nodes: list[dict[str, Any]], **values: Any) -> list[dict[str, Any]]:
    return [{**nodes[0], **values}]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"displayName": "someone-elses-run"}, "name_of_another_study"),
        ({"config": "{}"}, "no_configuration"),
        ({"state": "running"}, "still_running"),
    ],
)
def test_runs_that_are_none_are_skipped_with_the_reason(
    service: Service, fixtures: Path, tmp_path: Path, values: dict[str, Any], reason: str
) -> None:
    service.answer = graphql(change(marin_nodes(fixtures), **values))
    PROJECTS["marin"].record(tmp_path, service.url, None)
    (item,) = wandb_runs.read_marin({wandb_runs.FILE: tmp_path / wandb_runs.FILE})
    assert isinstance(item, Skipped)
    assert item.reason == reason


def test_a_run_whose_history_stops_early_is_truncated(
    service: Service, fixtures: Path, tmp_path: Path
) -> None:
    (node,) = change(
        marin_nodes(fixtures), history=[{"_step": 1000, C4: 4.2}, {"_step": 2000, C4: 4.0}]
    )
    node["summaryMetrics"] = json.dumps({C4: 4.0})
    service.answer = graphql([node])
    PROJECTS["marin"].record(tmp_path, service.url, None)
    (run,) = wandb_runs.read_marin({wandb_runs.FILE: tmp_path / wandb_runs.FILE})
    assert isinstance(run, Run)
    assert run.status == "truncated"


def steplaw_nodes(fixtures: Path) -> list[dict[str, Any]]:
    content = (fixtures / "losscast" / "runs.jsonl").read_bytes()
    record = next(r for r in bench.read_records(content) if r.study == "steplaw")
    points = zip(record.step.tolist(), record.value.tolist(), strict=True)
    return [
        {
            "name": "abc123",
            "displayName": record.native,
            "state": "finished",
            "tags": [],
            "config": None,
            "summaryMetrics": "{}",
            "historyKeys": {"keys": {"loss": {}, SMOOTHED: {}}},
            "history": [{"_step": step, SMOOTHED: value} for step, value in points],
        }
    ]


def test_step_law_is_read_by_name_and_smoothed_curve(
    service: Service, fixtures: Path, tmp_path: Path, run_command: Runner
) -> None:
    service.answer = graphql(steplaw_nodes(fixtures))
    folder = tmp_path / "rec"
    run_command(main, "record", "steplaw", "--out", folder, "--url", service.url)
    (run,) = wandb_runs.read_steplaw({wandb_runs.FILE: folder / wandb_runs.FILE})
    assert isinstance(run, Run)
    assert run.run_id.startswith("steplaw/dense_h")
    assert run.status == "finished"
    assert run.final_loss == run.curves[0].value[-1]
    out = run_command(main, "ingest", "steplaw", "--from", folder, "--catalog", tmp_path / "c")
    assert "steplaw (wandb): 1 added" in out.stdout


def many_points(n_points: int, *, said: int | None) -> dict[str, Any]:
    """A made run with a point every second step; it tests the paging, not data."""
    history = [{"_step": 2 * i, SMOOTHED: 9.0 - i / n_points} for i in range(n_points)]
    counts = {} if said is None else {"typeCounts": [{"type": "number", "count": said}]}
    name = "step2v2_0618_h1024_ffnh9552_numh16_numl8_lr3.453e-04_bs32_ti24000_mlr1.00e-05"
    return {
        "name": "many",
        "displayName": name,
        "state": "finished",
        "tags": [],
        "config": json.dumps({"note": {"value": "key hf_" + "a" * 30}}),
        "summaryMetrics": json.dumps({"hub_token": "hf_" + "b" * 30}),
        "historyKeys": {"keys": {SMOOTHED: counts}, "lastStep": 2 * n_points - 2},
        "history": history,
    }


@pytest.mark.parametrize("said", [12_000, None])
def test_a_history_longer_than_one_answer_is_read_window_by_window(
    service: Service, tmp_path: Path, said: int | None
) -> None:
    service.answer = graphql([many_points(12_000, said=said)])
    PROJECTS["steplaw"].record(tmp_path, service.url, None)
    text = (tmp_path / wandb_runs.FILE).read_text()
    assert "hf_" not in text  # neither in the configuration nor in the summary
    row = json.loads(text)
    assert [p["_step"] for p in row["history"]] == list(range(0, 24_000, 2))
    (run,) = wandb_runs.read_steplaw({wandb_runs.FILE: tmp_path / wandb_runs.FILE})
    assert isinstance(run, Run)
    assert run.flags is None
    assert len(run.curves[0].step) == 12_000


def test_points_the_service_keeps_back_are_flagged(service: Service, tmp_path: Path) -> None:
    service.answer = graphql([many_points(300, said=400)])
    PROJECTS["steplaw"].record(tmp_path, service.url, None)
    (run,) = wandb_runs.read_steplaw({wandb_runs.FILE: tmp_path / wandb_runs.FILE})
    assert isinstance(run, Run)
    assert run.flags == ("curve_sampled",)


def test_the_smoothed_loss_is_the_shortest_key_that_says_so() -> None:
    assert (
        smoothed_loss(["loss", "train/smooth_loss", "train/smooth_loss_ema"]) == "train/smooth_loss"
    )
    assert smoothed_loss(["loss", "lr"]) is None


def test_refusals_are_retried_and_the_wait_is_the_servers(
    service: Service, fixtures: Path, tmp_path: Path
) -> None:
    inner, refused, waits = graphql(marin_nodes(fixtures)), [429, 503], []

    def answer(method: str, path: str, body: Any) -> tuple[int, dict[str, str], bytes]:
        if refused:
            return refused.pop(0), {"Retry-After": "7"}, b""
        return inner(method, path, body)

    service.answer = answer
    with Transport(service.url, service="W&B", wait=waits.append) as transport:
        answered = transport.post_json("/graphql", {"variables": {"after": None}})
    assert answered["data"]["project"]["runs"]["edges"]
    assert waits == [7.0, 7.0]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((401, {}, b""), "status 401.*A key may be needed"),
        ((200, {}, b"<html>"), "did not answer with JSON"),
        (as_json({"errors": [{"message": "permission denied"}]}), "permission denied"),
        (as_json({"data": {"project": None}}), "W&B has no marin-community/optimizer-scaling"),
    ],
)
def test_a_refusing_server_is_exit_3_and_leaves_no_file(
    service: Service,
    tmp_path: Path,
    run_command: Runner,
    answer: tuple[int, dict[str, str], bytes],
    message: str,
) -> None:
    service.answer = lambda *_: answer
    folder = tmp_path / "rec"
    done = run_command(main, "record", "marin", "--out", folder, "--url", service.url)
    assert done.exit_code == 3
    assert list(folder.iterdir()) == []
    with pytest.raises(SourceUnreachableError, match=message):
        PROJECTS["marin"].record(tmp_path / "again", service.url, None)


def test_no_server_is_exit_3(tmp_path: Path, run_command: Runner) -> None:
    args = ("record", "marin", "--out", tmp_path / "rec", "--url", "http://127.0.0.1:9")
    done = run_command(main, *args)
    assert done.exit_code == 3
    assert "could not be read" in done.stderr


def test_an_unknown_project_is_named(tmp_path: Path, run_command: Runner) -> None:
    done = run_command(main, "record", "novelty", "--out", tmp_path)
    assert done.exit_code == 1
    assert (
        "known: losscast, marin, marin_speedruns, ncpl_logs, overtraining, steplaw" in done.stderr
    )


def test_the_key_is_sent_and_never_written(
    service: Service, fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "not-a-real-key")
    service.answer = graphql(marin_nodes(fixtures))
    PROJECTS["marin"].record(tmp_path, service.url, None)
    assert all(key and key.startswith("Basic ") for key in service.keys)
    assert "not-a-real-key" not in (tmp_path / wandb_runs.FILE).read_text()


def test_a_recording_that_was_cut_off_goes_on_where_it_stopped(
    service: Service, fixtures: Path, tmp_path: Path
) -> None:
    nodes = marin_nodes(fixtures)
    inner, histories = graphql(nodes), []

    def answer(method: str, path: str, body: Any) -> tuple[int, dict[str, str], bytes]:
        if "run" in body["variables"]:
            histories.append(body["variables"]["run"])
            if len(histories) == 4:
                return 403, {}, b""
        return inner(method, path, body)

    service.answer = answer
    with pytest.raises(SourceUnreachableError, match="status 403"):
        PROJECTS["marin"].record(tmp_path, service.url, None)
    assert not (tmp_path / wandb_runs.FILE).exists()
    (part,) = tmp_path.iterdir()
    part.write_text(part.read_text() + '{"name": "cut of')  # a killed writer leaves half a line
    assert PROJECTS["marin"].record(tmp_path, service.url, None).n_runs == len(nodes)
    assert histories[:3] + histories[4:] == [node["name"] for node in nodes]
    lines = [json.loads(t) for t in (tmp_path / wandb_runs.FILE).read_text().splitlines()]
    assert [line["name"] for line in lines] == [node["name"] for node in nodes]
    assert [path.name for path in tmp_path.iterdir()] == [wandb_runs.FILE]


def test_limit_bounds_the_runs(service: Service, fixtures: Path, tmp_path: Path) -> None:
    service.answer = graphql(marin_nodes(fixtures))
    assert PROJECTS["marin"].record(tmp_path, service.url, 2).n_runs == 2


# The repository of LossCast-Bench.


def packed_files(files: dict[str, bytes]) -> bytes:
    """Return a compressed archive of files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def archive(fixtures: Path, extra: dict[str, bytes]) -> bytes:
    """The real excerpt as the repository keeps it: two files a run, beside others."""
    files = dict(extra)
    for text in (fixtures / "losscast" / "runs.jsonl").read_text("utf-8").splitlines():
        row = json.loads(text)
        base = f"losscast-bench-7ab8291c/data/{row['split']}/{row['run_id']}"
        files[f"{base}/config.json"] = json.dumps(row["config"]).encode()
        files[f"{base}/losses.json"] = json.dumps(row["losses"]).encode()
        files[f"{base}/train.log"] = b"step 0"
    return packed_files(files)


def test_the_repository_is_recorded_without_unpacking_it(
    service: Service, fixtures: Path, tmp_path: Path, run_command: Runner
) -> None:
    outside = {"../outside.json": b"{}", "losscast-bench-7ab8291c/data/train/x/config.json": b"{}"}
    content = archive(fixtures, outside)
    service.answer = lambda *_: (200, {}, content)
    folder = tmp_path / "rec"
    done = run_command(main, "record", "losscast", "--out", folder, "--url", service.url, "--json")
    assert json.loads(done.stdout)["runs"] == 10
    assert service.asked == [("GET", "/dangxingyu/losscast-bench/tar.gz/7ab8291c")]
    assert not (tmp_path / "outside.json").exists()
    catalog = ("--catalog", tmp_path / "c")
    out = run_command(main, "ingest", "losscast", "--from", folder, *catalog)
    assert "losscast (recorded): 10 added, 0 updated, 0 unchanged, 0 rejected" in out.stdout


def test_hidden_fields_of_a_new_run_are_searched_when_it_is_read(
    fixtures: Path, tmp_path: Path
) -> None:
    text = (fixtures / "losscast" / "runs.jsonl").read_bytes()
    (tmp_path / bench.RECORDED_FILE).write_bytes(text)
    empty = tmp_path / losscast.HIDDEN.name
    write_table([], empty)
    paths = {bench.RECORDED_FILE: tmp_path / bench.RECORDED_FILE, empty.name: empty}
    found = [run for run in losscast.read_recorded(paths) if isinstance(run, Run)]
    (muon,) = (run for run in found if run.optimizer == "muon")
    assert muon.momentum == 0.95
    zipped = tmp_path / f"{bench.RUNS_FILE}.gz"
    zipped.write_bytes(gzip.compress(text))
    lines = list(losscast.read_lines({zipped.name: zipped, empty.name: empty}))
    assert [r.content_hash() for r in lines if isinstance(r, Run)] == [
        r.content_hash() for r in found
    ]


@pytest.mark.parametrize("cut", [0, 100])
def test_a_cut_archive_is_refused(
    service: Service, fixtures: Path, tmp_path: Path, run_command: Runner, cut: int
) -> None:
    content = archive(fixtures, {})[:cut]
    service.answer = lambda *_: (200, {}, content)
    done = run_command(main, "record", "losscast", "--out", tmp_path, "--url", service.url)
    assert done.exit_code == 3
    assert "cut off or altered" in done.stderr
    assert list(tmp_path.glob("*.jsonl")) == []


# The files of the over-training testbed.


def overtraining_archive(fixtures: Path, extra: dict[str, bytes]) -> bytes:
    """The real excerpt in the archive of its repository, beside other files."""
    root, files = fixtures / "overtraining", dict(extra)
    for path in root.rglob("*.json"):
        files[f"scaling-a003c49/exp_data/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    return packed_files({**files, "scaling-a003c49/exp_data/grid.json": b"{}"})


def test_tasks_of_the_testbed_are_recorded_and_read(
    service: Service, fixtures: Path, tmp_path: Path, run_command: Runner
) -> None:
    outside = {"scaling-a003c49/exp_data/evals/../../../outside.json": b"{}"}
    content = overtraining_archive(fixtures, outside)
    service.answer = lambda *_: (200, {}, content)
    folder = tmp_path / "rec"
    done = run_command(
        main, "record", "overtraining", "--out", folder, "--url", service.url, "--json"
    )
    assert json.loads(done.stdout)["revision"] == overtraining.REVISION
    assert service.asked == [("GET", f"/mlfoundations/scaling/tar.gz/{overtraining.REVISION}")]
    written = {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()}
    root = fixtures / "overtraining"
    assert written == {p.relative_to(root) for p in root.rglob("*.json")}
    assert not list(tmp_path.rglob("outside.json"))
    paths = {p.relative_to(folder).as_posix(): p for p in (folder / "models").iterdir()}
    runs = list(overtraining.SOURCE.origins[1].read(paths))
    assert [len(run.evals) for run in runs if isinstance(run, Run)] == [46, 46, 46]


def test_a_cut_archive_writes_no_file(service: Service, fixtures: Path, tmp_path: Path) -> None:
    content = overtraining_archive(fixtures, {})[:4000]
    service.answer = lambda *_: (200, {}, content)
    with pytest.raises(SourceUnreachableError, match="cut off or altered"):
        PROJECTS["overtraining"].record(tmp_path / "rec", service.url, None)
    assert not (tmp_path / "rec").exists()


# The data set on the hub.


def entries(fixtures: Path) -> dict[str, bytes]:
    """Real runs in the form the reference code reads."""
    content = (fixtures / "losscast" / "runs.jsonl").read_bytes()
    found: dict[str, list[dict[str, Any]]] = {"marin": [], "steplaw": []}
    names = {
        "marin": ("c4en_steps", "c4en_losses"),
        "steplaw": ("smoothed_loss_steps", "smoothed_loss"),
    }
    for record in bench.read_records(content):
        if record.study not in found:
            continue
        steps, losses = names[record.study]
        optimizer = record.config["optimizer"]
        found[record.study].append(
            {
                "source": record.study,
                "name": record.native,
                "conf": {
                    "model size": 134.2,
                    "data size": 2.68,
                    "learning rate": optimizer["lr"],
                    "weight decay": optimizer["weight_decay"],
                    "batch size": 128,
                    "optimizer": optimizer["name"],
                },
                "max_step": int(record.step[-1]) + 1,
                steps: record.step.tolist(),
                losses: record.value.tolist(),
                "final_loss": float(record.value[-1]),
            }
        )
    return {f"{study}_processed_data.json": json.dumps(v).encode() for study, v in found.items()}


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def hub(files: dict[str, bytes], url: str) -> Callable[..., Any]:
    """Answer as a repository with these files, one a page."""
    names = sorted(files)

    def answer(_: str, path: str, __: Any) -> tuple[int, dict[str, str], bytes]:
        parts = urlparse(path)
        base = f"/api/datasets/{ncpl_logs.REPOSITORY}"
        if parts.path == f"{base}/revision/main":
            return as_json({"sha": COMMIT})
        if parts.path == f"{base}/tree/{COMMIT}":
            at = int(parse_qs(parts.query).get("cursor", ["0"])[0])
            name = names[at]
            digest = hashlib.sha256(files[name]).hexdigest()
            lfs = {"oid": digest, "size": len(files[name])}
            entry = {"type": "file", "path": name, "size": len(files[name]), "lfs": lfs}
            status, headers, content = as_json([entry, {"type": "directory", "path": "x"}])
            if at + 1 < len(names):
                headers["Link"] = f'<{url}{parts.path}?recursive=true&cursor={at + 1}>; rel="next"'
            return status, headers, content
        prefix = f"/datasets/{ncpl_logs.REPOSITORY}/resolve/{COMMIT}/"
        if path.startswith(prefix) and path.removeprefix(prefix) in files:
            return 200, {}, files[path.removeprefix(prefix)]
        return 404, {}, b""

    return answer


def test_the_data_set_is_recorded_at_a_commit_and_ingested(
    service: Service, fixtures: Path, tmp_path: Path, run_command: Runner
) -> None:
    service.answer = hub({**entries(fixtures), "README.md": b"# card"}, service.url)
    folder = tmp_path / "rec"
    done = run_command(main, "record", "ncpl_logs", "--out", folder, "--url", service.url, "--json")
    assert json.loads(done.stdout)["revision"] == COMMIT
    assert {p.name for p in folder.iterdir()} == {*entries(fixtures), "REVISION"}
    out = run_command(main, "ingest", "ncpl_logs", "--from", folder, "--catalog", tmp_path / "c")
    assert "ncpl_logs (hub): 9 added, 0 updated, 0 unchanged, 0 rejected" in out.stdout


def test_an_entry_links_its_owner_and_keeps_its_curve(fixtures: Path, tmp_path: Path) -> None:
    for name, content in entries(fixtures).items():
        (tmp_path / name).write_bytes(content)
    paths = {name: tmp_path / name for name in entries(fixtures)}
    runs = [run for run in ncpl_logs.read(paths) if isinstance(run, Run)]
    assert owners_of(runs) == {"marin": 8, "steplaw": 1}
    for run in runs:
        assert run.final_loss == run.curves[0].value[-1]
        assert run.origins is not None
        own = {"run_id", "source", "schema_version", "origins", "raw_config", "flags", "is_copy"}
        own |= {"citation", "url", "file", "record", "same_as"}
        said = {column for column, value in run.row().items() if value is not None} - own
        assert said <= set(run.origins)


def owners_of(runs: list[Run]) -> dict[str, int]:
    found: dict[str, int] = {}
    for run in runs:
        assert run.same_as is not None
        owner = run.same_as[0].split("/")[0]
        found[owner] = found.get(owner, 0) + 1
    return found


def test_an_altered_file_is_refused(
    service: Service, fixtures: Path, tmp_path: Path, run_command: Runner
) -> None:
    files = entries(fixtures)
    inner = hub(files, service.url)

    def answer(method: str, path: str, body: Any) -> tuple[int, dict[str, str], bytes]:
        status, headers, content = inner(method, path, body)
        return status, headers, content.replace(b"3", b"4") if "/resolve/" in path else content

    service.answer = answer
    done = run_command(main, "record", "ncpl_logs", "--out", tmp_path, "--url", service.url)
    assert done.exit_code == 3
    assert "the hub lists" in done.stderr


@pytest.mark.parametrize(
    ("link", "path", "message"),
    [
        ("http://example.invalid/next", "a.json", "another host"),
        (None, "../../outside.json", "outside its repository"),
    ],
)
def test_a_listing_can_not_lead_elsewhere(
    service: Service, tmp_path: Path, link: str | None, path: str, message: str
) -> None:
    def answer(_: str, asked: str, __: Any) -> tuple[int, dict[str, str], bytes]:
        if "/revision/" in asked:
            return as_json({"sha": COMMIT})
        status, headers, content = as_json([{"type": "file", "path": path, "size": 2}])
        return status, headers | ({"Link": f'<{link}>; rel="next"'} if link else {}), content

    service.answer = answer
    with pytest.raises(SourceUnreachableError, match=message):
        PROJECTS["ncpl_logs"].record(tmp_path / "rec", service.url, None)
    assert not (tmp_path / "outside.json").exists()


def test_a_live_source_is_recorded_first(tmp_path: Path, run_command: Runner) -> None:
    done = run_command(main, "ingest", "ncpl_logs", "--catalog", tmp_path / "c")
    assert done.exit_code == 3
    assert "ncpl-data record ncpl_logs --out FOLDER" in done.stderr
