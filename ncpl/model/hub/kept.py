"""What bundles of all kinds share: where they came from, and the way to the hub."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any


class OnHub(ABC):
    """Part of a bundle's class: it can be given to the hub."""

    folder: Path | None = None
    """Where it was loaded from; None for one that was made in this process."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the bundle."""

    def push_to_hub(
        self,
        repository: str,
        *,
        licence: str = "apache-2.0",
        is_private: bool = False,
        revision: str = "main",
    ) -> str:
        """Make a model repository (OWNER/NAME) hold this bundle and return the commit.

        A bundle that was loaded is sent as its folder holds it, with what else belongs to it. The
        model card names library, licence, tags and the scores. Needs 'ncpl-data[hub]'. Raises
        HubError, or BundleError if the folder was damaged since.
        """
        from ncpl.model.hub.push import push

        told: dict[str, Any] = {
            "licence": licence, "is_private": is_private, "revision": revision
        }  # fmt: skip
        if self.folder is not None:
            return push(self.folder, repository, **told)
        with tempfile.TemporaryDirectory(prefix="ncpl-save-") as temporary:
            self.save(Path(temporary))
            return push(Path(temporary), repository, **told)
