"""What each program calls a field of ours, and by which names a program is told.

Read from the programs' own documentation and example files: transformers 4.57, nanoGPT, nanochat,
Megatron-LM, torchtitan, nanotron, litgpt, axolotl, LLaMA-Factory, OLMo and OLMo-core. A name that
begins with "_" is no field but something one follows from (see understand.py).
"""

from __future__ import annotations

from collections.abc import Mapping

Names = Mapping[str, str]

COMMON: Names = {
    "lr": "learning_rate", "max_lr": "learning_rate", "peak_lr": "learning_rate",
    "wd": "weight_decay", "beta1": "adam_beta1", "beta2": "adam_beta2",
    "betas.0": "adam_beta1", "betas.1": "adam_beta2", "eps": "adam_epsilon",
    "grad_clip": "grad_clip_norm", "clip_grad": "grad_clip_norm",
    "max_grad_norm": "grad_clip_norm", "optim": "optimizer", "opt": "optimizer",
    "scheduler": "schedule", "lr_schedule": "schedule", "lr_scheduler": "schedule",
    "warmup": "_warmup", "warmup_steps": "_warmup", "warmup_iters": "warmup_steps",
    "warmup_ratio": "_warmup_ratio", "min_lr": "min_learning_rate",
    "final_lr": "min_learning_rate", "min_lr_ratio": "_min_ratio",
    "batch_size": "batch_size_sequences", "global_batch_size": "batch_size_sequences",
    "bs": "batch_size_sequences", "bsz": "batch_size_sequences", "batch_tokens": "_batch_tokens",
    "batch_size_tokens": "_batch_tokens", "seq_len": "sequence_length",
    "seq_length": "sequence_length", "seqlen": "sequence_length",
    "context_length": "sequence_length", "block_size": "sequence_length",
    "steps": "train_steps", "max_steps": "train_steps", "num_steps": "train_steps",
    "total_steps": "train_steps", "max_iters": "train_steps", "num_iterations": "train_steps",
    "tokens": "train_tokens", "n_tokens": "train_tokens", "total_tokens": "train_tokens",
    "num_layers": "n_layers", "n_layer": "n_layers", "layers": "n_layers",
    "num_hidden_layers": "n_layers", "hidden_size": "d_model", "hidden_dim": "d_model",
    "n_embd": "d_model", "dim": "d_model", "width": "d_model", "intermediate_size": "d_ff",
    "ffn_hidden_size": "d_ff", "ffn_dim": "d_ff", "num_heads": "n_heads",
    "num_attention_heads": "n_heads", "n_head": "n_heads", "num_kv_heads": "n_kv_heads",
    "num_key_value_heads": "n_kv_heads", "vocab": "vocab_size",
    "tie_word_embeddings": "is_embedding_tied", "is_embedding_tied": "is_embedding_tied",
    "n_params": "_params", "num_params": "_params",
    "params": "_params", "parameters": "_params", "model_size": "_params",
    "n_devices": "_devices", "gpus": "_devices",
    "n_gpus": "_devices", "world_size": "_devices", "num_experts": "n_experts",
    "num_local_experts": "n_experts", "num_experts_per_tok": "experts_per_token",
    "run": "run_id", "run_name": "run_id",
}  # fmt: skip
HF_MODEL: Names = {
    "model_type": "_model_type", "num_hidden_layers": "n_layers", "n_layer": "n_layers",
    "hidden_size": "d_model", "n_embd": "d_model", "intermediate_size": "d_ff", "n_inner": "d_ff",
    "num_attention_heads": "n_heads", "n_head": "n_heads", "num_key_value_heads": "n_kv_heads",
    "head_dim": "head_dim", "vocab_size": "vocab_size",
    "tie_word_embeddings": "is_embedding_tied", "num_local_experts": "n_experts",
    "num_experts": "n_experts", "n_routed_experts": "n_experts",
    "num_experts_per_tok": "experts_per_token", "moe_intermediate_size": "d_ff_expert",
    "shared_expert_intermediate_size": "d_ff_shared_expert",
    "n_shared_experts": "n_shared_experts", "first_k_dense_replace": "n_dense_layers",
    "decoder_sparse_step": "_sparse_step", "kv_lora_rank": "_latent",
}  # fmt: skip
HF_ARGUMENTS: Names = {
    "learning_rate": "learning_rate", "per_device_train_batch_size": "_micro",
    "gradient_accumulation_steps": "_accumulation", "max_steps": "_steps_if_positive",
    "warmup_steps": "_warmup_up", "warmup_ratio": "_warmup_ratio_up",
    "lr_scheduler_type": "schedule", "weight_decay": "weight_decay", "adam_beta1": "adam_beta1",
    "adam_beta2": "adam_beta2", "adam_epsilon": "adam_epsilon", "max_grad_norm": "grad_clip_norm",
    "optim": "optimizer", "num_train_epochs": "_epochs",
    "lr_scheduler_kwargs.min_lr": "min_learning_rate",
    "lr_scheduler_kwargs.min_lr_rate": "_min_ratio",
}  # fmt: skip
NANOGPT: Names = {
    "batch_size": "_micro", "gradient_accumulation_steps": "_accumulation_of_all",
    "block_size": "sequence_length", "max_iters": "train_steps", "lr_decay_iters": "_decay_until",
    "learning_rate": "learning_rate", "weight_decay": "weight_decay", "beta1": "adam_beta1",
    "beta2": "adam_beta2", "grad_clip": "grad_clip_norm", "warmup_iters": "warmup_steps",
    "min_lr": "min_learning_rate", "n_layer": "n_layers", "n_head": "n_heads",
    "n_embd": "d_model", "decay_lr": "_decays", "dataset": "dataset", "init_from": "_init_from",
}  # fmt: skip
NANOCHAT: Names = {
    "depth": "n_layers", "max_seq_len": "sequence_length", "total_batch_size": "_batch_tokens",
    "num_iterations": "_steps_if_positive", "weight_decay": "weight_decay",
    "matrix_lr": "learning_rate", "warmup_ratio": "_warmup_ratio", "warmup_steps": "warmup_steps",
    "warmdown_ratio": "_decay_ratio", "final_lr_frac": "_min_ratio", "aspect_ratio": "_aspect",
    "head_dim": "head_dim", "target_param_data_ratio": "_data_ratio",
}  # fmt: skip
MEGATRON: Names = {
    "num_layers": "n_layers", "hidden_size": "d_model", "ffn_hidden_size": "d_ff",
    "num_attention_heads": "n_heads", "num_query_groups": "n_kv_heads",
    "kv_channels": "head_dim", "swiglu": "_is_gated", "seq_length": "sequence_length",
    "global_batch_size": "batch_size_sequences", "micro_batch_size": "_micro",
    "data_parallel_size": "_devices", "train_iters": "train_steps",
    "train_samples": "_train_samples", "lr": "learning_rate", "min_lr": "min_learning_rate",
    "lr_decay_style": "schedule", "lr_warmup_iters": "warmup_steps",
    "lr_warmup_fraction": "_warmup_ratio_of_decay", "lr_warmup_samples": "_warmup_samples",
    "lr_decay_iters": "_decay_until", "lr_wsd_decay_iters": "decay_steps",
    "weight_decay": "weight_decay", "adam_beta1": "adam_beta1", "adam_beta2": "adam_beta2",
    "adam_eps": "adam_epsilon", "clip_grad": "grad_clip_norm", "optimizer": "_optimizer_megatron",
    "num_experts": "n_experts", "moe_router_topk": "experts_per_token",
    "moe_ffn_hidden_size": "d_ff_expert", "moe_layer_freq": "_sparse_step",
    "moe_shared_expert_intermediate_size": "d_ff_shared_expert",
    "multi_latent_attention": "_latent",
    "vocab_size": "vocab_size", "rampup_batch_size": "_ramp",
}  # fmt: skip
TORCHTITAN: Names = {
    "optimizer.name": "optimizer", "optimizer.lr": "learning_rate",
    "optimizer.eps": "adam_epsilon", "optimizer.beta1": "adam_beta1",
    "optimizer.beta2": "adam_beta2", "optimizer.weight_decay": "weight_decay",
    "lr_scheduler.warmup_steps": "warmup_steps", "training.warmup_steps": "warmup_steps",
    "lr_scheduler.decay_ratio": "_decay_ratio", "lr_scheduler.decay_type": "_decay_type",
    "lr_scheduler.lr_decay_type": "_decay_type", "lr_scheduler.min_lr_factor": "_min_ratio",
    "lr_scheduler.lr_min": "_min_ratio", "training.max_norm": "grad_clip_norm",
    "training.global_batch_size": "_batch_if_positive", "training.local_batch_size": "_micro",
    "training.batch_size": "_micro", "training.seq_len": "sequence_length",
    "training.steps": "train_steps", "training.dataset": "dataset", "model.flavor": "_flavor",
    "model.name": "_model_name",
    "parallelism.data_parallel_shard_degree": "_devices_if_positive",
    "parallelism.data_parallel_replicate_degree": "_replicas",
}  # fmt: skip
NANOTRON: Names = {
    "model.model_config.hidden_size": "d_model",
    "model.model_config.intermediate_size": "d_ff",
    "model.model_config.num_attention_heads": "n_heads",
    "model.model_config.num_key_value_heads": "n_kv_heads",
    "model.model_config.num_hidden_layers": "n_layers",
    "model.model_config.vocab_size": "vocab_size",
    "model.model_config.tie_word_embeddings": "is_embedding_tied",
    "model.model_config.moe_config.num_experts": "n_experts",
    "model.model_config.moe_config.top_k": "experts_per_token",
    "model.model_config.moe_config.moe_intermediate_size": "d_ff_expert",
    "optimizer.learning_rate_scheduler.learning_rate": "learning_rate",
    "optimizer.learning_rate_scheduler.lr_decay_style": "schedule",
    "optimizer.learning_rate_scheduler.lr_warmup_steps": "warmup_steps",
    "optimizer.learning_rate_scheduler.lr_decay_steps": "decay_steps",
    "optimizer.learning_rate_scheduler.lr_decay_starting_step": "_decay_from",
    "optimizer.learning_rate_scheduler.min_decay_lr": "min_learning_rate",
    "optimizer.weight_decay": "weight_decay", "optimizer.clip_grad": "grad_clip_norm",
    "optimizer.adam_beta1": "adam_beta1", "optimizer.adam_beta2": "adam_beta2",
    "optimizer.adam_eps": "adam_epsilon", "optimizer.optimizer_factory.adam_beta1": "adam_beta1",
    "optimizer.optimizer_factory.adam_beta2": "adam_beta2",
    "optimizer.optimizer_factory.adam_eps": "adam_epsilon",
    "optimizer.optimizer_factory.name": "optimizer", "tokens.micro_batch_size": "_micro",
    "tokens.batch_accumulation_per_replica": "_accumulation",
    "tokens.sequence_length": "sequence_length", "tokens.train_steps": "train_steps",
    "parallelism.dp": "_devices",
}  # fmt: skip
LITGPT: Names = {
    "model_name": "_model_name", "model.name": "_model_name", "model_config.n_layer": "n_layers",
    "model_config.head_size": "head_dim", "model_config.n_expert": "n_experts",
    "model_config.n_expert_per_token": "experts_per_token",
    "model_config.moe_intermediate_size": "d_ff_expert", "train.learning_rate": "learning_rate",
    "train.weight_decay": "weight_decay", "train.beta1": "adam_beta1", "train.beta2": "adam_beta2",
    "model_config.n_embd": "d_model", "model_config.n_head": "n_heads",
    "model_config.n_query_groups": "n_kv_heads", "model_config.intermediate_size": "d_ff",
    "model_config.mlp_class_name": "_mlp_class", "model_config.padded_vocab_size": "vocab_size",
    "model_config.block_size": "_context", "train.global_batch_size": "batch_size_sequences",
    "train.max_tokens": "train_tokens", "train.max_steps": "train_steps",
    "train.max_seq_length": "sequence_length", "train.lr_warmup_steps": "warmup_steps",
    "train.lr_warmup_fraction": "_warmup_ratio", "train.min_lr": "min_learning_rate",
    "train.max_norm": "grad_clip_norm", "optimizer.class_path": "_class_path",
    "optimizer.init_args.lr": "learning_rate",
    "optimizer.init_args.weight_decay": "weight_decay",
    "optimizer.init_args.betas.0": "adam_beta1", "optimizer.init_args.betas.1": "adam_beta2",
    "optimizer": "optimizer",
}  # fmt: skip
AXOLOTL: Names = {
    "base_model": "_model_name", "sequence_len": "sequence_length", "micro_batch_size": "_micro",
    "gradient_accumulation_steps": "_accumulation", "learning_rate": "learning_rate",
    "lr_scheduler": "schedule", "optimizer": "optimizer", "warmup_steps": "_warmup_up",
    "warmup_ratio": "_warmup_ratio_up", "weight_decay": "weight_decay", "max_steps": "train_steps",
    "num_epochs": "_epochs", "adam_beta1": "adam_beta1", "adam_beta2": "adam_beta2",
    "adam_epsilon": "adam_epsilon", "max_grad_norm": "grad_clip_norm",
    "cosine_min_lr_ratio": "_min_ratio",
}  # fmt: skip
LLAMAFACTORY: Names = {
    **HF_ARGUMENTS, "model_name_or_path": "_model_name", "cutoff_len": "sequence_length",
    "dataset": "dataset", "stage": "_stage",
}  # fmt: skip
OLMO: Names = {
    "model.d_model": "d_model", "model.n_heads": "n_heads", "model.n_layers": "n_layers",
    "model.n_kv_heads": "n_kv_heads", "model.mlp_ratio": "_ffn_multiple",
    "model.mlp_hidden_size": "_mlp_hidden", "model.activation_type": "_activation",
    "model.max_sequence_length": "sequence_length", "model.vocab_size": "vocab_size",
    "model.weight_tying": "is_embedding_tied", "optimizer.name": "_optimizer_olmo",
    "optimizer.learning_rate": "learning_rate", "optimizer.weight_decay": "weight_decay",
    "optimizer.betas.0": "adam_beta1", "optimizer.betas.1": "adam_beta2",
    "optimizer.eps": "adam_epsilon", "scheduler.name": "_scheduler_olmo",
    "scheduler.t_warmup": "_warmup_tokens_or_steps", "scheduler.units": "_units",
    "scheduler.alpha_f": "_min_ratio", "global_train_batch_size": "batch_size_sequences",
    "max_duration": "_duration_olmo", "stop_at": "_stop_at", "max_grad_norm": "grad_clip_norm",
}  # fmt: skip
OLMO_CORE: Names = {
    "optim.lr": "learning_rate", "optim.weight_decay": "weight_decay",
    "optim.betas.0": "adam_beta1", "optim.betas.1": "adam_beta2", "optim.eps": "adam_epsilon",
    "train_module.max_grad_norm": "grad_clip_norm", "scheduler.warmup_steps": "warmup_steps",
    "train_module.optim.lr": "learning_rate", "train_module.optim.weight_decay": "weight_decay",
    "train_module.optim.betas.0": "adam_beta1", "train_module.optim.betas.1": "adam_beta2",
    "train_module.scheduler.warmup_steps": "warmup_steps",
    "train_module.scheduler.alpha_f": "_min_ratio",
    "scheduler.warmup_fraction": "_warmup_ratio", "scheduler.alpha_f": "_min_ratio",
    "data_loader.global_batch_size": "_batch_tokens",
    "dataset.sequence_length": "sequence_length", "model.n_layers": "n_layers",
    "model.d_model": "d_model", "model.vocab_size": "vocab_size",
    "model.block.feed_forward.hidden_size": "d_ff", "model.block.attention.n_heads": "n_heads",
    "model.block.attention.n_kv_heads": "n_kv_heads",
    "trainer.max_duration.value": "_duration_value", "trainer.max_duration.unit": "_duration_unit",
}  # fmt: skip

TABLES: Mapping[str, Names] = {
    "hf": {**HF_MODEL, **HF_ARGUMENTS, "world_size": "_devices"},
    "nanogpt": NANOGPT,
    "nanochat": NANOCHAT,
    "megatron": MEGATRON,
    "torchtitan": TORCHTITAN,
    "nanotron": NANOTRON,
    "litgpt": LITGPT,
    "axolotl": AXOLOTL,
    "llamafactory": LLAMAFACTORY,
    "olmo": OLMO,
    "olmo_core": OLMO_CORE,
    "own": COMMON,
}
SIGNS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("tokens.micro_batch_size",), "nanotron"),
    (("tokens.sequence_length", "tokens.train_steps"), "nanotron"),
    (("training.seq_len",), "torchtitan"),
    (("training.local_batch_size",), "torchtitan"),
    (("model.flavor",), "torchtitan"),
    (("data_loader.global_batch_size",), "olmo_core"),
    (("model.d_model", "global_train_batch_size"), "olmo"),
    (("model.d_model", "optimizer.learning_rate"), "olmo"),
    (("train.global_batch_size",), "litgpt"),
    (("train.micro_batch_size",), "litgpt"),
    (("base_model", "sequence_len"), "axolotl"),
    (("base_model", "micro_batch_size"), "axolotl"),
    (("model_name_or_path", "cutoff_len"), "llamafactory"),
    (("model_name_or_path", "finetuning_type"), "llamafactory"),
    (("depth", "total_batch_size"), "nanochat"),
    (("depth", "device_batch_size"), "nanochat"),
    (("depth", "target_param_data_ratio"), "nanochat"),
    (("num_layers", "hidden_size", "num_attention_heads"), "megatron"),
    (("lr_decay_style",), "megatron"),
    (("train_iters",), "megatron"),
    (("per_device_train_batch_size",), "hf"),
    (("num_hidden_layers", "hidden_size"), "hf"),
    (("model_type", "vocab_size"), "hf"),
    (("architectures.0",), "hf"),
    (("lr_scheduler_type", "optim"), "hf"),
    (("block_size", "max_iters"), "nanogpt"),
    (("block_size", "n_embd"), "nanogpt"),
    (("n_layer", "n_head", "n_embd", "gradient_accumulation_steps"), "nanogpt"),
    (("max_iters", "gradient_accumulation_steps"), "nanogpt"),
    (("always_save_checkpoint",), "nanogpt"),
)
"""Names that stand together in the files of one program only, the most telling first."""
TITLES = {
    "hf": "transformers", "nanogpt": "nanoGPT", "nanochat": "nanochat", "megatron": "Megatron-LM",
    "torchtitan": "torchtitan", "nanotron": "nanotron", "litgpt": "litgpt", "axolotl": "axolotl",
    "llamafactory": "LLaMA-Factory", "olmo": "OLMo", "olmo_core": "OLMo-core",
    "own": "names of this project",
}  # fmt: skip
GATED_TYPES = frozenset(
    [
        "llama",
        "mistral",
        "mixtral",
        "qwen2",
        "qwen3",
        "gemma",
        "gemma2",
        "gemma3",
        "gemma3_text",
        "olmo",
        "olmo2",
        "olmo3",
        "phi3",
        "smollm3",
        "stablelm",
        "granite",
        "cohere",
        "deepseek_v2",
        "deepseek_v3",
        "internlm2",
        "starcoder2_gated",
        "qwen2_moe",
        "qwen3_moe",
        "olmoe",
    ]
)
PLAIN_TYPES = frozenset(
    ["gpt2", "gpt_neox", "gpt_neo", "gptj", "opt", "bloom", "phi", "falcon", "starcoder2", "mpt"]
)
"""Model types of transformers with, and without, a gate in the feed-forward layers."""


def program_of(values: Mapping[str, object]) -> str:
    """Return whose file has these names; "own" where no program's do."""
    return next((name for keys, name in SIGNS if all(k in values for k in keys)), "own")
