"""Shared: the fixture snapshot (2,581 real StepLaw runs) and one small bundle trained on it."""

import dataclasses
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from ncpl.data.snapshot import Runs, Snapshot
from ncpl.model.bundle import Bundle
from ncpl.model.config import FitConfig
from ncpl.train.pipeline import train_bundle

FIXTURE = Path(__file__).parents[1] / "fixtures" / "snapshot_steplaw"
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def snapshot() -> Snapshot:
    return Snapshot.open(FIXTURE)


@pytest.fixture(scope="session")
def runs(snapshot: Snapshot) -> Runs:
    return snapshot.runs()


@pytest.fixture(scope="session")
def tiny() -> FitConfig:
    return dataclasses.replace(FitConfig.preset("tiny"), steps=60, members=2)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundle")


@pytest.fixture(scope="session")
def bundle(snapshot: Snapshot, runs: Runs, tiny: FitConfig, folder: Path) -> Bundle:
    """A bundle of two members of 60 steps, saved in `folder`."""
    return train_bundle(snapshot, runs, tiny, seed=0, folder=folder)
