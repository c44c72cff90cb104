"""What a contribution will do is said where it is handed in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ncpl.bundles import load
from ncpl.commands.told import answers
from ncpl.data import indistinct as trained
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.cli import main
from ncpl_data.ingest.pipeline import ingest
from ncpl_data.ingest.sources import SOURCES
from ncpl_data.ingest.submissions.predicted import Compared, Distance
from ncpl_data.schema.indistinct import indistinct

CASES = Path(__file__).parents[1] / "fixtures" / "contributions"


def call(*args: object, plain: bool = False) -> Any:
    more = [] if plain else ["--json"]
    result = CliRunner().invoke(main, [*map(str, args), *more], catch_exceptions=False)
    return result.stdout if plain else json.loads(result.stdout)


def test_six_own_runs_are_accepted_with_what_they_will_be_learned_for(tmp_path: Path) -> None:
    """cases/predict/02: an own set-up, with a published source in the catalog."""
    ingest(SOURCES["overtraining"], Catalog(tmp_path / "c"), offline=True)
    file = CASES / "own_six_runs.jsonl"
    for command in (("validate", file), ("submit", file, "--catalog", tmp_path / "c")):
        found = call(*command)["outlook"]
        assert (found["learned"], found["not_learned"]) == (6, {})
        assert found["families"] == {"mylab|validation/mine|mine|mine|nats_per_token": 6}
        assert found["lacking"] == {"n_layers and d_model": 6, "vocab_size": 6}
    told = call("submit", file, "--catalog", tmp_path / "c", plain=True)
    assert "6 of 6 runs will be learned from" in told
    assert "none of the catalog shares its data, tokenizer or metric" in told


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"stage": "sft"}, "its stage is sft"),
        ({"initial_weights": "EleutherAI/pythia-160m"}, "it starts from weights of elsewhere"),
        ({"modality": "protein"}, "its tokens are protein"),
        ({"model": {}}, "it lacks params_non_embedding, or n_layers and d_model"),
    ],
)
def test_a_run_that_is_not_learned_from_says_why(
    values: dict[str, Any], why: str, tmp_path: Path
) -> None:
    document = json.loads((CASES / "own_six_runs.jsonl").read_text().splitlines()[0])
    (tmp_path / "a.json").write_text(json.dumps(document | values))
    found = call("validate", tmp_path / "a.json")["outlook"]
    assert found["learned"] == 0
    assert [reason.startswith(why) for reason in found["not_learned"]] == [True]


def test_one_configuration_in_two_precisions_is_told_with_the_field_that_differs(
    tmp_path: Path,
) -> None:
    """cases/submit/06: a later fit would learn their mean."""
    place = ("--catalog", tmp_path / "c")
    for command in (("validate",), ("submit", *place)):
        advice, sentence = call(*command, CASES / "low_bits.jsonl")["outlook"]["indistinct"]
        assert "model.weight_bits" in advice
        assert "precision (w16a16 < w4a4 < w2a2 < w1a1)" in sentence
    (checked,) = call("check", *place)["indistinct"]
    assert checked == sentence
    taken = Path(call("snapshot", "--split", "source:lowbits", *place)["path"])
    assert trained.told(taken) == []  # all are held out
    taken = Path(call("snapshot", "--split", "group-hash", "--seed", 1, *place)["path"])
    (told,) = trained.told(taken)
    assert told.startswith("lowbits: 1 configurations have losses far apart")
    assert "precision" in told


def test_stated_bits_tell_the_configurations_apart(tmp_path: Path) -> None:
    documents = [json.loads(line) for line in (CASES / "low_bits.jsonl").read_text().splitlines()]
    for document in documents:
        bits = document["system"]["precision"].removeprefix("w").split("a")
        document["model"] |= dict(
            zip(("weight_bits", "activation_bits"), map(float, bits), strict=True)
        )
    file = tmp_path / "bits.jsonl"
    file.write_text("".join(json.dumps(d) + "\n" for d in documents))
    assert call("validate", file)["outlook"]["indistinct"] == []


@pytest.mark.parametrize(
    ("losses", "kinds", "n", "fields"),
    [
        ([3.0, 3.01], "ab", 0, None),  # two seeds
        ([3.0, 3.2], "ab", 1, ("kind",)),
        ([3.0, 3.2], "aa", 1, ()),
        ([3.0, 3.01, 3.2, 3.21], "aabb", 1, ("kind",)),
        ([3.0, 3.2, 3.01, 3.21], "aabb", 1, ()),  # it tells nothing
        ([3.0, 3.1, 3.2], "abc", 1, ("kind",)),
    ],
)
def test_the_field_that_explains_the_spread_is_named(
    losses: list[float], kinds: str, n: int, fields: tuple[str, ...] | None
) -> None:
    rows = [
        {"run_id": f"a/{i}", "final_loss": loss, "size": 1, "raw_config": json.dumps({"kind": k})}
        for i, (loss, k) in enumerate(zip(losses, kinds, strict=True))
    ]
    found = indistinct(rows, ["size"], [])
    assert len(found) == n
    assert all(one.fields == tuple(f"raw_config/{f}" for f in fields or ()) for one in found)


def test_a_moved_loss_lies_many_half_widths_from_the_shipped_model() -> None:
    rounded = json.loads((CASES / "published_copy_rounded.json").read_text())
    run = {
        "run_id": "labx/a", **{k: rounded["model"][k] for k in ("params_non_embedding",)},
        "optimizer": "muon", "learning_rate": 0.032, "weight_decay": 0.1,
        **{k: v for k, v in rounded["schedule"].items() if k != "shape"},
        "schedule": "linear", "dataset": rounded["data"]["dataset"],
        "tokenizer": rounded["data"]["tokenizer"], "final_loss": 2.65,
        "final_loss_metric": "eval/paloma/c4_en/loss", "final_loss_unit": "nats_per_token",
    }  # fmt: skip
    other = run | {"run_id": "labx/b", "final_loss_metric": "train/loss"}
    far, refused = answers([run, other], load())
    assert far["half_widths"] < -2
    assert far["low"] < far["predicted"] < far["high"]
    assert "compare with none" in refused["refused"]


def test_distances_are_told_with_the_farthest_first() -> None:
    ends = {"predicted": 3.0, "low": 2.9, "high": 3.1}
    near, far = (Distance("a/1", 3.05, **ends, half_widths=0.5),
                 Distance("a/2", 2.5, **ends, half_widths=-5.0))  # fmt: skip
    told = Compared((near, far), {"a/3": "no size"}).lines()
    assert told[0].endswith("1 losses within 2 half widths of its prediction, 1 further off")
    assert told[1] == "  a/2: 2.5000, predicted 3.0000 (-5.0 half widths)"
    assert "a/3: no size" in told[2]


@pytest.mark.parametrize("name", ["published_copy", "published_copy_rounded"])
def test_a_published_run_is_known_again_in_six_digits(name: str, tmp_path: Path) -> None:
    """cases/submit/01."""
    ingest(SOURCES["marin"], Catalog(tmp_path / "c"), offline=True)
    (problem,) = call("submit", CASES / f"{name}.json", "--catalog", tmp_path / "c")["problems"]
    assert problem["rule"] == "duplicate"
    assert "marin/sweep-520m-10B-muonf91fea" in problem["found"]


@pytest.mark.parametrize(
    ("name", "pointer"),
    [("rate_2e-10", "/optimizer/learning_rate"), ("loss_zero", "/outcome/final_loss")],
)
def test_an_impossible_value_is_refused(name: str, pointer: str) -> None:
    """cases/submit/07 and 09."""
    (problem,) = call("validate", CASES / f"{name}.json")["problems"]
    assert problem["pointer"] == pointer
