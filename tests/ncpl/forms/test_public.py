"""One public file each of ten frameworks: its settings as facts, and the fields they mean by hand.

The settings are those of the files named; comments, paths and what says nothing of the run are left
out. nanoGPT config/train_gpt2.py, nanochat runs/runcpu.sh, Megatron-LM
examples/gpt3/train_gpt3_175b_distributed.sh, torchtitan llama3_8b (8 devices, 8k context), nanotron
examples/config_tiny_llama.yaml, litgpt config_hub/pretrain/microllama.yaml, axolotl
examples/tiny-llama/pretrain.yml, LLaMA-Factory llama3_lora_pretrain.yaml, OLMo
configs/official-1124/OLMo2-7B-stage1.yaml, and TinyLlama's config.json of transformers. Then more
of the same programs: mixtures of experts (sizes without embeddings: Mixtral 46.4B and 12.6B active,
Qwen1.5-MoE 13.7B and 2.1B), a run from trained weights, lengths told in another way.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ncpl.forms.understand import read_form

NANOGPT = """wandb_log = False
wandb_run_name='gpt2-124M'
batch_size = 12
block_size = 1024
gradient_accumulation_steps = 5 * 8
max_iters = 600000
lr_decay_iters = 600000
eval_interval = 1000
weight_decay = 1e-1
"""
NANOCHAT = """if [ -z "$WANDB_RUN" ]; then
    WANDB_RUN=dummy
fi
python -m scripts.tok_train --max-chars=2000000000
python -m scripts.base_train \\
    --depth=6 \\
    --head-dim=64 \\
    --max-seq-len=512 \\
    --device-batch-size=32 \\
    --total-batch-size=16384 \\
    --num-iterations=5000 \\
    --run=$WANDB_RUN
python -m scripts.chat_sft --model-tag=6 --num-iterations=1500
"""
MEGATRON = """GPUS_PER_NODE=8
WORLD_SIZE=$(($GPUS_PER_NODE*$NUM_NODES))
DISTRIBUTED_ARGS=(
    --nproc_per_node $GPUS_PER_NODE
)
GPT_MODEL_ARGS=(
    --num-layers 96
    --hidden-size 12288
    --num-attention-heads 96
    --seq-length 2048
    --attention-backend auto # Can use (flash)
)
TRAINING_ARGS=(
    --micro-batch-size 1
    --global-batch-size 1536
    --rampup-batch-size 16 16 5859375
    --train-iters 500000
    --weight-decay 0.1
    --adam-beta1 0.9
    --adam-beta2 0.95
    --clip-grad 1.0
    --fp16
    --lr 6.0e-5
    --lr-decay-style cosine
    --min-lr 6.0e-6
    --lr-warmup-fraction .001
    --lr-decay-iters 430000
)
torchrun ${DISTRIBUTED_ARGS[@]} pretrain_gpt.py \\
    ${GPT_MODEL_ARGS[@]} \\
    ${TRAINING_ARGS[@]}
"""
TORCHTITAN = """[model]
name = "llama3"
flavor = "8B"
[training]
local_batch_size = 3
seq_len = 8192
max_norm = 1.0
steps = 1000
dataset = "c4"
[parallelism]
data_parallel_replicate_degree = 1
data_parallel_shard_degree = 8
[optimizer]
name = "AdamW"
lr = 3e-4
eps = 1e-8
[lr_scheduler]
warmup_steps = 200
"""
NANOTRON = {
    "model": {"model_config": {
        "hidden_act": "silu", "hidden_size": 16, "intermediate_size": 64,
        "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 4,
        "tie_word_embeddings": True, "vocab_size": 256}},
    "optimizer": {
        "clip_grad": 1.0, "weight_decay": 0.01,
        "learning_rate_scheduler": {
            "learning_rate": 0.0003, "lr_decay_starting_step": None, "lr_decay_steps": 13,
            "lr_decay_style": "cosine", "lr_warmup_steps": 2, "min_decay_lr": 1e-5},
        "optimizer_factory": {"adam_beta1": 0.9, "adam_beta2": 0.95, "adam_eps": 1e-8,
                              "name": "adamW"}},
    "parallelism": {"dp": 2, "pp": 2, "tp": 2},
    "tokens": {"batch_accumulation_per_replica": 1, "micro_batch_size": 2,
               "sequence_length": 256, "train_steps": 15},
}  # fmt: skip
LITGPT = {
    "model_name": "micro-llama-300M", "model_config": None,
    "train": {"global_batch_size": 48, "micro_batch_size": 12, "lr_warmup_steps": 2000,
              "max_tokens": 3_000_000_000_000, "max_seq_length": 2048, "max_norm": 1.0,
              "min_lr": 4e-5},
    "optimizer": {"class_path": "torch.optim.AdamW",
                  "init_args": {"lr": "4e-4", "weight_decay": 0.1, "betas": [0.9, 0.95]}},
    "devices": "auto",
}  # fmt: skip
AXOLOTL = {
    "base_model": "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "model_type": "LlamaForCausalLM",
    "max_steps": 200, "sequence_len": 2048, "gradient_accumulation_steps": 4,
    "micro_batch_size": 2, "num_epochs": 4, "optimizer": "adamw_bnb_8bit",
    "lr_scheduler": "cosine", "learning_rate": 0.0002, "warmup_ratio": 0.1, "weight_decay": 0.0,
}  # fmt: skip
LLAMA_FACTORY = {
    "model_name_or_path": "meta-llama/Meta-Llama-3-8B-Instruct", "stage": "pt",
    "finetuning_type": "lora", "dataset": "c4_demo", "cutoff_len": 2048,
    "per_device_train_batch_size": 1, "gradient_accumulation_steps": 8, "learning_rate": 1e-4,
    "num_train_epochs": 3.0, "lr_scheduler_type": "cosine", "warmup_ratio": 0.1,
}  # fmt: skip
OLMO = {
    "model": {"d_model": 4096, "n_heads": 32, "n_layers": 32, "mlp_hidden_size": 22016,
              "weight_tying": False, "activation_type": "swiglu", "max_sequence_length": 4096,
              "vocab_size": 100278},
    "optimizer": {"name": "adamw", "learning_rate": 3e-4, "weight_decay": 0.1, "eps": "1e-8",
                  "betas": [0.9, 0.95]},
    "scheduler": {"name": "cosine_with_warmup", "units": "tokens", "t_warmup": 8388608000,
                  "t_max": "5e12", "alpha_f": 0.1},
    "max_duration": "1ep", "global_train_batch_size": 1024, "max_grad_norm": 1.0,
}  # fmt: skip
TRANSFORMERS = {
    "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 2048,
    "intermediate_size": 5632, "max_position_embeddings": 2048, "model_type": "llama",
    "num_attention_heads": 32, "num_hidden_layers": 22, "num_key_value_heads": 4,
    "tie_word_embeddings": False, "vocab_size": 32000,
}  # fmt: skip

MIXTRAL = {
    "architectures": ["MixtralForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336,
    "model_type": "mixtral", "num_attention_heads": 32, "num_experts_per_tok": 2,
    "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8,
    "tie_word_embeddings": False, "vocab_size": 32000,
}  # fmt: skip
QWEN_MOE = {
    "architectures": ["Qwen2MoeForCausalLM"], "decoder_sparse_step": 1, "hidden_size": 2048,
    "intermediate_size": 5632, "model_type": "qwen2_moe", "moe_intermediate_size": 1408,
    "num_attention_heads": 16, "num_experts": 60, "num_experts_per_tok": 4,
    "num_hidden_layers": 24, "num_key_value_heads": 16, "shared_expert_intermediate_size": 5632,
    "tie_word_embeddings": False, "vocab_size": 151936,
}  # fmt: skip
DEEPSEEK = {
    "architectures": ["DeepseekV3ForCausalLM"], "first_k_dense_replace": 3, "hidden_size": 7168,
    "intermediate_size": 18432, "kv_lora_rank": 512, "model_type": "deepseek_v3",
    "moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1,
    "num_attention_heads": 128, "num_experts_per_tok": 8, "num_hidden_layers": 61,
    "num_key_value_heads": 128, "tie_word_embeddings": False, "vocab_size": 129280,
}  # fmt: skip
NANOTRON_MOE = {
    "model": {"model_config": {
        "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 16,
        "num_hidden_layers": 36, "num_key_value_heads": 2, "vocab_size": 128256,
        "moe_config": {"num_experts": 4, "top_k": 1}}},
    "tokens": {"batch_accumulation_per_replica": 8, "micro_batch_size": 3,
               "sequence_length": 4096, "train_steps": 32000},
    "parallelism": {"dp": 4},
}  # fmt: skip
LITGPT_OLD = {
    "model": {"name": "tiny-llama-1.1b", "n_layer": 16, "n_embd": 4096},
    "train": {"global_batch_size": 512, "micro_batch_size": 4, "max_tokens": 3_000_000_000_000,
              "learning_rate": "4e-4", "weight_decay": "1e-1", "beta1": 0.9, "beta2": 0.95},
}  # fmt: skip
OLMO_TINY = OLMO | {
    "model": {"d_model": 256, "n_heads": 8, "n_layers": 8, "mlp_ratio": 8,
              "weight_tying": False, "activation_type": "swiglu", "max_sequence_length": 4096,
              "vocab_size": 50280},
    "max_duration": "2ep", "stop_at": 400_000,
}  # fmt: skip
FINETUNE = """import time
wandb_run_name = 'ft-' + str(time.time())
dataset = 'shakespeare'
init_from = 'gpt2-xl'
always_save_checkpoint = False
batch_size = 1
gradient_accumulation_steps = 32
max_iters = 20
learning_rate = 3e-5
warmup_iters = 100
decay_lr = False
"""
SPEEDRUN = """NPROC_PER_NODE=8
torchrun --standalone --nproc_per_node=$NPROC_PER_NODE -m scripts.base_train -- \\
    --depth=20 --target-param-data-ratio=20 --run=$WANDB_RUN
torchrun --standalone --nproc_per_node=$NPROC_PER_NODE -m scripts.mid_train -- --run=$WANDB_RUN
"""

FILES: list[tuple[str, str, str, dict[str, Any], list[str], list[str]]] = [
    ("train_gpt2.py", NANOGPT, "nanogpt",
     {"sequence_length": 1024, "batch_size_sequences": 480, "train_steps": 600_000,
      "train_tokens": 294_912_000_000, "weight_decay": 0.1, "optimizer": "adamw",
      "schedule": "cosine"},
     ["params_non_embedding"], []),
    ("runcpu.sh", NANOCHAT, "nanochat",
     {"n_layers": 6, "d_model": 384, "d_ff": 1536, "head_dim": 64, "sequence_length": 512,
      "batch_size_sequences": 32, "train_steps": 5000, "train_tokens": 81_920_000,
      "params_non_embedding": 10_616_832},
     [], []),
    ("train_gpt3.sh", MEGATRON, "megatron",
     {"n_layers": 96, "d_model": 12288, "d_ff": 49152, "n_heads": 96, "sequence_length": 2048,
      "batch_size_sequences": 1536, "train_steps": 500_000, "weight_decay": 0.1,
      "adam_beta1": 0.9, "adam_beta2": 0.95, "grad_clip_norm": 1.0, "learning_rate": 6e-5,
      "schedule": "cosine", "min_learning_rate": 6e-6, "warmup_steps": 430, "optimizer": "adamw",
      "train_tokens": 1_572_864_000_000, "params_non_embedding": 173_946_175_488},
     [], ["the batch ramps up"]),
    ("llama3_8b.toml", TORCHTITAN, "torchtitan",
     {"sequence_length": 8192, "batch_size_sequences": 24, "train_steps": 1000,
      "train_tokens": 196_608_000, "grad_clip_norm": 1.0, "dataset": "c4", "optimizer": "adamw",
      "learning_rate": 3e-4, "adam_epsilon": 1e-8, "warmup_steps": 200},
     ["params_non_embedding"], ["model.flavor 8B names a model"]),
    ("config_tiny_llama.yaml", yaml.dump(NANOTRON), "nanotron",
     {"n_layers": 2, "d_model": 16, "d_ff": 64, "n_heads": 4, "n_kv_heads": 4, "vocab_size": 256,
      "learning_rate": 3e-4, "decay_steps": 13, "schedule": "cosine", "warmup_steps": 2,
      "min_learning_rate": 1e-5, "weight_decay": 0.01, "grad_clip_norm": 1.0, "adam_beta1": 0.9,
      "adam_beta2": 0.95, "adam_epsilon": 1e-8, "optimizer": "adamw", "sequence_length": 256,
      "train_steps": 15, "batch_size_sequences": 4, "train_tokens": 15_360,
      "params_non_embedding": 8192},
     [], []),
    ("microllama.yaml", yaml.dump(LITGPT), "litgpt",
     {"batch_size_sequences": 48, "train_tokens": 3e12, "sequence_length": 2048,
      "warmup_steps": 2000, "grad_clip_norm": 1.0, "min_learning_rate": 4e-5,
      "optimizer": "adamw", "learning_rate": 4e-4, "weight_decay": 0.1, "adam_beta1": 0.9,
      "adam_beta2": 0.95},
     ["params_non_embedding"], ["model_name micro-llama-300M names a model"]),
    ("pretrain.yml", yaml.dump(AXOLOTL), "axolotl",
     {"train_steps": 200, "sequence_length": 2048, "optimizer": "adamw_bnb_8bit",
      "schedule": "cosine", "learning_rate": 2e-4, "weight_decay": 0.0, "warmup_steps": 20},
     ["params_non_embedding", "train_tokens"], ["the batch of one device: give n_devices"]),
    ("llama3_lora_pretrain.yaml", yaml.dump(LLAMA_FACTORY), "llamafactory",
     {"dataset": "c4_demo", "sequence_length": 2048, "learning_rate": 1e-4,
      "schedule": "cosine"},
     ["params_non_embedding", "train_tokens"], ["tells no tokens", "names a model"]),
    ("OLMo2-7B-stage1.yaml", yaml.dump(OLMO), "olmo",
     {"d_model": 4096, "n_heads": 32, "n_layers": 32, "d_ff": 11008, "sequence_length": 4096,
      "vocab_size": 100278, "optimizer": "adamw", "learning_rate": 3e-4, "weight_decay": 0.1,
      "adam_beta1": 0.9, "adam_beta2": 0.95, "adam_epsilon": 1e-8, "schedule": "cosine",
      "warmup_steps": 2000, "min_learning_rate": 3e-5, "batch_size_sequences": 1024,
      "grad_clip_norm": 1.0, "params_non_embedding": 6_476_005_376},
     ["train_tokens"], ["max_duration 1ep does not tell steps or tokens"]),
    ("config.json", json.dumps(TRANSFORMERS), "hf",
     {"n_layers": 22, "d_model": 2048, "d_ff": 5632, "n_heads": 32, "n_kv_heads": 4,
      "vocab_size": 32000, "params_non_embedding": 968_884_224},
     ["train_tokens"], []),
    ("mixtral.json", json.dumps(MIXTRAL), "hf",
     {"n_layers": 32, "d_model": 4096, "d_ff": 14336, "n_heads": 32, "n_kv_heads": 8,
      "vocab_size": 32000, "n_experts": 8, "experts_per_token": 2,
      "params_non_embedding": 46_439_333_888, "params_active_non_embedding": 12_616_466_432},
     ["train_tokens"], []),
    ("qwen_moe.json", json.dumps(QWEN_MOE), "hf",
     {"n_layers": 24, "d_model": 2048, "d_ff": 5632, "d_ff_expert": 1408,
      "d_ff_shared_expert": 5632, "n_heads": 16, "n_kv_heads": 16, "vocab_size": 151936,
      "n_experts": 60, "experts_per_token": 4, "params_non_embedding": 13_690_208_256,
      "params_active_non_embedding": 2_063_597_568},
     ["train_tokens"], []),
    ("deepseek.json", json.dumps(DEEPSEEK), "hf",
     {"n_layers": 61, "n_dense_layers": 3, "d_model": 7168, "d_ff": 18432, "d_ff_expert": 2048,
      "n_heads": 128, "n_kv_heads": 128, "vocab_size": 129280, "n_experts": 256,
      "n_shared_experts": 1, "experts_per_token": 8},
     ["params_non_embedding", "train_tokens"], ["go through a latent"]),
    ("nanotron_moe.yaml", yaml.dump(NANOTRON_MOE), "nanotron",
     {"n_layers": 36, "d_model": 64, "d_ff": 128, "n_heads": 16, "n_kv_heads": 2,
      "vocab_size": 128256, "n_experts": 4, "experts_per_token": 1, "sequence_length": 4096,
      "train_steps": 32000, "batch_size_sequences": 96, "train_tokens": 12_582_912_000},
     ["params_non_embedding"], ["the width of one expert is not told"]),
    ("tinyllama.yaml", yaml.dump(LITGPT_OLD), "litgpt",
     {"batch_size_sequences": 512, "train_tokens": 3e12, "learning_rate": 4e-4,
      "weight_decay": 0.1, "adam_beta1": 0.9, "adam_beta2": 0.95},
     ["params_non_embedding"], ["model.name tiny-llama-1.1b names a model"]),
    ("OLMo-20M.yaml", yaml.dump(OLMO_TINY), "olmo",
     {"d_model": 256, "n_heads": 8, "n_layers": 8, "d_ff": 1024, "sequence_length": 4096,
      "vocab_size": 50280, "optimizer": "adamw", "learning_rate": 3e-4, "weight_decay": 0.1,
      "adam_beta1": 0.9, "adam_beta2": 0.95, "adam_epsilon": 1e-8, "schedule": "cosine",
      "warmup_steps": 2000, "min_learning_rate": 3e-5, "batch_size_sequences": 1024,
      "grad_clip_norm": 1.0, "params_non_embedding": 8_388_608},
     ["train_tokens"], ["stop_at 400000 ends the run before"]),
    ("finetune.py", FINETUNE, "nanogpt",
     {"dataset": "shakespeare", "train_steps": 20, "learning_rate": 3e-5, "optimizer": "adamw",
      "schedule": "constant", "batch_size_sequences": 32},
     ["params_non_embedding", "train_tokens"], ["begins from trained weights"]),
    ("speedrun.sh", SPEEDRUN, "nanochat",
     {"n_layers": 20, "d_model": 1280, "d_ff": 5120, "params_non_embedding": 393_216_000},
     ["train_tokens"], ["counts parameters in nanochat's own way"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "program", "expected", "missing", "notes"), FILES, ids=[f[0] for f in FILES]
)
def test_a_public_file_gives_these_fields_and_asks_for_the_rest(
    tmp_path: Path, name: str, text: str, program: str, expected: dict[str, Any],
    missing: list[str], notes: list[str],
) -> None:  # fmt: skip
    (tmp_path / name).write_text(text)
    found = read_form(tmp_path / name)
    assert found.program == program
    assert found.config == pytest.approx(expected)
    assert [text.split()[0] for text in found.missing()] == missing
    for words in notes:
        assert any(words in note for note in found.notes), found.notes
