"""Text logs that print one line a step: modded-nanogpt, nanochat, nanoGPT, llm.c."""

from __future__ import annotations

import ast
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.base import (
    SEQUENCE_LENGTH,
    TRAIN_STEPS,
    Draft,
    Options,
    read_config,
)

NUMBER = r"([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|(?i:nan|inf)))"
LINES: tuple[tuple[str, str], ...] = (
    # modded-nanogpt: step:125/3350 val_loss:4.66393 train_time:22.870s
    (rf"step:(?P<step>\d+)/(?P<of>\d+) val_loss:{NUMBER}", "validation/loss"),
    (rf"step:(?P<step>\d+)/(?P<of>\d+) (?:train_)?loss:{NUMBER}", "train/loss"),
    # nanochat: step 00010/21400 (0.05%) | loss: 8.123456 | ..., Step 00250 | Validation bpb: 1.23;
    # with a time budget: step 00010 (0.4%) | loss: 8.123456
    (rf"step (?P<step>\d+)/(?P<of>\d+) .*?\| loss: {NUMBER}", "train/loss_smoothed"),
    (rf"step (?P<step>\d+) \([\d.]+%\) \| loss: {NUMBER}", "train/loss_smoothed"),
    (rf"Step (?P<step>\d+) \| Validation bpb: {NUMBER}", "validation/bpb"),
    # llm.c: step 1/19560 | loss 11.009 (..); its main.log: s:1 trl:11.0090 ..., s:250 tel:6.4321
    (rf"step\s+(?P<step>\d+)/(?P<of>\d+) \| (?:train )?loss {NUMBER}", "train/loss"),
    (rf"^s:(?P<step>\d+) trl:{NUMBER}", "train/loss"),
    (rf"^s:(?P<step>\d+) tel:{NUMBER}", "validation/loss"),
    # nanoGPT: iter 100: loss 3.21, time ..; step 500: train loss 3.2, val loss 3.3
    (rf"iter (?P<step>\d+): loss {NUMBER}", "train/loss"),
    (rf"step (?P<step>\d+): train loss \S+, val loss {NUMBER}", "validation/loss"),
)
PATTERNS = tuple((re.compile(pattern), metric) for pattern, metric in LINES)
PRIMARY = ("validation/loss", "validation/bpb", "train/loss_smoothed", "train/loss")
SMOOTHING = {"train/loss_smoothed": "exponential moving average"}

SETTING = re.compile(
    r"^\s*(?P<name>[a-z_]\w*)\s*(?::\s*\w+\s*)?=\s*(?P<value>[^#=\n]+?),?\s*(?:#\s*(?P<note>.*))?$"
)
BATCH_NAMES = ("batch_size", "train_batch_size", "total_batch_size")


def read(path: str, options: Options) -> Iterator[dict[str, Any]]:
    """Yield the run of one log file, or one run a file of a folder (.txt, .log, .out).

    The settings a modded-nanogpt log prints first (the training script) are read as text: only
    plain numbers and products of numbers. A batch size counts only if its comment says whether
    it is in sequences or tokens.
    """
    root = Path(path)
    if root.is_dir():
        paths = sorted(p for p in root.rglob("*") if p.suffix in (".txt", ".log", ".out"))
    else:
        paths = [root]
    if not paths:
        raise InputError(f"{path} holds no log; expected files that end in .txt, .log or .out")
    stems = Counter(log.stem for log in paths)
    for log in paths:
        name = log.stem
        if stems[name] > 1:  # out/a/log.txt and out/b/log.txt: the folder tells them apart
            name = "-".join(log.relative_to(root).with_suffix("").parts)
        yield read_log(log, Draft(options, name))


def read_log(path: Path, draft: Draft) -> dict[str, Any]:
    """Return the run of one log."""
    settings: dict[str, Any] = {}
    notes: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if read_step(draft, line):
                    continue
                match = None if draft.curves else SETTING.match(line)
                value = literal(match["value"]) if match else None
                if match and value is not None:
                    settings.setdefault(match["name"], value)
                    notes.setdefault(match["name"], match["note"] or "")
    except OSError as error:
        raise InputError(f"{path} can not be read: {error.strerror}") from error
    if not draft.curves:
        raise InputError(
            f'{path} has no line of a known form, such as "step:125/3350 val_loss:4.66393"; '
            "for other logs: ncpl-data convert csv"
        )
    unsure = [name for name in BATCH_NAMES if name in settings]
    draft.apply("modded_nanogpt", {k: v for k, v in settings.items() if k not in unsure})
    draft.raw_config = settings
    if draft.options.config:
        draft.apply(draft.options.aliases, read_config(draft.options.config))
    for name in unsure:
        set_batch(draft, settings[name], notes[name].lower())
    for metric, smoothing in SMOOTHING.items():
        if metric in draft.curves:
            draft.metrics[metric] = {"name": metric, "smoothing": smoothing}
    set_status(draft)
    return draft.document(PRIMARY)


def read_step(draft: Draft, line: str) -> bool:
    """Take the points of one line; return whether it held any."""
    found = False
    for pattern, metric in PATTERNS:
        match = pattern.search(line)
        if match is None:
            continue
        found = True
        groups = match.groupdict()
        draft.point(metric, int(groups["step"]), float(match[match.lastindex or 1]))
        if groups.get("of"):
            draft.set(TRAIN_STEPS, int(groups["of"]))
    return found


def set_batch(draft: Draft, value: Any, note: str) -> None:
    """State the batch if the comment beside it says what it counts."""
    length = draft.get(SEQUENCE_LENGTH)
    if "sequence" in note and "token" not in note:
        draft.set("/schedule/batch_size_sequences", value)
    elif "token" in note and length and value % length == 0:
        rule = {"kind": "derived", "rule": "batch in tokens / sequence length"}
        draft.set("/schedule/batch_size_sequences", value // length, rule)


def set_status(draft: Draft) -> None:
    """State how the run ended, where the log says how long it should be."""
    steps = draft.get(TRAIN_STEPS)
    last = max(max(points) for points in draft.curves.values())
    if steps:
        rule = {"kind": "derived", "rule": "finished if the last line is of the last step"}
        is_done = last >= steps - 1  # some count from 0
        draft.set("/outcome/status", "finished" if is_done else "truncated", rule)


OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


def literal(text: str) -> int | float | str | bool | None:
    """Return a number, a product of numbers or a quoted text; None for any other expression."""
    value: int | float | str | bool | None
    try:
        value = evaluate(ast.parse(text.strip()[:200], mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError, RecursionError, MemoryError):
        return None
    return value


def evaluate(node: ast.expr) -> Any:
    """Return the value of a constant or of arithmetic on constants; nothing else is looked at.

    Raises ValueError for any other expression.
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str)):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -numeric(evaluate(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        left, right = numeric(evaluate(node.left)), numeric(evaluate(node.right))
        return OPERATORS[type(node.op)](left, right)
    raise ValueError("not a number")


def numeric(value: Any) -> Any:
    """Return a number of ordinary size.

    Raises ValueError for anything else.
    """
    if not isinstance(value, (int, float)) or abs(value) > 1e18:
        raise ValueError("not a number")
    return value
