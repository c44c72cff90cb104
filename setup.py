"""List every subpackage, so that a new folder is never left out of the wheel."""

from setuptools import find_packages, setup

ROOTS = {
    "terminal": "ncpl_data.terminal",
    "schema": "ncpl_data.schema",
    "catalog": "ncpl_data.catalog",
    "ingest": "ncpl_data.ingest",
    "explore": "ncpl_data.explore",
    "ncpl": "ncpl",
}

setup(
    packages=[
        package
        for folder, name in ROOTS.items()
        for package in (name, *(f"{name}.{child}" for child in find_packages(folder)))
    ]
)
