"""The Croissant description of a snapshot (MLCommons, version 1.0): JSON-LD for data crawlers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ncpl_data.schema.fields import run_fields

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
FOLDER = "snapshot"
TABLE_TEXT = {
    "runs": "One row a run: configuration, outcome, provenance.",
    "curves": "One row a point of a run's curve.",
    "evals": "One row a downstream measurement of a run.",
    "splits": "The side of the split each run is on; other runs are on none.",
}
COLUMN_TEXT = {
    "run_hash": "SHA-256 of everything the run says.",
    "metric": "Name of the measured quantity.",
    "step": "Optimizer step.",
    "tokens": "Tokens seen at the step.",
    "value": "Measured value.",
    "task": "Name of the evaluation.",
    "kind": "What was measured, such as accuracy.",
    "n_shots": "Examples in the prompt.",
    "stderr": "Standard error of the value.",
    "policy": "How the split was made.",
    "split": "train, id or ood.",
    "split_group": "Runs of one group are on one side.",
}


def croissant(manifest: Mapping[str, Any], schemas: Mapping[str, pa.Schema]) -> dict[str, Any]:
    """Return the description of a snapshot; `schemas` holds the tables that have files."""
    licences = sorted(
        {
            str(origin["licence"])
            for sheet in manifest["sources"]
            for origin in sheet.get("origins", ())
            if origin.get("licence")
        }
    )
    citations = [sheet["citation"] for sheet in manifest["sources"] if sheet.get("citation")]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"pretraining-runs-{manifest['id'][:12]}",
        "description": (
            f"{manifest['counts']['runs']:,} language-model pretraining runs with their "
            "configurations, losses and curves, from published logs."
        ),
        "version": manifest["schema_version"] + ".0",
        "datePublished": manifest["created_at"],
        "url": "https://ncpl-data.github.io/",
        "license": licences or ["none stated"],
        "citeAs": "\n".join(citations) or f"ncpl-data snapshot {manifest['id']}",
        "creator": {"@type": "sc:Organization", "name": "The ncpl-data authors"},
        "identifier": manifest["id"],
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": FOLDER,
                "name": FOLDER,
                "description": "The snapshot; its hash is the snapshot's id.",
                "contentUrl": ".",
                "encodingFormat": "git+https",
                "sha256": manifest["id"],
            }
        ]
        + [
            {
                "@type": "cr:FileObject",
                "@id": file["path"],
                "name": file["path"],
                "contentUrl": file["path"],
                "encodingFormat": "application/x-parquet",
                "sha256": file["sha256"],
                "contentSize": f"{file['bytes']} B",
            }
            for files in manifest["tables"].values()
            for file in files
        ]
        + [file_set(table, manifest["tables"][table]) for table in schemas],
        "recordSet": [record_set(table, schema) for table, schema in schemas.items()],
    }


def file_set(table: str, files: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the set of a table's files."""
    folder = files[0]["path"].rpartition("/")[0]
    return {
        "@type": "cr:FileSet",
        "@id": f"{table}-files",
        "name": f"{table}-files",
        "containedIn": {"@id": FOLDER},
        "encodingFormat": "application/x-parquet",
        "includes": f"{folder}/*.parquet" if folder else files[0]["path"],
    }


def record_set(table: str, schema: pa.Schema) -> dict[str, Any]:
    """Return the records of a table with the meaning of each column."""
    texts = COLUMN_TEXT | {
        f.column: f.description + (f" Unit: {f.unit}." if f.unit else "") for f in run_fields()
    }
    return {
        "@type": "cr:RecordSet",
        "@id": table,
        "name": table,
        "description": TABLE_TEXT[table],
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{table}/{column.name}",
                "name": column.name,
                "description": texts.get(column.name, column.name),
                "dataType": data_type(column.type),
                "source": {
                    "fileSet": {"@id": f"{table}-files"},
                    "extract": {"column": column.name},
                },
                **({"repeated": True} if pa.types.is_list(column.type) else {}),
            }
            for column in schema
            if not is_nested(column.type)
        ],
    }


def is_nested(kind: pa.DataType) -> bool:
    """Return whether a column holds lists of objects, which Croissant 1.0 can not type."""
    return bool(pa.types.is_list(kind) and pa.types.is_struct(kind.value_type))


def data_type(kind: pa.DataType) -> str:
    """Return the schema.org type of a column."""
    if pa.types.is_list(kind):
        return data_type(kind.value_type)
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
