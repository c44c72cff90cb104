"""Configurations as people write them: each field by hand, nothing guessed, nothing run."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ncpl.cli import main
from ncpl.errors import ConfigError
from ncpl.forms.files import configs_of
from ncpl.forms.raw import read_raw
from ncpl.forms.understand import number_of, parse_given, read_form

BATCH_TOKENS = """{"params_non_embedding": 3e8, "train_tokens": "10B", "learning_rate": "1e-3",
 "batch_tokens": 524288, "sequence_length": 2048}"""
HF_CONFIG = """{"architectures":["LlamaForCausalLM"],"hidden_size":2048,"intermediate_size":5632,
"num_attention_heads":32,"num_hidden_layers":22,"num_key_value_heads":4,"vocab_size":32000,
"max_position_embeddings":2048,"hidden_act":"silu","tie_word_embeddings":false,"model_type":"llama",
"rms_norm_eps":1e-5,"initializer_range":0.02}"""
MEGATRON = """--num-layers 24 --hidden-size 1024 --num-attention-heads 16 --seq-length 2048 \
--global-batch-size 512 --train-iters 100000 --lr 3e-4 --min-lr 3e-5 --lr-decay-style cosine \
--weight-decay 0.1 --clip-grad 1.0
"""
MINE = """params_non_embedding: 3.0e8
train_tokens: 1.0e10
learning_rate: 1.0e-3
batch_size_sequences: 128
sequence_length: 2048
"""
NANOTRON = """model:
  model_config:
    hidden_size: 2048
    intermediate_size: 8192
    num_attention_heads: 32
    num_hidden_layers: 24
    vocab_size: 49152
optimizer:
  learning_rate_scheduler:
    learning_rate: 0.0005
    lr_decay_style: 1-sqrt
    lr_warmup_steps: 2000
  weight_decay: 0.1
tokens:
  micro_batch_size: 8
  sequence_length: 2048
  train_steps: 500000
  batch_accumulation_per_replica: 1
parallelism:
  dp: 64
"""
RUN_LOG = """{"params_total": 1.1e9, "train_tokens": 1e11, "learning_rate": 1e-3,
"batch_size_sequences": 512, "sequence_length": 2048, "vocab_size": 128256, "d_model": 2048,
"is_embedding_tied": true}"""
ALIASES = '{"n_params": 3e8, "tokens": 1e10, "lr": 1e-3, "batch_size": 128, "seq_len": 2048}'
NANOGPT = """# nanoGPT config
batch_size = 12
block_size = 1024
gradient_accumulation_steps = 5 * 8
max_iters = 600000
lr_decay_iters = 600000
learning_rate = 6e-4
weight_decay = 1e-1
n_layer = 12
n_head = 12
n_embd = 768
"""
ARGUMENTS = """{"learning_rate":0.0004,"per_device_train_batch_size":16,
"gradient_accumulation_steps":2,"max_steps":50000,"warmup_steps":2000,
"lr_scheduler_type":"cosine","weight_decay":0.1,"adam_beta1":0.9,"adam_beta2":0.95,
"max_grad_norm":1.0,"bf16":true,"optim":"adamw_torch"}"""

BOMB = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "".join(
    f"{own}: &{own} [{', '.join([f'*{other}'] * 9)}]\n"
    for other, own in zip("abcdef", "bcdefg", strict=True)
)
"""Nine lines that stand for millions of values."""

WHOLE: list[tuple[str, str, str, dict[str, Any]]] = [
    ("batch_tokens.json", BATCH_TOKENS, "own",
     {"params_non_embedding": 3e8, "train_tokens": 1e10, "learning_rate": 1e-3,
      "batch_size_sequences": 256, "sequence_length": 2048}),
    ("megatron.sh", MEGATRON, "megatron",
     {"n_layers": 24, "d_model": 1024, "d_ff": 4096, "n_heads": 16, "sequence_length": 2048,
      "batch_size_sequences": 512, "train_steps": 100_000, "learning_rate": 3e-4,
      "min_learning_rate": 3e-5, "schedule": "cosine", "weight_decay": 0.1, "grad_clip_norm": 1.0,
      "optimizer": "adamw", "train_tokens": 104_857_600_000, "params_non_embedding": 301_989_888}),
    ("mine.yaml", MINE, "own",
     {"params_non_embedding": 3e8, "train_tokens": 1e10, "learning_rate": 1e-3,
      "batch_size_sequences": 128, "sequence_length": 2048}),
    ("nanotron.yaml", NANOTRON, "nanotron",
     {"n_layers": 24, "d_model": 2048, "d_ff": 8192, "n_heads": 32, "vocab_size": 49152,
      "learning_rate": 5e-4, "schedule": "1-sqrt", "warmup_steps": 2000, "weight_decay": 0.1,
      "batch_size_sequences": 512, "sequence_length": 2048, "train_steps": 500_000,
      "train_tokens": 524_288_000_000, "params_non_embedding": 1_610_612_736}),
    ("runlog.json", RUN_LOG, "own",
     {"params_total": 1.1e9, "train_tokens": 1e11, "learning_rate": 1e-3,
      "batch_size_sequences": 512, "sequence_length": 2048, "vocab_size": 128256, "d_model": 2048,
      "params_non_embedding": 837_331_712}),
    ("train_gpt2.py", NANOGPT, "nanogpt",
     {"n_layers": 12, "n_heads": 12, "d_model": 768, "d_ff": 3072, "sequence_length": 1024,
      "batch_size_sequences": 480, "train_steps": 600_000, "train_tokens": 294_912_000_000,
      "learning_rate": 6e-4, "weight_decay": 0.1, "optimizer": "adamw", "schedule": "cosine",
      "params_non_embedding": 84_934_656}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "program", "expected"), WHOLE, ids=[w[0] for w in WHOLE])
def test_a_whole_form_gives_these_fields(
    tmp_path: Path, name: str, text: str, program: str, expected: dict[str, Any]
) -> None:
    (tmp_path / name).write_text(text)
    (config,), (found,) = configs_of(tmp_path / name)
    assert found.program == program
    assert config == pytest.approx(expected)
    assert set(found.origins) == set(config)


@pytest.mark.parametrize(
    ("name", "text", "asked"),
    [
        ("config.json", HF_CONFIG, ["--set train_tokens", "useful too: learning_rate"]),
        ("training_args.json", ARGUMENTS, ["the batch of one device: give n_devices",
                                           "--set params_non_embedding"]),
        ("simple_alias.json", ALIASES, ["n_params may count embeddings",
                                        "--set params_non_embedding"]),
    ],
)  # fmt: skip
def test_a_form_that_lacks_something_asks_for_it(
    tmp_path: Path, name: str, text: str, asked: list[str]
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as error:
        configs_of(tmp_path / name)
    for words in asked:
        assert words in str(error.value)


def test_what_is_given_by_hand_completes_a_form(tmp_path: Path) -> None:
    (tmp_path / "simple_alias.json").write_text(ALIASES)
    given = parse_given(["params_non_embedding=300M", "lr=2e-3"])
    (config,), _ = configs_of(tmp_path / "simple_alias.json", given=given)
    assert config["params_non_embedding"] == 300e6
    assert config["learning_rate"] == 2e-3


def test_two_files_of_one_run_are_read_together(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(HF_CONFIG)
    (tmp_path / "training_args.json").write_text(ARGUMENTS)
    given = parse_given(["n_devices=8", "sequence_length=2048"])
    found = read_form(tmp_path, given=given)
    assert found.config["batch_size_sequences"] == 256
    assert found.config["train_tokens"] == 50_000 * 256 * 2048
    # 22 x (2 x 2048 x 64 x (32 + 4) + 3 x 2048 x 5632): four key heads, gated layers.
    assert found.config["params_non_embedding"] == 968_884_224
    assert "sequence_length" not in read_form(tmp_path / "config.json").config
    assert found.origins["learning_rate"] == "training_args.json: learning_rate"


@pytest.mark.parametrize(
    "text",
    [
        "import os\nos.system('touch {mark}')\nlearning_rate = 1e-3\nblock_size = 8\nn_embd = 64\n",
        "learning_rate = open('{mark}', 'w').write('x')\nblock_size = 8\nn_embd = 64\n",
        "__import__('pathlib').Path('{mark}').touch()\nblock_size = 8\nn_embd = 64\n",
        "n_embd = 64\nblock_size = 9 ** 9 ** 9 ** 9\nexec(\"open('{mark}', 'w')\")\n",
    ],
)
def test_a_file_that_would_run_does_nothing(tmp_path: Path, text: str) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "evil.py").write_text(text.format(mark=mark))
    found = read_form(tmp_path / "evil.py")
    assert not mark.exists()
    assert found.config["d_model"] == 64


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("evil.yaml", "!!python/object/apply:os.system ['touch {mark}']\n"),
        ("evil.sh", "$(touch {mark})\n`touch {mark}`\n"),
        ("evil.json", "[" * 100_000),
        ("bomb.yaml", BOMB),
        ("empty.toml", ""),
        ("text.yaml", "just words\n"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_configuration_is_one_sentence(
    tmp_path: Path, name: str, text: str
) -> None:
    mark = tmp_path / "mark"
    (tmp_path / name).write_text(text.replace("{mark}", str(mark)))
    result = CliRunner().invoke(main, ["predict", str(tmp_path / name)])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("text", "value"),
    [("4M", 4e6), ("1.5B", 1.5e9), ("2T", 2e12), ("3e-4", 3e-4), ("1_000", 1000), ("10BT", "10BT"),
     ("adamw", "adamw"), (".5", 0.5), ("1e999", "1e999"), (True, True)],
)  # fmt: skip
def test_numbers_have_suffixes(text: Any, value: Any) -> None:
    assert number_of(text) == value


def test_a_script_is_read_with_its_own_variables() -> None:
    text = """#!/bin/bash
# GPT: --num-layers 99
HIDDEN=1024
GPUS=$(nvidia-smi | wc -l)
ARGS="--num-layers 24 \\
  --hidden-size ${HIDDEN}"
MORE_ARGS=( --lr 3e-4 --data-parallel-size $GPUS )
torchrun train.py $ARGS ${MORE_ARGS[@]} --swiglu --use-flash-attn
"""
    values = read_raw(text, "run.sh", ".sh").values
    assert values["num_layers"] == "24"
    assert values["hidden_size"] == "1024"
    assert values["lr"] == "3e-4"
    assert values["swiglu"] is True
    assert "data_parallel_size" not in values


def test_a_dump_of_training_arguments_is_read(tmp_path: Path) -> None:
    dump = """TrainingArguments(
_n_gpu=1,
adam_beta1=0.9,
adam_beta2=0.95,
gradient_accumulation_steps=4,
hub_token=<HUB_TOKEN>,
learning_rate=0.0006,
logging_dir=./out/runs/today,
lr_scheduler_type=SchedulerType.COSINE,
max_steps=20000,
optim=OptimizerNames.ADAMW_TORCH,
per_device_train_batch_size=8,
warmup_ratio=0.01,
warmup_steps=0,
)
"""
    (tmp_path / "args.txt").write_text(dump)
    given = parse_given(["n_devices=4", "sequence_length=1024", "params_non_embedding=85M"])
    found = read_form(tmp_path / "args.txt", given=given).check()
    assert found["batch_size_sequences"] == 128
    assert found["warmup_steps"] == 200
    assert found["schedule"] == "cosine"
    assert found["optimizer"] == "adamw"
    assert found["train_tokens"] == 20_000 * 128 * 1024


def test_what_was_understood_is_printed_with_its_origin(tmp_path: Path) -> None:
    (tmp_path / "train_gpt2.py").write_text(NANOGPT)
    result = CliRunner().invoke(main, ["predict", str(tmp_path / "train_gpt2.py")])
    assert result.exit_code == 0, result.output
    assert "read as nanoGPT" in result.stdout
    assert "learning_rate = 0.0006  (learning_rate)" in result.stdout
    told = CliRunner().invoke(main, ["predict", str(tmp_path / "train_gpt2.py"), "--json"])
    (understood,) = json.loads(told.stdout)["understood"]
    assert understood["fields"]["d_ff"] == {"value": 3072, "origin": "nanoGPT: 4 x n_embd"}


@pytest.mark.parametrize("form", ["megatron", "hf", "nanogpt", "torchtitan"])
def test_a_recommendation_in_a_form_is_read_back_the_same(tmp_path: Path, form: str) -> None:
    suffix = {"megatron": "sh", "hf": "json", "nanogpt": "py", "torchtitan": "toml"}[form]
    plan = ["plan", "recommend", "--params", "268304384", "--tokens", "1e10"]
    shape = ["--fix", "n_layers=8", "--fix", "d_model=1024", "--fix", "d_ff=9552"]
    written = CliRunner().invoke(main, [*plan, *shape, "--as", form])
    assert written.exit_code == 0, written.output
    told = json.loads(CliRunner().invoke(main, [*plan, *shape, "--json"]).stdout)
    (tmp_path / f"plan.{suffix}").write_text(written.stdout)
    again = CliRunner().invoke(main, ["predict", str(tmp_path / f"plan.{suffix}"), "--json"])
    assert again.exit_code == 0, again.output
    (found,) = json.loads(again.stdout)["predictions"]
    assert found["loss"] == pytest.approx(told["prediction"]["loss"], abs=2e-4)
    (understood,) = json.loads(again.stdout)["understood"]
    for name, value in told["config"].items():
        if name in understood["fields"] and isinstance(value, (int, float)):
            assert understood["fields"][name]["value"] == pytest.approx(value, rel=1e-3), name


def test_a_plan_takes_size_shape_and_tokens_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "train_gpt2.py").write_text(NANOGPT.replace("600000", "20000"))
    arguments = ["plan", "recommend", "--config", str(tmp_path / "train_gpt2.py"), "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["config"]
    assert found["params_non_embedding"] == 84_934_656
    assert found["train_tokens"] == 20_000 * 480 * 1024
    assert found["sequence_length"] == 1024
    assert found["learning_rate"] != 6e-4
