"""One run, shown: values with units and origins, the curve, the document, a picture."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ncpl_data.ingest.cli import main

EXAMPLES = Path(__file__).parents[2] / "schema" / "examples"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("show") / "catalog"
    assert (
        CliRunner().invoke(main, ["submit", str(EXAMPLES), "--catalog", str(folder)]).exit_code == 0
    )
    return folder


def show(catalog: Path, *args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["show", *args, "--catalog", str(catalog)])
    return result.exit_code, result.stdout, result.stderr


def test_what_others_wrote_can_not_rewrite_the_terminal(tmp_path: Path) -> None:
    written = "\x1b[2J\x1b]0;title\x07 \u202egnp\nnext"
    document = {"schema_version": "1.0", "run_id": "lab/a", "source": "lab"}
    document |= {"provenance": {"notes": written}}
    (tmp_path / "run.json").write_text(json.dumps(document))
    folder = ["--catalog", str(tmp_path / "catalog")]
    runner = CliRunner()
    assert runner.invoke(main, ["submit", str(tmp_path / "run.json"), *folder]).exit_code == 0
    for call in (["show", "lab/a"], ["query", "select notes from runs"]):
        text = runner.invoke(main, [*call, *folder], color=True).stdout
        assert r"\u001b[2J\u001b]0;title\u0007 \u202egnp\nnext" in text
    whole = runner.invoke(main, ["show", "lab/a", "--document", *folder], color=True).stdout
    assert json.loads(whole)["provenance"]["notes"] == written


def test_each_value_is_shown_with_its_unit_and_origin(catalog: Path) -> None:
    code, text, _ = show(catalog, "example/extras_and_origins")
    assert code == 0
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    assert "1,000" in lines["schedule/warmup_steps"]
    assert "repaired: was 0.1" in lines["schedule/warmup_steps"]
    assert "derived: batch x sequence x steps" in lines["schedule/train_tokens"]
    assert "tokens" in lines["schedule/train_tokens"]
    assert "declared" in lines["optimizer/weight_decay"]


def test_a_value_without_a_stated_origin_is_declared_by_who_submits_it(catalog: Path) -> None:
    _, text, _ = show(catalog, "example/dense_pretrain")
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    assert lines["optimizer/learning_rate"].endswith("declared")
    assert lines["outcome/final_loss"].endswith("declared")
    assert not lines["run_id"].endswith("declared")
    _, text, _ = show(catalog, "example/dense_pretrain", "--document")
    assert json.loads(text) == json.loads((EXAMPLES / "dense_pretrain.json").read_text())


def test_the_curve_of_the_final_loss_is_drawn(catalog: Path) -> None:
    _, text, _ = show(catalog, "example/dense_pretrain")
    assert "train/loss, 6 points" in text
    assert "step 10,000" in text
    _, text, _ = show(catalog, "example/curve_beside", "--metric", "train/loss")
    assert "train/loss, 4 points" in text


def test_the_document_can_be_submitted_again(catalog: Path, tmp_path: Path) -> None:
    _, text, _ = show(catalog, "example/downstream_evaluations", "--document")
    (tmp_path / "run.json").write_text(text)
    args = ["submit", str(tmp_path / "run.json"), "--catalog", str(catalog), "--json"]
    assert json.loads(CliRunner().invoke(main, args).stdout)["unchanged"] == 1


def test_a_picture_is_written(catalog: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    code, _, _ = show(catalog, "example/curve_beside", "--plot", str(tmp_path / "a.png"))
    assert code == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["example/dnse_pretrain"], "example/dense_pretrain"),
        (["nobody/x"], "list them"),
        (["example/diverged", "--metric", "loss"], "it has: train/loss"),
        (["example/state_space", "--plot", "a.png"], "no curve"),
    ],
)
def test_what_is_not_there_is_one_sentence(args: list[str], words: str, catalog: Path) -> None:
    code, _, message = show(catalog, *args)
    assert code == 1
    assert words in message


def test_the_beginning_of_an_id_lists_the_runs_that_begin_so(catalog: Path) -> None:
    code, out, _ = show(catalog, "example/de")
    assert (code, out.split()) == (0, ["example/decay_branch", "example/dense_pretrain"])
    assert show(catalog, "EXAMPLE/DEN")[1].split() == ["example/dense_pretrain"]
    assert json.loads(show(catalog, "example/de", "--json")[1])["run_ids"][0].endswith("branch")
    code, _, told = show(catalog, "example/zzz")
    assert code == 1
    assert "has no run" in told
