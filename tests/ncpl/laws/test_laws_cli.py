"""The laws commands: fits travel as files, crossings are found, bad input is one sentence."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ncpl.bench.reproduce import points
from ncpl.commands.laws import laws
from ncpl.laws import registry

FIXTURE = Path(__file__).parents[2] / "fixtures" / "snapshot_steplaw"


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(laws, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def overtraining_runs(folder: Path, dataset: str) -> Path:
    table = points("overtraining")
    mine = table["dataset"] == dataset
    file = folder / f"{dataset}.parquet"
    pq.write_table(pa.table({name: table[name][mine] for name in table}), file)
    return file


def test_fit_predict_and_compare_travel_through_files(tmp_path: Path) -> None:
    fits = []
    for dataset in ("rpj", "c4_original"):
        runs, out = overtraining_runs(tmp_path, dataset), tmp_path / f"{dataset}.json"
        code, text, _ = run("fit", "overtraining", runs, "--refits", 50, "--out", out, "--json")
        assert code == 0
        found = json.loads(text)
        assert 1.0 < found["parameters"]["E"]["value"] < 2.2
        assert found["bootstrap"]["refits"] + found["bootstrap"]["failed"] == 50
        fits.append(out)
    code, text, _ = run(
        "predict", fits[0], "--set", "params=1e9", "--set", "train_tokens=2e10", "--json"
    )
    row = json.loads(text)["predictions"][0]
    assert code == 0
    assert row["low"] < row["loss"] < row["high"]
    code, _, errors = run("predict", fits[0], "--set", "params=1e9", "--set", "tokens=2e10")
    assert code == 1
    assert "tokens" in errors  # a name that is not read is refused, as is a missing one
    point = ("--set", "params=1e9", "--set", "train_tokens=2e10")
    code, _, errors = run("predict", fits[0], *point, "--set", "lr=1e-3")
    assert code == 1
    assert "'lr' is not read" in errors
    code, text, _ = run("compare", *fits, "--json")
    found = json.loads(text)
    assert code == 0
    # RedPajama models are worse on C4 than C4 models at every compute in the data
    assert found["crossing_flops"] is None
    assert found["lower_at_the_end"] == "b"
    code, text, _ = run("compare", *fits)
    assert "no crossing inside" in text
    code, text, _ = run("compare", fits[0], fits[0])
    assert "neither is lower throughout" in text


def test_crossing_of_two_known_lines_is_found(tmp_path: Path) -> None:
    """Generated: 2 C^-0.1 + 1 and 4 C^-0.2 + 1 (C in 1e18) cross where C^0.1 = 2."""
    compute = np.geomspace(1e18, 1e24, 40)
    generator = np.random.default_rng(0)
    fits = []
    for name, a, b in (("one", 2.0, 0.1), ("two", 4.0, 0.2)):
        loss = (a * (compute / 1e18) ** -b + 1) * np.exp(generator.normal(0, 1e-3, 40))
        pq.write_table(pa.table({"x": compute, "loss": loss}), tmp_path / f"{name}.parquet")
        out = tmp_path / f"{name}.json"
        assert run("fit", "power_const", tmp_path / f"{name}.parquet", "--out", out)[0] == 0
        fits.append(out)
    code, text, _ = run("compare", *fits, "--json")
    found = json.loads(text)
    assert code == 0
    low, high = found["interval_90"]
    assert low <= 1.024e21 <= high
    assert found["crosses_share"] > 0.95


def test_fit_on_a_snapshot_says_what_is_not_identified() -> None:
    code, text, _ = run("fit", "chinchilla", "--snapshot", FIXTURE, "--refits", 0, "--json")
    found = json.loads(text)
    assert code == 0
    assert found["n_points"] == 1517
    assert any(w.startswith("c ") and "not identified" in w for w in found["warnings"])


def test_curve_law_on_a_table_of_curves(tmp_path: Path) -> None:
    table = points("multipower")
    mine = (table["size"] == "25M") & (table["schedule"] == "wsdcon_9")
    runs = {
        "curve": table["schedule"][mine],
        **{name: table[name][mine] for name in ("step", "learning_rate", "loss")},
    }
    file, out = tmp_path / "curve.parquet", tmp_path / "fit.json"
    pq.write_table(pa.table(runs), file)
    assert run("fit", "tissue", file, "--refits", 0, "--out", out)[0] == 0
    code, text, _ = run("predict", out, file, "--json")
    predicted = [row["loss"] for row in json.loads(text)["predictions"]]
    assert code == 0
    assert np.abs(np.array(predicted) - table["loss"][mine]).mean() < 0.005


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("fit", "nosuch", "runs.csv"), 2, "there is no law"),
        (("fit", "chinchilla"), 2, "give FILE or --snapshot"),
        (("fit", "chinchilla", "absent.csv"), 1, "cannot be read"),
        (("fit", "chinchilla", "runs.xls"), 1, "expected a file ending in"),
        (("reproduce", "nosuch"), 2, "there are: overtraining"),
    ],
)
def test_bad_input_is_one_sentence(arguments, code, words) -> None:
    found, _, errors = run(*arguments)
    assert found == code
    assert words in errors
    assert "Traceback" not in errors


def test_missing_column_is_named(tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    file.write_text("params,loss\n1e8,3.0\n")
    code, _, errors = run("fit", "chinchilla", file)
    assert code == 1
    assert "train_tokens" in errors
    file.write_text("params,train_tokens,final_loss\n1e8,2e9,3.0\n")
    code, _, errors = run("fit", "chinchilla", file)
    assert code == 1
    assert "--loss COLUMN" in errors


def test_file_that_is_no_fit_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "fit.json"
    file.write_text("{}")
    code, _, errors = run("predict", file, "--set", "x=1e20")
    assert code == 1
    assert "ncpl-law/1" in errors


def test_every_law_is_listed_with_its_formula() -> None:
    code, text, _ = run("list", "--json")
    found = json.loads(text)["laws"]
    assert code == 0
    assert [law["law"] for law in found] == list(registry.NAMES)
    assert len(found) == 17
    assert all(law["formula"] and law["citation"] and law["columns"] for law in found)


def test_optimum_finds_the_step_law_again() -> None:
    """Real StepLaw training groups: the published exponents lie inside the intervals."""
    code, text, _ = run("optimum", "--snapshot", FIXTURE, "--refits", 100, "--json")
    found = json.loads(text)
    assert code == 0
    assert found["groups"] == 24
    for name in ("rate_N", "rate_D", "batch_D"):
        low, high = found["numbers"][name]["interval_90"]
        assert low <= found["numbers"][name]["published"] <= high


def test_optimum_of_an_unknown_optimizer_is_refused() -> None:
    code, _, errors = run("optimum", "--snapshot", FIXTURE, "--optimizer", "newton")
    assert code == 2
    assert "no run has optimizer 'newton'" in errors


@pytest.mark.parametrize("value", ["0", "-1e19"])
def test_size_of_zero_is_refused_not_fitted(value, tmp_path: Path) -> None:
    """Its logarithm is no number: the row would count as far off, in silence."""
    file = tmp_path / "runs.csv"
    file.write_text(f"x,loss\n1e18,3.0\n{value},2.9\n1e20,2.8\n1e21,2.7\n1e22,2.6\n1e23,2.5\n")
    for law in ("power_const", "bnsl"):
        code, _, errors = run("fit", law, file, "--refits", 0)
        assert code == 1
        assert "above 0" in errors


def test_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    runs = overtraining_runs(tmp_path, "rpj")
    out = tmp_path / "absent" / "fit.json"
    code, _, errors = run("fit", "overtraining", runs, "--refits", 0, "--out", out)
    assert code == 1
    assert "cannot be written" in errors


def test_fits_without_shared_compute_do_not_compare(tmp_path: Path) -> None:
    fits = []
    for name, low in (("near", 18), ("far", 26)):
        x = np.geomspace(10.0**low, 10.0 ** (low + 2), 20)
        table = pa.table({"x": x, "loss": 2 * (x / x[0]) ** -0.1 + 1})
        pq.write_table(table, tmp_path / f"{name}.parquet")
        fits.append(tmp_path / f"{name}.json")
        run("fit", "power_const", tmp_path / f"{name}.parquet", "--refits", 0, "--out", fits[-1])
    code, _, errors = run("compare", *fits)
    assert code == 1
    assert "share no compute" in errors


@pytest.mark.parametrize("command", [("fit", "chinchilla"), ("optimum",)])
def test_runs_that_state_no_recipe_are_one_sentence(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    copy = Path(shutil.copytree(FIXTURE, tmp_path / "copy"))
    manifest = json.loads((copy / "manifest.json").read_text())
    runs = pa.concat_tables(
        pq.read_table(copy / entry["path"]) for entry in manifest["tables"]["runs"]
    )
    place = runs.column_names.index("learning_rate")
    silent = pa.nulls(len(runs), pa.float64())
    pq.write_table(runs.set_column(place, "learning_rate", silent), copy / "runs.parquet")
    manifest["tables"]["runs"] = [{"path": "runs.parquet"}]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    code, _, errors = run(*command, "--snapshot", copy)
    assert code == 1
    assert "states size, tokens, learning rate and batch size" in errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,loss,loss\n1,2,2\n", "has more than one column loss"),
        ("params_non_embedding,train_tokens,loss\n" + "1e8,1e9,3\n" * 5 + "1e8,1e9,nan\n",
         "the loss of row 6 is nan; expected a finite, positive number"),
    ],
)  # fmt: skip
def test_an_odd_table_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "RUNS.CSV"
    file.write_text(text)
    code, _, errors = run("fit", "chinchilla", file)
    assert code == 1
    assert message in errors


# Six small runs of one study (lr_scheduling, SlimPajama, cosine) and four of its larger ones.
SIX = """params_non_embedding,train_tokens,loss
14162304,307200000,3.65838
14162304,716800000,3.49694
27271680,373760000,3.51718
14162304,1024000000,3.44918
27271680,768000000,3.38268
34089472,768000000,3.34380
"""
LARGER = """run_id,params_non_embedding,train_tokens,truth
a,60964480,1792000000,3.13912
b,113271552,3840000000,2.96197
c,169906944,6400000000,2.85076
d,308331520,10240000000,2.70920
"""


@pytest.mark.parametrize("law", ["chinchilla", "power_const"])
def test_a_forecast_from_six_small_runs_holds_the_larger_ones(tmp_path: Path, law: str) -> None:
    (tmp_path / "six.csv").write_text(SIX)
    (tmp_path / "larger.csv").write_text(LARGER)
    out = tmp_path / "fit.json"
    code, text, _ = run("fit", law, tmp_path / "six.csv", "--out", out, "--json")
    found = json.loads(text)
    assert code == 0
    assert found["bootstrap"]["method"] == "posterior"
    code, text, _ = run("predict", out, tmp_path / "larger.csv", "--json")
    rows = json.loads(text)["predictions"]
    assert [row["name"] for row in rows] == ["a", "b", "c", "d"]
    for row in rows:
        assert row["low"] <= row["measured"] <= row["high"]
        assert row["low"] < row["law_low"] < row["law_high"] < row["high"]
        assert "fitted on" in row["note"]
    code, text, _ = run("predict", out, tmp_path / "larger.csv")
    assert "measured 2.7092" in text
    assert "90% intervals hold 100% of them" in text
    assert "goes beyond the fitted" in text


def test_what_is_not_identified_has_no_narrow_interval(tmp_path: Path) -> None:
    (tmp_path / "six.csv").write_text(SIX)
    _, text, _ = run("fit", "chinchilla", tmp_path / "six.csv", "--json")
    found = json.loads(text)
    assert any(w.startswith("c ") and "not identified" in w for w in found["warnings"])
    low, high = found["bootstrap"]["interval"]["c"]
    assert high / low > 3


def test_one_size_is_told_to_say_nothing_of_others(tmp_path: Path) -> None:
    lines = SIX.splitlines()
    one = [line.replace("27271680", "14162304").replace("34089472", "14162304") for line in lines]
    (tmp_path / "one.csv").write_text("\n".join(one) + "\n")
    _, text, _ = run("fit", "chinchilla", tmp_path / "one.csv")
    assert "all runs have params_non_embedding 1.416e+07" in text


def test_one_curve_has_no_intervals_and_the_way_out_is_named(tmp_path: Path) -> None:
    table = points("multipower")
    mine = (table["size"] == "25M") & (table["schedule"] == "wsdcon_9")
    runs = {"curve": table["schedule"][mine]}
    runs |= {name: table[name][mine] for name in ("step", "learning_rate", "loss")}
    file = tmp_path / "curve.parquet"
    pq.write_table(pa.table(runs), file)
    code, _, errors = run("fit", "tissue", file, "--starts", 2)
    assert code == 1
    assert "--refits 0" in errors


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--source", "gemstones"), "no run of gemstones is in its split (ncpl)"),
        (("--source", "steplaw", "--dataset", "c4"), "give --dataset or --metric"),
    ],
)
def test_a_family_that_is_not_there_is_named(options: tuple[str, ...], words: str) -> None:
    code, _, errors = run("fit", "chinchilla", "--snapshot", FIXTURE, *options)
    assert code == 1
    assert words in errors
