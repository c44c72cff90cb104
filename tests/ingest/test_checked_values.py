"""Forty declared and derived values, drawn with a seed, checked by hand against the originals.

Drawn over the shipped sources with random.Random(15): forty pairs of source and column, then one
run of each. Declared ones were looked up at the place their origin names; derived ones were
computed again from the original's numbers.
"""

from __future__ import annotations

from functools import cache

import pytest

from ncpl_data.catalog.complete import complete
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.declared import declare
from ncpl_data.ingest.sources import SOURCES

CHECKED = [
    ("colpret/datablations_8.7B_oscar_44epochs", "d_model", 4096),
    ("colpret/datablations_8.7B_oscar_1epochs", "is_ffn_gated", False),
    ("colpret/datablations_4.2B_oscar_44epochs", "train_flops", 2.0547227162039802e21),
    ("datablations/n421.2M_u1500M_d32000M", "attention", "multi_head"),
    ("datablations/n14.1M_u100M_d200M", "is_ffn_gated", False),
    ("gemstones/256x71_cooled_21465", "n_kv_heads", 1),
    ("gemstones/512x16_cooled_7155", "vocab_size", 50304),
    ("losscast/nanochat_d12_1B_mlr0.08_wd0.4_wr0.35", "params_active", 97517568),
    (
        "lr_scheduling/ann124-0.2_slimpajama_llama_norm_nlayers12_nhead12_lr0.001_sched_wsd_warmup300_decay_linear_0.2_iter15000_bs50x2_ws2_seed0_data_seed1337",
        "train_flops",
        8.26421280768e17,
    ),
    (
        "modded_nanogpt/track_3_optimization/results/20260506_trustlight/idea_10e_attnproj_bounded_trust_floor_soapish/seed_3/stdout",
        "activation",
        "relu2",
    ),
    (
        "modded_nanogpt/track_3_optimization/results/20260619_cwd_rowfloor_tailema/A40_seed3_96eb738e-d471-4494-840d-a01151427186",
        "attention",
        "multi_head",
    ),
    (
        "modded_nanogpt/track_3_optimization/results/20260508_muown/97782bd6-1339-430f-b870-0c7309fa5004@7",
        "d_model",
        768,
    ),
    (
        "modded_nanogpt/track_3_optimization/results/1bd8db7a-f3a3-4195-856d-cab7e0816443@7",
        "head_dim",
        128,
    ),
    (
        "modded_nanogpt/track_3_optimization/results/20260514_sinksoap/d0155dd0-f77d-48a9-8eb4-453f894b9476@8",
        "is_embedding_tied",
        False,
    ),
    (
        "modded_nanogpt/track_3_optimization/results/20260611_tailema_2730_submission/official_seed7",
        "is_ffn_gated",
        False,
    ),
    (
        "modded_nanogpt/track_3_optimization/results/20260611_tailema_2720_submission/d1db41d9-4ff2-495d-a2f7-e1887e456340",
        "n_layers",
        12,
    ),
    (
        "modded_nanogpt/track_3_optimization/results/20260507_pmuon/dc33458b-eff2-4032-a452-246f7e114057",
        "norm",
        "rmsnorm",
    ),
    (
        "modded_nanogpt/track_3_optimization/results/20260504_muloco_normuonh/e59a4af4-2914-44d6-adeb-75f624049ce5",
        "position_encoding",
        "rope",
    ),
    ("observational/Qwen/Qwen1.5-1.8B", "params_active", 1800000000),
    ("olmo_ladder/370M-0.5xC", "activation", "swiglu"),
    ("olmo_ladder/190M-10xC", "adam_epsilon", 1e-08),
    ("olmo_ladder/190M-1xC", "has_bias", False),
    ("olmo_ladder/370M-1xC", "is_embedding_tied", False),
    ("olmo_ladder/3B-5xC", "params_total", 3503508736),
    ("olmo_ladder/760M-1xC", "sequence_length", 4096),
    ("olmo_ladder/760M-5xC", "train_flops", 3.207712065133216e20),
    ("olmo_ladder/370M-5xC", "vocab_size", 100278),
    ("overtraining/rpj-d=1024_l=24_h=8-16.0", "d_ff", 2816),
    ("overtraining/rpj-d=576_l=24_h=8-0.5", "train_flops", 1.1419036790921626e18),
    (
        "parameter_golf/track_non_record_16mb/2026-04-04_GDN_Hybrid_LongContext/logs_experiment/baseline_1xh100_600s_seq16384",
        "params_active",
        17059912,
    ),
    ("quest/200M_98tpp_w16a16_HalfHadamardFP4TrustQuantizer", "params_active", 331966720),
    ("regmix/test_1B_0022", "grad_clip_norm", 1.0),
    ("regmix/train_1m_0449", "has_bias", False),
    ("regmix/test_60m_0182", "nominal_train_tokens", 1000000000),
    ("regmix/test_1m_0097", "params_total", 27133184),
    ("regmix/test_1B_0030", "warmup_steps", 1000),
    ("rig/60m-5tpp-bs16-lr2e-6-s1338", "train_flops", 1.06054847299584e17),
    ("scalebench/data_constrained_train_0058", "params_active", 421200000),
    ("scalebench/lr_bsz_train_0556", "train_flops", 3.22123776e19),
    (
        "steplaw/dense_h960_ffnh9368_numh15_numl7_lr3.906e-03_bs512_ti3814",
        "train_flops",
        5.481227696115548e18,
    ),
]


@cache
def runs_of(source: str) -> dict[str, Run]:
    """Return the shipped runs of a source, by id."""
    origin = next(o for o in SOURCES[source].origins if o.bundled_paths() is not None)
    items = origin.read(origin.bundled_paths() or {})
    return {item.run_id: item for item in items if isinstance(item, Run)}


@pytest.mark.parametrize(("run_id", "column", "value"), CHECKED)
def test_values_are_those_of_the_original(run_id: str, column: str, value: object) -> None:
    """As looked up or computed by hand, and with its place or rule."""
    run = complete(declare(runs_of(run_id.split("/", maxsplit=1)[0])[run_id]))
    assert getattr(run, column) == pytest.approx(value)
    origin = (run.origins or {})[column]
    kind = origin if isinstance(origin, str) else origin["kind"]
    assert kind in ("declared", "derived")


def test_forty_were_drawn() -> None:
    """From fifteen sources; none twice."""
    assert len(set(CHECKED)) == 40
    assert len({run_id.split("/")[0] for run_id, _, _ in CHECKED}) == 15


T3 = "modded_nanogpt/track_3_optimization/results"
T1 = "modded_nanogpt/track_1_short"
RECIPES = [
    (f"{T3}/20260514_sinksoap/d0155dd0-f77d-48a9-8eb4-453f894b9476@7", "optimizer", "sinksoap"),
    (
        f"{T3}/20260522_ema_nesterov_muon/4d9e83d4-4e3f-43d3-8aae-e3a9031586be@18",
        "learning_rate",
        0.035,
    ),
    (f"{T3}/20260518_soda_fade_3000_n9/batch_combined_stdout@6", "weight_decay", 0.025),
    (
        f"{T3}/20260509_contra_muon_split_cooldown/8182c0e7-81c7-4182-995c-0ee284d806f0",
        "schedule",
        "wsd",
    ),
    (
        f"{T3}/20260518_soda_fade_3000_n9/stdout/soda_fade_official_seed7_20260518_163819",
        "warmup_steps",
        0,
    ),
    (
        f"{T3}/20260509_contra_muon_split_cooldown/32010038-22a6-45e7-b450-8baf8209a51c",
        "decay_steps",
        2540,
    ),
    (
        f"{T1}/2025-09-27_BF16CE/559a562e-aaa1-46ef-aa6a-06f46a3b019d",
        "min_learning_rate",
        0.005,
    ),
    (
        f"{T1}/2024-12-08_UNetValueEmbedsTweaks/93406931-1cc4-419c-b7a7-adef928d4c54",
        "batch_size_sequences",
        8,
    ),
    (f"{T3}/20260508_muown/a26c8aa2-993d-443f-b931-845724d07015@30", "learning_rate", 0.00325),
    (
        f"{T3}/20260509_contra_soft_muon/18b5ac94-fbec-4809-b599-5abf453bb08a",
        "decay_steps",
        2321,
    ),
    (f"{T3}/20260507_pmuon/54fc0541-7a62-4772-a8f8-d3a46ad10dba", "schedule", "wsd"),
    (f"{T3}/a63a68d1-24aa-4a22-af9a-224e43209ea4", "warmup_steps", 250),
]
"""Twelve more of the recipes, drawn with random.Random(16), looked up in the script of each log."""


@pytest.mark.parametrize(("run_id", "column", "value"), RECIPES)
def test_recipes_are_those_of_the_logs_own_script(run_id: str, column: str, value: object) -> None:
    """Declared, with the folder or log they stand in."""
    run = complete(declare(runs_of(run_id.split("/", maxsplit=1)[0])[run_id]))
    assert getattr(run, column) == value
    assert "KellerJordan/modded-nanogpt records/" in (run.origins or {})[column]["evidence"]
