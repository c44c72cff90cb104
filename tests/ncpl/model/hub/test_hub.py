"""Bundles given to a hub on the loopback interface and taken from it, with what can go wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from hub_server import KEY, Hub, Repo

import ncpl
from ncpl.errors import BundleError, HubError
from ncpl.model.bundle import DEFAULT
from ncpl.model.community import DEFAULT as COMMUNITY
from ncpl.model.community import Community
from ncpl.model.hub.pull import MAX_TEXT_BYTES
from ncpl.model.seal import SEAL, seal

pytest.importorskip("huggingface_hub")
# Its plain upload calls its HTTP client in a way that is going away.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")

NAME = "me/ncpl"
ASKED: list[dict[str, Any]] = [
    {"params_non_embedding": 3e8, "train_tokens": 1e10, "source": "steplaw"}
]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder of the shipped community bundle."""
    return Path(shutil.copytree(COMMUNITY, tmp_path / "bundle"))


@pytest.fixture
def held(hub: Hub, small: Path) -> Repo:
    """A repository that holds it."""
    ncpl.load(small).push_to_hub(NAME)
    return hub.repos[NAME]


def test_the_shipped_bundle_comes_back_and_predicts_the_same(hub: Hub) -> None:
    bundle = ncpl.load()
    commit = bundle.push_to_hub(NAME)
    repo = hub.repos[NAME]
    assert repo.branches["main"] == commit
    assert "prefix.safetensors" in repo.tree()
    assert "community/draws.safetensors" in repo.tree()
    back = ncpl.load(NAME)
    assert back.folder is not None
    assert back.folder != DEFAULT
    assert back.predict(ASKED)[0].loss == bundle.predict(ASKED)[0].loss
    assert (back.folder / "community" / "card.json").is_file()


def test_a_bundle_made_in_this_process_is_pushed_and_loaded(hub: Hub, small: Path) -> None:
    made = Community(**{k: v for k, v in vars(ncpl.load(small)).items() if k != "folder"})
    assert made.folder is None
    made.push_to_hub(NAME)
    assert ncpl.load(NAME).predict(ASKED)[0].loss == made.predict(ASKED)[0].loss


def test_the_card_has_library_licence_tags_and_scores_that_the_hubs_library_reads(
    hub: Hub,
) -> None:
    from huggingface_hub import ModelCard

    ncpl.load().push_to_hub(NAME, licence="mit")
    card = ModelCard(hub.repos[NAME].tree()["README.md"].decode())
    assert (card.data.library_name, card.data.license) == ("ncpl", "mit")
    assert {"ncpl", "scaling-laws"} <= set(card.data.tags)
    scores = ncpl.load().about["scores"]
    (own,) = [s for s in scores if (s["source"], s["split"], s["predictor"]) ==
              ("steplaw", "ood", "NCPL, ensemble")]  # fmt: skip
    found = {(r.dataset_type, r.dataset_split, r.metric_type): r.metric_value
             for r in card.data.eval_results}  # fmt: skip
    assert found["steplaw", "ood", "mae"] == pytest.approx(own["mae"], abs=1e-6)
    assert found["marin", "id", "coverage"] == pytest.approx(0.8709, abs=1e-4)
    assert card.text.lstrip().startswith("# NCPL bundle")


def test_scores_of_families_stand_on_the_card_of_a_community_bundle(held: Repo) -> None:
    text = held.tree()["README.md"].decode()
    assert "model-index:" in text
    assert "gemstones/validation/loss" in text


def test_a_second_push_replaces_card_and_bundle_in_one_commit(
    hub: Hub, held: Repo, small: Path
) -> None:
    ncpl.load(small).push_to_hub(NAME)
    assert held.messages == ["initial commit", "NCPL bundle", "NCPL bundle"]
    assert held.tree()["README.md"].decode().count("library_name") == 1
    ncpl.load().push_to_hub(NAME)
    assert "draws.safetensors" not in held.tree()
    ncpl.load(NAME)


def test_a_pinned_commit_stays_and_is_asked_for_once(hub: Hub, held: Repo, small: Path) -> None:
    first = held.branches["main"]
    before = ncpl.load(NAME, revision=first).card()
    ncpl.load().push_to_hub(NAME)
    assert ncpl.load(NAME).card()["format"] != before["format"]
    asked = len(hub.asked)
    assert ncpl.load(NAME, revision=first).card() == before
    assert len(hub.asked) == asked


def test_a_branch_is_a_revision_too(hub: Hub, held: Repo, small: Path) -> None:
    ncpl.load(small).push_to_hub(NAME, revision="next")
    assert ncpl.load(NAME, revision="next").snapshot_id == ncpl.load(small).snapshot_id


def test_only_files_of_a_bundle_are_downloaded(hub: Hub, held: Repo) -> None:
    held.add("main", held.tree() | {"evil.pkl": b"cos\nsystem\n", "modeling.py": b"1/0"}, "more")
    folder = ncpl.load(NAME).folder
    assert folder is not None
    assert {p.name for p in folder.rglob("*")} == {
        "README.md", SEAL, "card.json", "draws.safetensors"
    }  # fmt: skip
    assert not [p for p, _ in hub.downloads() if p.endswith((".pkl", ".py"))]


def lines(held: Repo, *more: str) -> bytes:
    return held.tree()[SEAL] + "".join(f"{'0' * 64}  {name}\n" for name in more).encode()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../../outside.json", "expected a SHA-256, two spaces and a file of a bundle"),
        ("/etc/passwd", "expected a SHA-256"),
        ("pytorch_model.bin", "expected a SHA-256"),
        ("weights.safetensors", "names weights.safetensors, which is not there"),
    ],
)
def test_a_name_that_is_no_file_of_a_bundle_is_refused(
    name: str, told: str, hub: Hub, held: Repo, tmp_path: Path
) -> None:
    held.add("main", held.tree() | {SEAL: lines(held, name), name: b"x"} if "weights" not in name
             else held.tree() | {SEAL: lines(held, name)}, "bad")  # fmt: skip
    with pytest.raises(BundleError, match=told):
        ncpl.load(NAME)
    assert list((tmp_path / "cache").rglob("*.json")) == []


@pytest.mark.parametrize("file", ["card.json", "draws.safetensors", SEAL])
def test_a_file_altered_on_the_way_is_told_and_not_kept(
    file: str, hub: Hub, held: Repo, tmp_path: Path
) -> None:
    def spoil(path: str, content: bytes) -> bytes:
        return bytes([content[0] ^ 1]) + content[1:] if path == file else content

    hub.spoil = spoil
    with pytest.raises(BundleError, match=file):
        ncpl.load(NAME)
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file()] == []
    hub.spoil = lambda _, content: content
    ncpl.load(NAME)


def test_what_is_larger_than_listed_or_allowed_is_not_taken(hub: Hub, held: Repo) -> None:
    with pytest.raises(BundleError, match="more than the limit of 1,000"):
        ncpl.load(NAME, max_bytes=1000)
    hub.sizes = {"card.json": MAX_TEXT_BYTES + 1}
    with pytest.raises(BundleError, match=r"card\.json has"):
        ncpl.load(NAME)
    hub.sizes = {"card.json": 10}
    with pytest.raises(HubError, match=r"card\.json has more than 10 bytes"):
        ncpl.load(NAME)


def test_a_download_that_ends_in_the_middle_is_one_sentence(hub: Hub, held: Repo) -> None:
    hub.cut = {"card.json"}
    with pytest.raises(HubError, match="could not be read"):
        ncpl.load(NAME)
    ncpl.load(NAME)


def test_a_repository_without_a_seal_is_no_bundle(hub: Hub, held: Repo) -> None:
    held.add("main", {n: c for n, c in held.tree().items() if n != SEAL}, "unsealed")
    with pytest.raises(BundleError, match="no bundle that can be checked"):
        ncpl.load(NAME)


@pytest.mark.parametrize(
    ("repository", "revision", "told"),
    [
        ("me/absent", "main", "the hub shows no model me/absent"),
        (NAME, "absent", 'with a revision "absent"'),
        (NAME, "../../x", "is no branch, tag or commit"),
    ],
)
def test_what_the_hub_does_not_hold_is_one_sentence(
    repository: str, revision: str, told: str, hub: Hub, held: Repo
) -> None:
    with pytest.raises(HubError, match=told):
        ncpl.load(repository, revision=revision)


@pytest.mark.parametrize("path", ["no-folder", "../elsewhere", "a/b/c", Path("me/ncpl")])
def test_what_is_no_owner_and_name_is_never_asked_for(path: str | Path, hub: Hub) -> None:
    with pytest.raises(BundleError, match="holds no bundle"):
        ncpl.load(path)
    assert hub.asked == []


def test_without_a_network_the_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match="could not be read"):
        ncpl.load(NAME)


def test_a_repository_of_something_else_is_left_alone(hub: Hub, small: Path) -> None:
    hub.repos[NAME] = Repo(is_private=False)
    hub.repos[NAME].add("main", {"thesis.tex": b"mine"}, "mine")
    with pytest.raises(HubError, match=r"no bundle's \(thesis\.tex\)"):
        ncpl.load(small).push_to_hub(NAME)
    assert hub.repos[NAME].tree() == {"thesis.tex": b"mine"}


def test_a_lost_race_changes_nothing(hub: Hub, held: Repo, small: Path) -> None:
    hub.before_commit = lambda repo: repo.add("main", repo.tree() | {"x": b""}, "theirs") and None
    with pytest.raises(HubError, match="somebody else committed"):
        ncpl.load().push_to_hub(NAME)
    assert "weights.safetensors" not in held.tree()


def test_without_a_key_nothing_is_written(
    hub: Hub, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(HubError, match="does not let you write") as told:
        ncpl.load(small).push_to_hub(NAME)
    assert "hf_wrong" not in str(told.value)
    assert hub.repos == {}


def test_a_private_bundle_is_seen_with_the_key_only(
    hub: Hub, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ncpl.load(small).push_to_hub(NAME, is_private=True)
    assert hub.repos[NAME].is_private
    ncpl.load(NAME)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("HF_HOME", "nowhere")
    shutil.rmtree(Path(str(ncpl.load(small).folder)).parent / "cache")
    with pytest.raises(HubError, match="if it is private, log in"):
        ncpl.load(NAME)
    assert KEY not in str(hub.keys[-1])


def test_a_damaged_folder_is_not_pushed(hub: Hub, small: Path) -> None:
    bundle = ncpl.load(small)
    (small / "card.json").write_text("{}", "utf-8")
    with pytest.raises(BundleError, match=r"card\.json does not have the hash"):
        bundle.push_to_hub(NAME)
    assert hub.repos == {}


def test_a_checksum_line_broken_by_another_line_break_is_damage(small: Path) -> None:
    text = (small / SEAL).read_bytes()
    (small / SEAL).write_bytes(text.replace(b"\n", b"\x0b", 1))
    with pytest.raises(BundleError, match="line 1"):
        ncpl.load(small)
    seal(small)
    ncpl.load(small)
