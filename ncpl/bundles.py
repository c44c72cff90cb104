"""Bundle folders of either kind, opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncpl.errors import BundleError
from ncpl.model.bundle import DEFAULT, Bundle, read_card
from ncpl.model.bundle import load as load_own
from ncpl.model.predictor import Loaded
from ncpl.model.seal import check_seal
from ncpl_data.terminal.extras import lacking

if TYPE_CHECKING:
    from ncpl.model.community import Community


def load(
    path: Path | str | None = None, *, revision: str = "main", max_bytes: int | None = None
) -> Loaded:
    """Return the bundle of a folder or a model repository, or the one that ships with the package.

    A text OWNER/NAME that is no folder names a repository of the hub (HF_ENDPOINT, else the public
    one); `revision` is a branch, tag or commit there, `max_bytes` a limit on what is downloaded.
    Only safetensors, Parquet and JSON are read, each file held against SHA256SUMS. Raises
    BundleError if there is none, or its files, configuration and card do not match, HubError if the
    hub can not be read.
    """
    folder = DEFAULT if path is None else Path(path)
    if isinstance(path, str) and not folder.exists():
        from ncpl.model.hub.repository import is_name

        if is_name(path):
            from ncpl.model.hub.pull import MAX_BYTES, pulled

            folder = pulled(path, revision, MAX_BYTES if max_bytes is None else max_bytes)
    found = _load_folder(folder)
    found.folder = folder
    return found


def _load_folder(folder: Path) -> Loaded:
    kind = str(read_card(folder).get("format"))
    if kind.startswith("ncpl-language/"):
        try:
            from ncpl.language.bundle import load as load_language
        except ModuleNotFoundError as error:
            raise BundleError(
                f"{folder} holds a language model: {lacking(error) or error}"
            ) from error
        return load_language(folder)
    if kind.startswith("ncpl-community/"):
        from ncpl.model.community import load_community

        return load_community(folder)
    return load_own(folder)


def load_ensemble(path: Path | str | None = None, *, what: str) -> Bundle:
    """Return the bundle of a folder as `load` does, for what only an ensemble can give.

    Raises BundleError, naming `what`, for a bundle of the paper's mode.
    """
    found = load(path)
    if not isinstance(found, Bundle):
        raise BundleError(
            f"{path} is a bundle of another kind, which has no {what}; name one of the package's "
            "kind, or none for that of the package"
        )
    return found


def adapt(runs: Sequence[Mapping[str, Any]], path: Path | str | None = None) -> Community:
    """Return a bundle of one family: that of these runs, each a configuration with `final_loss`.

    `path` is a community or adapted bundle; the one that ships with the package if not given. See
    `ncpl.data.own_runs` for what a run may hold. Raises ConfigError, naming the run, for a wrong
    one.
    """
    from ncpl.model.community import load_community

    return load_community(path).adapt(runs)


def is_community(path: Path) -> bool:
    """Return whether a folder holds a community bundle, or an adapted one."""
    return str(read_card(path).get("format")).startswith("ncpl-community/")


def ensemble_beside(path: Path | None) -> Path:
    """Return the folder of the trained bundle: this one, or the shipped beside a community's."""
    return DEFAULT if path is None or is_community(path) else path


def community_beside(path: Path | None) -> Community:
    """Return the community bundle that goes with a bundle: itself, in its folder, or the shipped.

    Raises BundleError when a file of it does not match its card.
    """
    from ncpl.model.community import load_community

    if path is None:
        return load_community()
    if is_community(path):
        return load_community(path)
    check_seal(path)
    beside = path / "community"
    return load_community(beside if beside.is_dir() else None)


def community_of(path: Path | None) -> Community | None:
    """Return the community bundle that is this bundle or lies in its folder; None where none does.

    Without a path, the one that ships with the package. Raises BundleError when a file of it does
    not match its card.
    """
    if path is not None and not is_community(path):
        check_seal(path)
        if not (path / "community").is_dir():
            return None
    return community_beside(path)
