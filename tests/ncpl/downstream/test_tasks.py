import numpy as np
import pytest

from ncpl.downstream.tasks import choose, task_of
from ncpl.errors import ConfigError


@pytest.mark.parametrize(
    ("raw", "kind", "source", "name", "what", "chance", "n_examples", "n_shots"),
    [
        ("hellaswag", "accuracy", "", "hellaswag", "accuracy", 0.25, 10042, None),
        ("hellaswag_0shot", "accuracy", "marin", "hellaswag", "accuracy", 0.25, 10042, 0),
        ("hellaswag_0_shot", "acc", "overtraining", "hellaswag.0shot", "accuracy", 0.25, 10042, 0),
        ("hellaswag", "accuracy", "overtraining", "hellaswag", "accuracy", 0.25, 10042, 10),
        ("arc_easy_test_mc", "acc", "", "arc_easy.test.mc", "accuracy", 0.25, 2376, None),
        ("csqa_val_rc", "len_norm", "", "commonsense_qa.val.rc", "accuracy_norm", 0.2, 1221, None),
        ("csqa_val_rc", "bpb", "", "commonsense_qa.val.rc", "loss_bits_per_byte", None, 1221, None),
        ("commonsense_qa", "acc", "overtraining", "commonsense_qa", "accuracy", 0.25, 1221, 10),
        ("mmlu_stem_mc_5shot_test", "acc", "", "mmlu_stem.test.mc", "accuracy", 0.25, 3153, 5),
        ("ARC-C", "accuracy", "", "arc_challenge", "accuracy", 0.25, 1172, None),
        ("wsc273", "accuracy", "", "winograd", "accuracy", 0.5, 273, None),
        ("made_up", "accuracy", "", "made_up", "accuracy", None, None, None),
    ],
)  # fmt: skip
def test_names_of_sources_become_canonical(
    raw, kind, source, name, what, chance, n_examples, n_shots
):
    task = task_of(raw, kind, source=source)
    assert (task.name, task.kind, task.chance) == (name, what, chance)
    assert (task.n_examples, task.n_shots) == (n_examples, n_shots)


def test_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="'f1' is no kind of metric; expected one of accuracy"):
        task_of("squad", "f1")


def test_binomial_noise_of_a_share():
    task = task_of("copa", "accuracy")
    assert task.noise(0.5) == pytest.approx(0.05)
    assert task.emerged_above() == pytest.approx(0.5 + 1.96 * 0.05)
    assert task_of("copa", "ce_loss").noise(1.2) == 0.0
    assert task_of("made_up", "accuracy").noise(0.5) == 0.0


def test_bare_name_stands_for_all_its_forms_scored_as_accuracy():
    kinds = ("len_norm", "bpb", "soft")
    tasks = [task_of(f"arc_easy_{s}_rc", k) for s in ("test", "val") for k in kinds]
    assert [tasks[i].id for i in choose("arc_easy", tasks)] == [
        "arc_easy.test.rc:accuracy_norm",
        "arc_easy.val.rc:accuracy_norm",
    ]
    first = choose("ARC-E:bpb", tasks)[0]
    assert tasks[first].id == "arc_easy.test.rc:loss_bits_per_byte"
    with pytest.raises(ConfigError, match="no task 'arc_eazy' here; near it: arc_easy"):
        choose("arc_eazy", tasks)


def test_emerged_is_above_a_guess_and_its_noise():
    from ncpl.downstream.methods import above_chance

    tasks = [task_of("piqa", "accuracy"), task_of("squad", "accuracy")]
    values = np.array([[0.51, 0.0], [0.6, 0.01]])
    assert above_chance(values, tasks).tolist() == [[False, False], [True, True]]
