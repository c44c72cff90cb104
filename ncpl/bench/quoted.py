"""Published numbers on the same split: quoted, never recomputed, and marked as such."""

from __future__ import annotations

from dataclasses import dataclass

PAPER = "NCPL paper (arXiv 2602.10300), table 1"
FIGURES = "NCPL paper, figures: another checkpoint than table 1"
LOSSCAST = "dangxingyu/losscast-bench"


@dataclass(frozen=True)
class Quoted:
    """One published row; None where the source gives no number."""

    source: str
    split: str
    method: str
    where: str
    mae: float | None = None
    rmse: float | None = None
    spearman: float | None = None
    choice_gap_percent: float | None = None
    saw_test: str = "not stated"


_NCPL = "NCPL, Qwen3-1.7B fine-tuned"
_SCRATCH = "NCPL, Qwen3-1.7B from scratch"
_SMALL = "NCPL, 135M from scratch"
_TREES = "LossCast-Bench trees"
_BLEND = "yes: blend weight chosen on the OOD rows"
_LAW_SEES = "yes: fitted on every group"

QUOTED: tuple[Quoted, ...] = (
    Quoted("steplaw", "id", _NCPL, FIGURES, 0.0097, 0.0155, 0.996, 0.08),
    Quoted("steplaw", "ood", _NCPL, PAPER, 0.0223, 0.0345, 0.984, 0.42),
    Quoted("steplaw", "ood", _SCRATCH, PAPER, 0.0225, 0.0313, 0.988),
    Quoted("steplaw", "ood", _SMALL, PAPER, 0.0199, 0.0284, 0.991),
    Quoted("steplaw", "ood", "XGBoost of the paper", PAPER, 0.0246, 0.0332, 0.986),
    Quoted("steplaw", "id", "Chinchilla of the paper", FIGURES, 0.0704),
    Quoted("steplaw", "ood", "Chinchilla of the paper", PAPER, 0.0440, 0.0670, 0.914),
    Quoted("steplaw", "ood", _TREES, LOSSCAST, 0.0169, 0.0278, 0.988, saw_test=_BLEND),
    Quoted(
        "steplaw", "id", "Step Law of the paper", PAPER, choice_gap_percent=0.18, saw_test=_LAW_SEES
    ),
    Quoted(
        "steplaw",
        "ood",
        "Step Law of the paper",
        PAPER,
        choice_gap_percent=0.09,
        saw_test=_LAW_SEES,
    ),
    Quoted("marin", "id", _NCPL, FIGURES, 0.0114, 0.0181, 0.979),
    Quoted("marin", "ood", _NCPL, PAPER, 0.0168, 0.0239, 0.930),
    Quoted("marin", "ood", _SCRATCH, PAPER, 0.0207, 0.0301, 0.932),
    Quoted("marin", "ood", _SMALL, PAPER, 0.0266, 0.0347, 0.942),
    Quoted("marin", "ood", "XGBoost of the paper", PAPER, 0.0325, 0.0375, 0.923),
    Quoted("marin", "id", "Chinchilla of the paper", FIGURES, 0.0566),
    Quoted("marin", "ood", "Chinchilla of the paper", PAPER, 0.0240, 0.0326, 0.767),
    Quoted("marin", "ood", _TREES, LOSSCAST, 0.0157, 0.0228, 0.925, saw_test=_BLEND),
)


SCALEBENCH_PAPER = "ScaleBench (arXiv 2604.22753), table 2, mean over ten laws"


@dataclass(frozen=True)
class QuotedShare:
    """One published row of ScaleBench's learning-rate and batch task."""

    method: str
    r2: tuple[float, float, float]
    """At 1, 5 and 10% of the pool's compute."""
    where: str = SCALEBENCH_PAPER


SCALEBENCH: tuple[QuotedShare, ...] = (
    QuotedShare("theirs", (-0.66, 0.00, 0.22)),
    QuotedShare("V-opt", (-0.70, -0.06, 0.18)),
    QuotedShare("D-opt", (-0.92, -0.66, -0.53)),
    QuotedShare("random", (-0.65, -0.45, -0.33)),
    QuotedShare("cost rand", (-0.89, -0.79, -0.79)),
    QuotedShare("cheapest", (-0.92, -0.88, -0.80)),
)


@dataclass(frozen=True)
class QuotedCurve:
    """One published row of LossCast-Bench's NCPL-OOD part, 1,109 runs."""

    method: str
    huber: float
    r2: float
    mape: float
    curve_mae: float
    final_mae: float
    final_spearman: float
    where: str = "dangxingyu/losscast-bench 7ab8291c, README, Baselines"


LOSSCAST_OOD: tuple[QuotedCurve, ...] = (
    QuotedCurve("chinchilla", 0.003721, 0.70, 0.1358, 0.3771, 0.3852, 0.529),
    QuotedCurve("chinchilla_refit", 0.002449, 0.78, 0.0812, 0.2498, 0.2890, 0.534),
    QuotedCurve("xgboost", 0.000502, 0.96, 0.0176, 0.0549, 0.0417, 0.980),
    QuotedCurve("xgboost_v2", 0.000451, 0.96, 0.0156, 0.0497, 0.0360, 0.973),
    QuotedCurve("xgboost_ensemble", 0.000492, 0.96, 0.0171, 0.0539, 0.0555, 0.986),
    QuotedCurve("pca_xgboost", 0.000700, 0.88, 0.0201, 0.0745, 0.0225, 0.987),
    QuotedCurve("two_stage", 0.000706, 0.95, 0.0250, 0.0754, 0.0653, 0.974),
    QuotedCurve("mlp", 0.000720, 0.95, 0.0251, 0.0767, 0.0557, 0.980),
    QuotedCurve("xgboost_ultimate", 0.000547, 0.94, 0.0164, 0.0591, 0.0165, 0.993),
)
