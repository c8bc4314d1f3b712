"""Files of a run of `experiments.uncertainty`: maps, numbers, table."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dipgp.files import write_atomically
from experiments import reporting, results, uncertainty_scores
from experiments.restoration import Restoration
from experiments.uncertainty_cases import Case
from experiments.uncertainty_options import UncertaintyConfig
from experiments.uncertainty_scores import Record


def save_maps(
    folder: Path, method: str, restoration: Restoration, case: Case
) -> dict[str, str]:
    """Writes mean, standard deviation and which pixels were scored, as arrays.

    What was seen and what is true, which methods share, lie beside them as pictures.

    Args:
      folder: where to.
      method: its name.
      restoration: by the method.
      case: the picture.

    Returns:
      The files' names by what they hold.
    """
    name = f"uncertainty_{method}.npz"
    arrays = {
        "mean": restoration.mean,
        "std": np.nan if restoration.std is None else restoration.std,
        "scored": case.scored != 0,
    }
    reporting.write_arrays(folder / name, arrays)
    seen = np.asarray(case.observation.values)
    return {**results.write_pictures(folder, seen, case.truth), "maps": name}


def write_record(
    folder: Path, config: UncertaintyConfig, records: Sequence[Record]
) -> None:
    """Writes metrics.json."""
    reporting.write_json(
        folder / "metrics.json",
        {
            "experiment": "uncertainty",
            "records": records,
            "seed": config.seed,
            **reporting.provenance(config),
        },
    )


def write_table(
    config: UncertaintyConfig, rows: Sequence[tuple[str, str, Record]]
) -> None:
    """Prints the table, and writes table.md."""
    text = uncertainty_scores.table(rows)
    print(text, end="")
    write_atomically(Path(config.output_dir) / "table.md", text.encode())
