"""Reading a text log line by line: points, columns, units, and what could not be read."""

from __future__ import annotations

import re
from pathlib import Path

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.base import Draft
from ncpl_data.ingest.importers.encodings import lines_of
from ncpl_data.ingest.importers.spelling import is_loss, unit_of
from ncpl_data.ingest.importers.text_columns import PLANNED, Columns
from ncpl_data.ingest.importers.text_form import NUMBER, Form, own_form
from ncpl_data.ingest.importers.text_lines import FORMS
from ncpl_data.ingest.importers.text_rows import BAR, form_of, row_of, step_of, values_of
from ncpl_data.ingest.importers.text_settings import STOPS, TextSettings

METRIC_WORD = re.compile(
    rf"(?<![A-Za-z])(?:loss|ppl|perplexity|bpb|bpc|nll|cross[ _-]?entropy)(?![A-Za-z_])"
    rf"(?! ?scale)[^\d\n]{{0,24}}?(?:{NUMBER})",
    re.IGNORECASE,
)
"""What looks like a metric with its number."""

FORM_WORD = re.compile(
    r"loss|trl:|tel:|Validation|\btrain |\bval |hella|step=|batch=|PPL|Perplexity"
    r"|^\s+(?:optim|throughput|train|Train|Eval)"
)
"""What stands in every line of a known form."""

UNIT_WORD = re.compile(
    r"\b(?P<unit>bpc|bpb|bits?[ _/-](?:per[ _/-])?(?:byte|char\w*|token|word)|in bits|bits)\b"
    r"(?!\s*[:=]?\s*[\d.])",
    re.IGNORECASE,
)
"""A unit that is said, and is not the name of another number."""


class Reader:
    """What a log says, taken line by line into a draft."""

    def __init__(self, draft: Draft) -> None:
        """Start with nothing read."""
        self.draft = draft
        self.settings = TextSettings()
        self.forms = (*(own_form(m, text) for m, text in draft.options.lines), *FORMS)
        self.has_own_forms = bool(draft.options.lines)
        self.unread: list[tuple[int, str]] = []
        self.n_read = 0
        self.without_step = 0
        self.is_stopped_by_clock = False
        self.program: str | None = None
        self.above = 0
        self.waiting: list[tuple[str, float, int]] = []
        self.rows: list[tuple[dict[str, float], int]] = []
        self.bar_of: int | None = None
        self.held: dict[str, float] = {}
        self.units: dict[str, set[str]] = {}
        self.columns = Columns()
        self.remark: str | None = None
        self.decimals: dict[str, int] = {}
        """Digits behind the point of each metric's last number."""
        self.cut_off: tuple[str, int] | None = None
        """Metric and line of a number that ends its line with fewer digits than before."""

    def read(self, path: Path) -> None:
        """Take a whole file."""
        in_block = False
        for number, line in lines_of(path):
            if self.read_bar(line):
                continue
            if self.read_row(line, number):
                continue
            form = self.form_of(line)
            if form is not None and form.step == "block" and not in_block:
                form = None
            if form is not None:
                in_block = in_block if form.step in ("block", "above") else form.opens_block
                self.read_form(form, line, number)
                continue
            if not line[:1].isspace():
                in_block = False
            self.is_stopped_by_clock |= STOPS.search(line) is not None and bool(self.n_read)
            if self.settings.read(line, number):
                continue
            if UNIT_WORD.search(line) and len(line) < 400:
                self.remark = self.remark or f'line {number}: "{line.strip()[:80]}"'
            if METRIC_WORD.search(line) and len(line) < 2000:
                self.unread.append((number, line))
        self.end_waiting()
        self.drop_cut_off(path)

    def drop_cut_off(self, path: Path) -> None:
        """Leave out the last number of a file that ends inside it."""
        seen = self.draft.seen
        if self.cut_off is None or not seen or ends_a_line(path):
            return
        metric, number = self.cut_off
        if (seen[-1].metric, seen[-1].place) == (metric, number):
            seen.pop()
            self.draft.note(f"{path} line {number}: the file ends inside a number; it was left out")

    def form_of(self, line: str) -> Form | None:
        """Return the form of a line; those of the program that was seen last are tried first."""
        if not self.has_own_forms and FORM_WORD.search(line) is None:
            return None
        form = next((f for f in self.forms if f.pattern.search(line)), None)
        if form is not None and form.program != self.forms[0].program and form.metrics:
            own = [f for f in self.forms if f.program == form.program]
            self.forms = (*own, *(f for f in self.forms if f.program != form.program))
        return form

    def read_bar(self, line: str) -> bool:
        """Take the step of a progress bar for the rows printed just before it."""
        bar = BAR.search(line)
        if bar is None or "{" in line or METRIC_WORD.search(line):
            return False
        step, planned = int(bar["step"]), int(bar["of"])
        self.bar_of = planned if self.bar_of is None else self.bar_of
        if planned == self.bar_of and self.rows:
            for values, number in self.rows:
                self.take(values, step, number)
                self.columns.say(PLANNED, number, step, planned)
            self.rows.clear()
        return True

    def read_row(self, line: str, number: int) -> bool:
        """Take a line that is JSON or a dictionary with a loss; return whether it was one."""
        row = row_of(line) if "{" in line else None
        form = form_of(row) if row else None
        if row is None or form is None:
            return False
        values = values_of(form, row)
        self.program = form.program
        for metric, unit in form.units.items():
            if metric in values:
                self.units.setdefault(metric, set()).add(unit)
        if not form.step:
            self.rows.append((values, number))
            self.without_step += 1
            return True
        step, planned = step_of(form, row)
        if step is None:
            return False
        if planned:
            self.columns.say(PLANNED, number, step, planned)
        self.take(values, step, number)
        return True

    def take(self, values: dict[str, float], step: int, number: int) -> None:
        """Add the values of one line."""
        for metric, value in values.items():
            self.draft.point(metric, step, value, place=number)
        self.n_read += 1
        self.above = step

    def read_form(self, form: Form, line: str, number: int) -> None:
        """Take a line of a known form."""
        match = form.pattern.search(line)
        groups = match.groupdict() if match else {}
        self.program = self.program or (form.program if form.metrics else None)
        if groups.get("of"):
            step = whole(groups["step"])
            self.columns.say(PLANNED, number, step, whole(groups["of"]))
        if form.step == "own" and groups.get("step"):
            self.above = whole(groups["step"])
        found = self.values_in(form, line, number)
        if not found and form.metrics and not form.columns and METRIC_WORD.search(line):
            self.unread.append((number, line))
        self.n_read += bool(found)
        if form.step == "below":
            self.waiting += [(metric, value, number) for metric, value in found.items()]
            return
        if form.step == "own" and self.waiting:
            self.end_waiting()
        self.read_columns(form, line, number)
        for metric, value in found.items():
            seen = self.draft.seen
            last = (seen[-1].metric, seen[-1].step) if seen else None
            if form.every_device and last == (metric, self.above):
                seen.pop()
            self.draft.point(metric, self.above, value, place=number)

    def values_in(self, form: Form, line: str, number: int) -> dict[str, float]:
        """Return the metrics of a line, and keep the units it says."""
        found: dict[str, float] = {}
        for metric, pattern in form.metrics:
            said = pattern.search(line)
            if said is not None:
                found[metric] = self.number(said["n"], metric, number, line)
                digits = len(said["n"].partition(".")[2])
                is_end = said.end("n") == len(line.rstrip())
                is_short = digits < self.decimals.get(metric, 0)
                self.cut_off = (metric, number) if is_end and is_short else None
                self.decimals[metric] = digits
                self.note_unit(metric, form, line[said.end("n") :], line)
        if form.digits and found:
            self.draft.note(
                f"{self.draft.where}: {form.program} prints its loss with {form.digits} digits; "
                "TensorBoard or W&B hold them all"
            )
        return self.without_held(found) if form.held else found

    def read_columns(self, form: Form, line: str, number: int) -> None:
        """Keep what else a line states of its step."""
        for name, pattern in form.facts:
            said = pattern.search(line)
            if said:
                self.columns.say(name, number, self.above, self.plain(said["n"]))

    def without_held(self, found: dict[str, float]) -> dict[str, float]:
        """Return values without a held-out loss that only repeats the last one."""
        kept = dict(found)
        for metric in [m for m in found if m.startswith("validation/")]:
            if self.held.get(metric) == found[metric]:
                del kept[metric]
            self.held[metric] = found[metric]
        return kept

    def end_waiting(self) -> None:
        """Give values that belong to the step below their step."""
        for metric, value, number in self.waiting:
            self.draft.point(metric, self.above, value, place=number)
        self.waiting.clear()

    def number(self, text: str, metric: str, number: int, line: str) -> float:
        """Return the number of a metric.

        Raises InputError where a comma may be a decimal mark.
        """
        if "," in text.rstrip(",") and (is_loss(metric) and unit_of(metric) != "perplexity"):
            raise InputError(
                f'{self.draft.where} line {number}: "{line.strip()[:100]}": is the comma a decimal '
                "mark? Write points instead, then convert again"
            )
        return self.plain(text)

    def plain(self, text: str) -> float:
        """Return a number without marks between thousands."""
        return float(text.rstrip(",").replace(",", ""))

    def note_unit(self, metric: str, form: Form, after: str, line: str) -> None:
        """Keep the unit that the form, or a word on the line, gives a metric."""
        if form.units.get(metric):
            self.units.setdefault(metric, set()).add(form.units[metric])
        if not is_loss(metric) or unit_of(metric) != "nats_per_token":
            return
        word = UNIT_WORD.match(after.lstrip(" ([")) or UNIT_WORD.search(line)
        if word:
            self.units.setdefault(metric, set()).add(unit_said(word["unit"]))

    def state_units(self) -> None:
        """Give each metric the unit the log says."""
        draft = self.draft
        for metric, units in self.units.items():
            if metric in draft.points and metric not in draft.options.units:
                unit = next(iter(units)) if len(units) == 1 else "other"
                draft.metrics.setdefault(metric, {"name": metric})["unit"] = unit
                draft.note(
                    f"{draft.where}: {metric} is not in nats: the log says "
                    f"{unit if unit != 'other' else 'another unit'}"
                )
        if self.remark is None:
            return
        for metric in draft.points:
            if metric in self.units or metric in draft.options.units or not is_loss(metric):
                continue
            if unit_of(metric) == "nats_per_token":
                draft.metrics.setdefault(metric, {"name": metric})["unit"] = "other"
                draft.note(
                    f"{draft.where} {self.remark}: is {metric} in this unit? It stands as "
                    f'"other"; say it: --unit {metric}=nats_per_token'
                )


def ends_a_line(path: Path) -> bool:
    """Return whether a file ends with the end of a line."""
    with path.open("rb") as file:
        file.seek(-min(2, path.stat().st_size), 2)
        return b"\n" in file.read()


def whole(text: str) -> int:
    """Return a whole number that may have marks between thousands."""
    return int(text.replace(",", ""))


def unit_said(word: str) -> str:
    """Return our unit of a word: characters are no tokens."""
    text = word.lower()
    if text == "bpb" or "byte" in text:
        return "bits_per_byte"
    return "bits_per_token" if "token" in text else "other"
