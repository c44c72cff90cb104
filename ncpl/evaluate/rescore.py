"""A bundle scored on a snapshot: what its card then says."""

from __future__ import annotations

from ncpl.data.snapshot import Runs, Snapshot
from ncpl.evaluate.forms import form_table, group_table
from ncpl.evaluate.scores import coverage_table, curve_table, plain, risk_table, score_table
from ncpl.model.bundle import Bundle


def rescore(bundle: Bundle, snapshot: Snapshot, runs: Runs) -> None:
    """Put the scores on this snapshot's held-out runs on the bundle's card."""
    bundle.about["scored_on"] = snapshot.id
    bundle.about["scored_split"] = snapshot.policy
    bundle.about["scores"] = plain(score_table(bundle, runs))
    bundle.about["curve_scores"] = plain(curve_table(bundle, snapshot, runs))
    bundle.about["coverage"] = plain(coverage_table(bundle, runs))
    if bundle.config.calibration_folds:  # else no form was calibrated
        bundle.about["forms"] = plain(form_table(bundle, runs))
    bundle.about["groups"] = plain(group_table(bundle, runs))
    bundle.about["divergence"] = plain(risk_table(bundle, runs))
