"""Shared: a small language-model bundle and its data, from the fixture snapshot."""

import dataclasses
from pathlib import Path

import pytest

from ncpl.data.snapshot import Runs, Snapshot
from ncpl.language.bundle import LanguageBundle
from ncpl.language.pipeline import Data, data_of, train_language
from ncpl.language.settings import LanguageConfig

SHAPE = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


@pytest.fixture(scope="session")
def small() -> LanguageConfig:
    """Both stages, field dropout and an average of the weights, in few steps."""
    return LanguageConfig(
        random_base=SHAPE,
        tokenizer="words",
        sources=("steplaw",),
        fields=(
            "source",
            "params_non_embedding",
            "data_tokens",
            "optimizer",
            "learning_rate",
            "batch_size_sequences",
            "train_steps",
        ),
        stage1_epochs=1,
        stage2_epochs=2,
        stage1_learning_rate=1e-3,
        stage2_learning_rate=1e-3,
        stage2_warmup_steps=2,
        head_start_scale=0.0,
        batch_size_runs=300,
        field_dropout=0.1,
        ema_decay=0.9,
        evaluate_every=4,
        checkpoint_every=3,
    )


@pytest.fixture(scope="session")
def data(snapshot: Snapshot, runs: Runs, small: LanguageConfig) -> Data:
    return data_of(snapshot, runs, small)


@pytest.fixture(scope="session")
def language_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("language") / "bundle"


@pytest.fixture(scope="session")
def language_bundle(
    snapshot: Snapshot, runs: Runs, small: LanguageConfig, language_folder: Path
) -> LanguageBundle:
    """A bundle of a few steps, saved in `language_folder`; it answers curves, untrained."""
    config = dataclasses.replace(small, has_curves=True)
    bundle = train_language(snapshot, runs, config, seed=0, folder=language_folder)
    assert bundle is not None
    return bundle
