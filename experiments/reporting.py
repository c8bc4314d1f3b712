"""What a run tells: JSON files, arrays, tables, versions."""

import dataclasses
import importlib.metadata
import io
import json
import math
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dipgp.files import write_atomically

TABLE_FILES = ("table.md", "table.json")

_UNITS = {"psnr": " dB", "seconds": " s"}
_DECIMALS = {"psnr": 2, "ssim": 4, "seconds": 1}


def write_json(path: Path, record: object) -> None:
    """Writes strict JSON in one step; numbers that are not finite become null.

    Args:
      path: the file.
      record: dictionaries, sequences, text, numbers and arrays, nested at will.
    """
    text = json.dumps(plain(record), indent=2, allow_nan=False)
    write_atomically(path, f"{text}\n".encode())


def write_arrays(path: Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Writes arrays, each under its name, as a compressed .npz file in one step."""
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    write_atomically(path, content.getvalue())


def write_table(
    folder: Path, records: Sequence[Mapping[str, object]], columns: Sequence[str]
) -> str:
    """Writes table.md and table.json: a row an image and method, then the averages.

    Args:
      folder: where to.
      records: hold "image", "method", and the columns' numbers or None.
      columns: the keys to show. A column's average is missing where any of its
        numbers is, lest averages over different images be compared.

    Returns:
      The table as Markdown.
    """
    rows = [
        {key: record[key] for key in ("image", "method", *columns)}
        for record in records
    ]
    averages = [
        average([row for row in rows if row["method"] == method], columns)
        for method in dict.fromkeys(row["method"] for row in rows)
    ]
    write_json(folder / "table.json", {"images": rows, "averages": averages})
    text = markdown(
        ["image", "method", *map(title, columns)],
        [
            [
                str(row["image"]),
                str(row["method"]),
                *(format_number(column, row[column]) for column in columns),
            ]
            for row in (*rows, *averages)
        ],
        words=2,
    )
    write_atomically(folder / "table.md", text.encode())
    return text.rstrip()


def markdown(
    titles: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1
) -> str:
    """A table in Markdown.

    Args:
      titles: of the columns.
      rows: each as long as the titles.
      words: number of columns, the first ones, that hold words, not numbers.
    """
    rule = ["---"] * words + ["---:"] * (len(titles) - words)
    return "".join(map(markdown_row, (titles, rule, *rows)))


def markdown_row(cells: Sequence[str]) -> str:
    """A line of such a table, for those who write it as they go."""
    return f"| {' | '.join(cells)} |\n"


def title(column: str) -> str:
    """A column's name for readers: psnr_raw becomes PSNR raw."""
    return column.replace("psnr", "PSNR").replace("ssim", "SSIM").replace("_", " ")


def format_number(column: str, number: object) -> str:
    """A column's number with its unit, or a dash where there is none."""
    if not isinstance(number, float) or math.isnan(number):
        return "-"
    kind = column.split("_")[0]
    return f"{number:.{_DECIMALS[kind]}f}{_UNITS.get(kind, '')}"


def provenance(config: Any) -> dict[str, object]:
    """What a record says of how it came about: the run's configuration, and versions.

    Args:
      config: the run's; a dataclass.
    """
    return {"configuration": dataclasses.asdict(config), "versions": versions()}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in ("jax", "jaxlib", "numpy", "dipgp"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"  # run from a checkout
    return found


def average(
    rows: Sequence[Mapping[str, object]], columns: Sequence[str]
) -> dict[str, object]:
    """A row of means over images.

    Args:
      rows: of one method; hold "method" and the columns' numbers or None.
      columns: the keys to average; None where any row has no number.
    """
    averaged: dict[str, object] = {"image": "average", "method": rows[0]["method"]}
    for column in columns:
        numbers = [row[column] for row in rows]
        floats = [number for number in numbers if isinstance(number, float)]
        complete = len(floats) == len(numbers)
        averaged[column] = sum(floats) / len(floats) if complete else None
    return averaged


def plain(record: object) -> object:
    """As JSON would give it back; numbers that are not finite become None."""
    if isinstance(record, Mapping):
        return {str(key): plain(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [plain(value) for value in record]
    if hasattr(record, "tolist"):  # numpy's and JAX's arrays and scalars
        return plain(record.tolist())
    if isinstance(record, float) and not math.isfinite(record):
        return None
    return record
