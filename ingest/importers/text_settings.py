"""What a text log says of its run outside the lines of steps: settings, headers, tables."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

ASSIGNMENT = re.compile(
    r"^\s*(?P<name>[a-z_]\w*)\s*(?::\s*\w+\s*)?=\s*(?P<value>[^#=\n]+?),?\s*(?:#\s*(?P<note>.*))?$"
)
OVERRIDE = re.compile(r"^\s*Overriding: (?P<name>[a-z_]\w*) = (?P<value>.+?)\s*$")
CELL = re.compile(r"^\s*\|\s*(?P<name>[A-Za-z][\w /()-]*?)\s*\|\s*(?P<value>[^|]+?)\s*\|\s*$")
DOTTED = re.compile(
    r"^\s*(?P<name>[a-z]\w*) \.{3,} *(?P<value>\S.*?)(?:\.{3,}(?:updated|default)?)?\s*$"
)
CONFIG_PARAM = re.compile(r"\bConfig param (?P<name>\w+): (?P<value>\S.*?)\s*$")
DICTIONARY = re.compile(r"^[^{'\"]{0,80}(?P<dict>\{'[^\n]*\})\s*$")

NUMBER = r"(?P<value>[\d,]+(?:\.\d+)?[KMBkmb]?)"
FACTS: tuple[tuple[str, str], ...] = (
    # nanoGPT, build-nanogpt
    (rf"tokens per iteration will be: {NUMBER}", "tokens_per_step"),
    (rf"\btotal desired batch size: {NUMBER}", "tokens_per_step"),
    (rf"\bnumber of parameters: {NUMBER}", "params"),
    (rf"\bfound vocab_size = {NUMBER}", "vocab_size"),
    (rf"\bdefaulting to vocab_size of GPT-2 to {NUMBER}", "vocab_size"),
    (r"\bInitializing from OpenAI GPT-2 weights: (?P<value>[\w-]+)", "init_from"),
    (r"\bInitializing a new model from (?P<value>scratch)", "init_from"),
    # nanochat
    (rf"^Vocab size: {NUMBER}", "vocab_size"),
    (rf"^num_layers: {NUMBER}", "n_layer"),
    (rf"^model_dim: {NUMBER}", "n_embd"),
    (rf"^num_heads: {NUMBER}", "n_head"),
    (rf"^num_kv_heads: {NUMBER}", "n_kv_head"),
    (rf"^Number of parameters: {NUMBER}", "params"),
    (rf"^Tokens / micro-batch / rank: \d+ x {NUMBER}", "block_size"),
    (rf"^Total batch size {NUMBER}", "tokens_per_step"),
    (rf"^(?:Calculated n|Using user-provided n|N)umber of iterations[^:]*: {NUMBER}", "max_iters"),
    (rf"^Total number of training tokens: {NUMBER}", "train_tokens"),
    # torchtitan
    (rf"\bTraining starts at step.*\bglobal batch size {NUMBER}", "global_batch_size"),
    (rf"\bTraining starts at step.*\bsequence length {NUMBER}", "block_size"),
    (rf"\bTraining starts at step.*\btotal steps {NUMBER}", "max_iters"),
    (rf"\bTraining starts at step.*\(warmup {NUMBER}\)", "warmup_iters"),
    (rf"\bsize: {NUMBER} total parameters", "params"),
    # MLX
    (r"\bSaved (?P<value>adapter) weights", "adapter_weights"),
    # litgpt
    (rf"\bTotal parameters:? {NUMBER}", "params"),
)
"""Sentences of headers: a pattern, and the setting it states."""

LLM_C = {
    "sequence length T": "block_size",
    "total batch size": "tokens_per_step",
    "LR scheduler": "lr_schedule",
    "learning rate (LR)": "learning_rate",
    "warmup iterations": "warmup_iters",
    "final LR fraction": "final_lr_frac",
    "weight decay": "weight_decay",
    "vocab_size V": "vocab_size",
    "num_layers L": "n_layer",
    "num_heads NH": "n_head",
    "channels C": "n_embd",
    "num_parameters": "params",
    "precision": "precision",
}
"""Names of llm.c's table, in the spelling of the settings."""

STOPS = re.compile(
    r"stopping_early|wallclock_cap|max_wallclock|time[_ ]budget|exiting program after",
    re.IGNORECASE,
)
"""A run that a clock ends: the steps it counts towards are a limit, no plan."""


@dataclass
class TextSettings:
    """The settings a log states, each with the line of its last statement."""

    values: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    """The comment beside a setting."""
    lines: dict[str, int] = field(default_factory=dict)
    dictionaries: list[dict[str, Any]] = field(default_factory=list)
    conflicts: list[tuple[str, Any, Any, int]] = field(default_factory=list)
    """(name, first value, later value, line) of what was stated twice."""
    said: list[tuple[str, Any, str, int]] = field(default_factory=list)
    is_megatron: bool = False
    is_maxtext: bool = False

    def read(self, line: str, place: int) -> bool:
        """Take what a line states; return whether it states anything."""
        override = OVERRIDE.match(line)
        if override:
            return self.state(override["name"], override["value"], place)
        return (
            self.read_fact(line, place)
            or self.read_table(line, place)
            or self.read_dictionary(line)
            or self.read_assignment(line, place)
        )

    def read_fact(self, line: str, place: int) -> bool:
        """Take what a sentence of a header states."""
        found = False
        if FACT_WORD.search(line) is None:
            return False
        for pattern, name in PATTERNS:
            match = pattern.search(line)
            if match:
                number = count(match["value"])
                self.say(name, match["value"] if number is None else number, "", place)
                found = True
        return found

    def read_table(self, line: str, place: int) -> bool:
        """Take a row of a printed table of settings."""
        cell = CELL.match(line)
        if cell and cell["name"] in LLM_C:
            return self.state(LLM_C[cell["name"]], cell["value"], place)
        param = CONFIG_PARAM.search(line)
        if param:
            self.is_maxtext = True
            return self.state(param["name"], param["value"], place)
        dotted = DOTTED.match(line)
        if dotted:
            self.is_megatron = True
            return self.state(dotted["name"], dotted["value"].rstrip("."), place)
        return False

    def read_assignment(self, line: str, place: int) -> bool:
        """Take a line of Python that gives a name a plain value."""
        assignment = ASSIGNMENT.match(line)
        value = literal(assignment["value"]) if assignment else None
        if assignment is None or value is None:
            return False
        self.say(assignment["name"], value, assignment["note"] or "", place)
        return True

    def state(self, name: str, text: str, place: int) -> bool:
        """Take a value given as text."""
        if text.startswith(("{", "[")):
            return True  # a group of settings, not one
        value = literal(text)
        self.say(name, text if value is None else value, "", place)
        return True

    def read_dictionary(self, line: str) -> bool:
        """Take a dictionary printed as Python; return whether it is one of settings."""
        match = DICTIONARY.match(line)
        if match is None:
            return False
        try:
            found = ast.literal_eval(match["dict"][:20_000])
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return False
        if (
            not isinstance(found, dict)
            or "loss" in found
            or not all(isinstance(k, str) for k in found)
        ):
            return False
        self.dictionaries.append(found)
        return True

    def say(self, name: str, value: Any, note: str, place: int) -> None:
        """Keep a statement."""
        self.said.append((name, value, note, place))

    def settle(self, before: int | None) -> None:
        """Let the later statement win, of those made before a line; others are of another run."""
        for name, value, note, place in self.said:
            if before is not None and place >= before:
                continue
            if name in self.values and self.values[name] != value:
                self.conflicts.append((name, self.values[name], value, place))
            if name not in self.values or note or not self.notes.get(name):
                self.notes[name] = note
            self.values[name], self.lines[name] = value, place


PATTERNS = tuple((re.compile(pattern), name) for pattern, name in FACTS)
FACT_WORD = re.compile(
    r"okens|arameters|ocab|num_|model_dim|batch size|iterations|Training starts|size:"
    r"|Initializing|Saved"
)
"""What stands in every sentence of the table."""

SUFFIXES: Mapping[str, float] = {"K": 1e3, "M": 1e6, "B": 1e9}


def count(text: str) -> int | float | None:
    """Return a number with thousands marks or a suffix (123.65M); None for other text."""
    text = text.strip().rstrip(",")
    scale = SUFFIXES.get(text[-1:].upper(), 1.0)
    digits = text[:-1] if scale != 1.0 else text
    if not re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?|\d+(\.\d+)?", digits):
        return None
    value = float(digits.replace(",", ""))
    value = round(value * scale, 6)
    return int(value) if value == int(value) else value


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
