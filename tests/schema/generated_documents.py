"""Generated run documents: anything the schema allows, and single steps outside it."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from hypothesis import strategies as st

from ncpl_data.ingest.submissions.checks import check_run
from ncpl_data.schema.load import load_schema

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SAFE = 2**53 - 1
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def values(spec: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for the values a property may have."""
    if "$ref" in spec:
        return values(load_schema(spec["$ref"].removesuffix(".schema.json")))
    if "oneOf" in spec:
        return st.one_of(*(values(option) for option in spec["oneOf"]))
    if "enum" in spec:
        return st.sampled_from(spec["enum"])
    types = spec["type"] if isinstance(spec["type"], list) else [spec["type"]]
    return st.one_of(*(of_type(kind, spec) for kind in types))


def of_type(kind: str, spec: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for one JSON type of a property."""
    low, high = spec.get("minimum"), spec.get("maximum")
    if kind == "null":
        return st.none()
    if kind == "boolean":
        return st.booleans()
    if kind == "integer":
        return st.integers(low if low is not None else -SAFE, high if high is not None else SAFE)
    if kind == "number":
        least = low if low is not None else spec.get("exclusiveMinimum")
        return st.floats(
            least,
            high,
            exclude_min="exclusiveMinimum" in spec,
            allow_nan=False,
            allow_infinity=False,
        )
    if kind == "string":
        return strings(spec)
    if kind == "array":
        most = min(spec.get("maxItems", 3), 3)
        return st.lists(values(spec["items"]), min_size=spec.get("minItems", 0), max_size=most)
    return objects(spec)


def strings(spec: dict[str, Any]) -> st.SearchStrategy[str]:
    """Return a strategy for text of a pattern and length."""
    shortest, longest = spec.get("minLength", 0), spec.get("maxLength", 10_000)
    if "pattern" in spec:
        found = st.from_regex(spec["pattern"], fullmatch=spec["pattern"].endswith("$"))
        safe = found.filter(lambda text: shortest <= len(text) <= longest)
        return safe.filter(lambda text: "\n" not in text and text.isprintable())
    text = st.characters(exclude_categories=["Cs"])
    return st.text(text, min_size=shortest, max_size=min(longest, 12))


def objects(spec: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for objects: required keys, any of the others, open ones with anything."""
    if "properties" in spec:
        required = {k: values(spec["properties"][k]) for k in spec.get("required", ())}
        optional = {k: values(v) for k, v in spec["properties"].items() if k not in required}
        return st.fixed_dictionaries(required, optional=optional)
    names = strings({"minLength": 1, **spec.get("propertyNames", {})})
    inner = spec.get("additionalProperties")
    return st.dictionaries(names, values(inner) if isinstance(inner, dict) else JSON, max_size=4)


@cache
def any_run() -> st.SearchStrategy[dict[str, Any]]:
    """Return the strategy for runs, made once: it has some two hundred parts."""
    return objects(load_schema("run"))


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Return a run document of the schema; what contradicts itself is left out."""
    document: dict[str, Any] = draw(any_run())
    document["schema_version"] = "1.0"
    document["run_id"] = f"{document['source']}/{draw(st.integers(0, 10**9))}"
    if isinstance(document.get("curves"), dict):
        del document["curves"]
    for curve in document.get("curves", ()):
        n = len(curve["step"])
        steps = st.lists(st.integers(0, SAFE), min_size=n, max_size=n, unique=True)
        curve["step"] = sorted(draw(steps))
        number = st.floats(allow_nan=False, allow_infinity=False)
        curve["value"] = draw(st.lists(number, min_size=n, max_size=n))
        if curve.get("tokens"):
            curve["tokens"] = sorted(draw(steps))
        metrics = document.setdefault("outcome", {}).get("metrics") or []
        document["outcome"]["metrics"] = [*metrics, {"name": curve["metric"], "unit": "other"}]
    for _ in range(100):
        problems = check_run(document)
        if not problems:
            return document
        remove(document, problems[0].pointer)
    raise AssertionError(f"still contradicts itself: {problems}")


def remove(document: dict[str, Any], pointer: str) -> None:
    """Leave out the value a pointer names, or the nearest thing around it that exists."""
    steps = [s.replace("~1", "/").replace("~0", "~") for s in pointer.split("/")[1:]]
    if steps[0] == "source":
        document["source"] = document["run_id"].split("/")[0]
        return
    if steps[0] in ("curves", "same_as") or steps[1:] == []:
        del document[steps[0]]
        return
    if steps[0] == "outcome" and steps[1].startswith("final_loss"):
        document["outcome"].pop("final_loss", None)
        document["outcome"].pop("final_loss_unit", None)
        return
    del document[steps[0]][steps[1]]


Path = tuple[Any, ...]


def closed_objects(value: Any, spec: dict[str, Any], path: Path = ()) -> list[tuple[Path, dict]]:
    """Return (path, schema) of every object in a document whose keys the schema lists."""
    if "$ref" in spec:
        return closed_objects(value, load_schema(spec["$ref"].removesuffix(".schema.json")), path)
    for option in spec.get("oneOf", ()):
        kind = {"array": list, "object": dict}.get(option.get("type"), dict)
        if isinstance(value, kind) and "enum" not in option:
            return closed_objects(value, option, path)
    found = []
    if isinstance(value, dict) and "properties" in spec:
        found.append((path, spec))
        for key, item in value.items():
            found += closed_objects(item, spec["properties"][key], (*path, key))
    elif isinstance(value, list) and "items" in spec:
        for index, item in enumerate(value):
            found += closed_objects(item, spec["items"], (*path, index))
    return found


def at(document: Any, path: Path) -> Any:
    """Return the value at a path."""
    for step in path:
        document = document[step]
    return document


@st.composite
def mutations(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Return (what was done, document): one step outside the schema."""
    document = copy.deepcopy(draw(documents()))
    path, spec = draw(st.sampled_from(closed_objects(document, load_schema("run"))))
    place = at(document, path)
    present = sorted(k for k in place if "$ref" not in spec["properties"][k])
    kind = draw(st.sampled_from(["unknown", "required", "type", "bound"]))
    if kind == "required" and spec.get("required"):
        key = draw(st.sampled_from(spec["required"]))
        del place[key]
    elif kind == "type" and present:
        key = draw(st.sampled_from(present))
        place[key] = wrong_type(spec["properties"][key])
    elif kind == "bound" and (bounded := [k for k in present if out_of_bounds(spec, k)]):
        key = draw(st.sampled_from(bounded))
        place[key] = draw(st.sampled_from(out_of_bounds(spec, key)))
    else:
        key = draw(st.text("abcxyz_", min_size=1).filter(lambda k: k not in spec["properties"]))
        place[key] = draw(JSON)
    return f"{kind} {path} {key}", document


def wrong_type(spec: dict[str, Any]) -> Any:
    """Return a value of a type the property can not have."""
    if "oneOf" in spec or spec.get("type") == "array" or "array" in (spec.get("type") or ()):
        return 1
    if "object" in (spec.get("type") or ()):
        return [1]
    return {"a": 1}


def out_of_bounds(spec: dict[str, Any], key: str) -> list[Any]:
    """Return values just outside what the property allows."""
    own = spec["properties"][key]
    found: list[Any] = []
    if "enum" in own:
        found.append("no such word")
    if "minimum" in own:
        found.append(own["minimum"] - 1)
    if "exclusiveMinimum" in own:
        found.append(own["exclusiveMinimum"])
    if "maximum" in own:
        found.append(own["maximum"] + 1 if own["maximum"] < 1e15 else own["maximum"] * 2)
    if "maxLength" in own:
        found.append("a" * (own["maxLength"] + 1))
    if "minLength" in own:
        found.append("")
    if "pattern" in own:
        found += ["\n", "a b\n"]
    return found
