"""The runs of a W&B project, through its public GraphQL interface."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from ncpl_data.catalog.errors import SourceUnreachableError
from ncpl_data.ingest.live.transport import Transport

BASE_URL = "https://api.wandb.ai"
PER_PAGE = 100
MAX_POINTS = 10_000
"""Points asked for at once. The service answers with a sample where a run has more."""

RUNS = """
query Runs($entity: String!, $project: String!, $after: String, $first: Int!,
           $filters: JSONString) {
  project(name: $project, entityName: $entity) {
    runs(filters: $filters, after: $after, first: $first, order: "+created_at") {
      edges { node { name displayName state tags config summaryMetrics historyKeys } }
      pageInfo { endCursor hasNextPage }
    }
  }
}
"""

HISTORY = """
query History($entity: String!, $project: String!, $run: String!, $specs: [JSONString!]!) {
  project(name: $project, entityName: $entity) {
    run(name: $run) { sampledHistory(specs: $specs) }
  }
}
"""

Choose = Callable[[Sequence[str]], str | None]
"""Which of a run's history keys to record."""


def project_runs(
    transport: Transport,
    entity: str,
    project: str,
    choose: Choose,
    *,
    tags: Sequence[str] = (),
    limit: int | None = None,
    known: Collection[str] = (),
) -> Iterator[dict[str, Any]]:
    """Yield the runs of a project as recorded lines, oldest first, each with one metric's history.

    Runs named in `known` are passed over; `limit` counts them in.
    Raises SourceUnreachableError if the service does not answer, or not in the known form.
    """
    names = {"entity": entity, "project": project}
    filters = json.dumps({"tags": {"$all": list(tags)}} if tags else {})
    after: str | None = None
    seen: set[str] = set()
    while True:
        page = {"after": after, "first": PER_PAGE, "filters": filters}
        runs = asked(transport, RUNS, {**names, **page}, f"{entity}/{project}", "runs")
        for edge in runs["edges"]:
            node = edge["node"]
            if node["name"] in seen:  # a project grows while it is read
                continue
            seen.add(node["name"])
            if node["name"] not in known:
                yield recorded(transport, names, node, choose)
            if limit is not None and len(seen) >= limit:
                return
        following = runs["pageInfo"]["endCursor"]
        if not runs["pageInfo"]["hasNextPage"] or following == after:
            return
        after = following


def recorded(
    transport: Transport, names: Mapping[str, str], node: Mapping[str, Any], choose: Choose
) -> dict[str, Any]:
    """Return one run as a recorded line."""
    config = json.loads(node["config"] or "{}")
    logged = node.get("historyKeys") or {}
    keys = logged.get("keys") or {}
    metric = choose(sorted(keys))
    history: list[dict[str, Any]] = []
    n_logged = None
    if metric is not None:
        n_logged = count_of(keys[metric])
        last_step = logged.get("lastStep")
        history = whole_history(
            transport, {**names, "run": node["name"]}, metric, n_logged, last_step
        )
    return {
        "project": f"{names['entity']}/{names['project']}",
        "name": node["name"],
        "displayName": node["displayName"],
        "state": node["state"],
        "tags": node["tags"],
        "config": {
            key: value["value"] if isinstance(value, dict) and "value" in value else value
            for key, value in config.items()
            if key != "_wandb"
        },
        "summary": json.loads(node["summaryMetrics"] or "{}"),
        "metric": metric,
        "points_logged": n_logged,
        "history": history,
    }


def count_of(key: Any) -> int | None:
    """Return how many numbers a run logged under a history key, if the service says so."""
    counts = key.get("typeCounts") if isinstance(key, dict) else None
    found = [c.get("count", 0) for c in counts or () if c.get("type") == "number"]
    return int(sum(found)) if found else None


def whole_history(
    transport: Transport,
    names: Mapping[str, str],
    metric: str,
    n_logged: int | None,
    last_step: int | None,
) -> list[dict[str, Any]]:
    """Return every point of one metric, in order of step.

    Points are asked for with this metric alone: a row that lacks one of several keys is not given.
    Where a run has more than one answer holds, it is asked for window by window; a step logged
    again keeps its last value.
    """
    first = sample(transport, names, metric, {})
    is_short = len(first) < n_logged if n_logged else len(first) >= MAX_POINTS / 2
    if not first or not is_short:
        return first
    held = min(len(first), MAX_POINTS) if n_logged else MAX_POINTS  # what one answer holds
    end = max(last_step or 0, *(int(point["_step"]) for point in first)) + 1
    found: dict[int, dict[str, Any]] = {}
    windows = [(0, end)]
    while windows:
        start, end = windows.pop()
        points = sample(transport, names, metric, {"minStep": start, "maxStep": end})
        if len(points) >= held / 2 and end - start > held:  # it may be a sample of more
            middle = (start + end) // 2
            windows += [(start, middle), (middle, end)]
        else:
            found |= {int(point["_step"]): point for point in points}
    return [found[step] for step in sorted(found)]


def sample(
    transport: Transport, names: Mapping[str, str], metric: str, window: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return the points of one metric in a window of steps, a sample where there are many."""
    spec = {"keys": ["_step", metric], "samples": MAX_POINTS, **window}
    variables = {**names, "specs": [json.dumps(spec)]}
    run = asked(transport, HISTORY, variables, names["run"], "run")
    return [dict(point) for point in (run["sampledHistory"] or [[]])[0]]


def asked(
    transport: Transport, query: str, variables: Mapping[str, Any], what: str, part: str
) -> Any:
    """Return one part of a project from an answer.

    Raises SourceUnreachableError for errors in it, or for a project or run that is not there.
    """
    answer = transport.post_json("/graphql", {"query": query, "variables": variables})
    errors = answer.get("errors") if isinstance(answer, dict) else ["no object"]
    if errors:
        first = errors[0].get("message") if isinstance(errors[0], dict) else errors[0]
        raise SourceUnreachableError(f"W&B refused the question about {what}: {first}")
    project = (answer.get("data") or {}).get("project")
    if not project or not project.get(part):
        raise SourceUnreachableError(
            f"W&B has no {what}, or it is not public; a key (WANDB_API_KEY) may be needed"
        )
    return project[part]
