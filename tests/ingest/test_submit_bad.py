"""Every broken document is refused for the right reason, and nothing else changes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ncpl_data.ingest.cli import main
from ncpl_data.ingest.submissions.documents import read_documents
from ncpl_data.ingest.submissions.rejects import Rejects

FIXTURES = Path(__file__).parents[1] / "fixtures"
BAD = FIXTURES / "bad"
EXPECTED = json.loads((FIXTURES / "bad_expected.json").read_text())
EXAMPLES = Path(__file__).parents[2] / "schema" / "examples"


def run(*args: object) -> tuple[int, dict]:
    result = CliRunner().invoke(main, [*map(str, args), "--json"], catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_there_are_at_least_sixty_broken_documents() -> None:
    assert len(EXPECTED) >= 60
    assert {p.name for p in BAD.iterdir() if p.suffix not in (".csv", ".parquet")} == set(EXPECTED)


def test_each_broken_document_is_refused_with_its_place_and_rule(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    assert run("submit", EXAMPLES, "--catalog", catalog)[0] == 0
    before = tree(catalog)
    code, result = run("submit", BAD, "--catalog", catalog)
    assert code == 1
    assert result["added"] == result["updated"] == result["unchanged"] == 0
    assert tree(catalog) == before
    found: dict[str, set[tuple[str, str]]] = {}
    for problem in result["problems"]:
        found.setdefault(Path(problem["file"]).name, set()).add(
            (problem["pointer"], problem["rule"])
        )
    assert set(found) == set(EXPECTED)
    # the pointer is inside the file: the one item of the list has the place "/0"
    inside = {"type_item_is_null.json": "/0"}
    missing = {
        name: found[name]
        for name, (pointer, rule) in EXPECTED.items()
        if (inside.get(name, "") + pointer, rule) not in found[name]
    }
    assert missing == {}


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - {"folder.json"}))
def test_each_broken_document_alone_gives_exit_code_1(name: str, tmp_path: Path) -> None:
    code, result = run("submit", BAD / name, "--catalog", tmp_path / "catalog")
    assert code == 1
    assert result["rejected"] >= 1
    assert not (tmp_path / "catalog").exists()


def test_validate_tells_the_line_of_each_problem() -> None:
    code, result = run("validate", BAD / "unknown_lr.json")
    assert code == 1
    (problem,) = result["problems"]
    text = (BAD / "unknown_lr.json").read_text().splitlines()
    assert '"lr"' in text[problem["line"] - 1]
    assert problem["hint"] == 'Did you mean "learning_rate"?'


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unit_warmup_ratio", "ratio"),
        ("unit_batch_in_tokens", "given in tokens"),
        ("unit_batch_of_one_device", "factor 8"),
        ("unit_tokens_in_millions", "millions"),
        ("unit_min_rate_ratio", "as a ratio of the peak"),
        ("unit_perplexity_as_nats", "perplexity"),
        ("unit_steps_are_tokens", "tokens or samples"),
        ("unknown_status", '"finished"'),
        ("unknown_stage", '"pretrain"'),
        ("unknown_wrong_section", '"/schedule"'),
        ("unknown_top_level", '"/optimizer"'),
        ("unknown_misspelt", '"n_layers"'),
        ("type_suffix", "1500000000"),
        ("type_list_of_rates", "learning_rate_groups"),
        ("id_source_upper_case", '"bad"'),
        ("range_share_percent", "percentage"),
    ],
)
def test_the_likely_mistake_is_named(name: str, words: str) -> None:
    _, result = run("validate", BAD / f"{name}.json")
    hints = " ".join(p["hint"] or "" for p in result["problems"])
    assert words in hints


def test_a_text_of_10_mb_is_refused_quickly_and_briefly(tmp_path: Path) -> None:
    base = {"schema_version": "1.0", "run_id": "bad/long", "source": "bad"}
    big = tmp_path / "big.json"
    big.write_text(json.dumps(base | {"data": {"dataset": "x" * 10_000_000}}))
    key = tmp_path / "key.json"
    key.write_text(json.dumps(base | {"data": {"k" * 10_000_000: 1}}))
    code, result = run("validate", big, key)
    assert code == 1
    assert [p["rule"] for p in result["problems"]] == ["maxLength", "unknown"]
    assert len(json.dumps(result)) < 5_000


def test_refused_documents_are_kept_whole(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    run("submit", BAD, "--catalog", catalog)
    run("submit", BAD, "--catalog", catalog)  # again: nothing is kept twice
    kept = {Path(reject.file).name: reject for reject in Rejects(catalog).all()}
    assert kept["unknown_lr.json"].document == json.loads((BAD / "unknown_lr.json").read_text())
    assert kept["number_nan.json"].text == (BAD / "number_nan.json").read_text()
    latin = next(d for d in read_documents([BAD / "encoding_latin1.json"]))
    assert kept["encoding_latin1.json"].base64 is not None
    assert latin.raw == (BAD / "encoding_latin1.json").read_bytes()
    secret = (Rejects(catalog).folder / f"{kept['secret_in_raw_config.json'].id}.json").read_text()
    assert "not-a-real-key" not in secret
    n_contents = len(list(Rejects(catalog).all()))
    assert n_contents >= 60


def test_a_link_given_by_name_does_not_lead_out_of_its_folder(tmp_path: Path) -> None:
    secret = tmp_path / "secret" / "key.json"
    secret.parent.mkdir()
    secret.write_text('{"password": "x"}')
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "run.json").symlink_to(secret)
    code, result = run("validate", tmp_path / "in" / "run.json")
    assert code == 1
    assert result["problems"][0]["rule"] == "symlink"


def test_a_path_that_does_not_exist_is_one_sentence() -> None:
    result = CliRunner().invoke(main, ["validate", "nowhere.json"])
    assert result.exit_code == 1
    assert "nowhere.json does not exist" in result.stderr
    assert "Traceback" not in result.stderr
