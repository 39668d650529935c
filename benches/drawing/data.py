"""What was measured, as the plots take it."""

import csv
from dataclasses import dataclass
from pathlib import Path


class NotMeasured(Exception):
    """There is nothing to draw, and how to get it."""


def samples(file: Path) -> dict[str, list[float]]:
    """The columns of a CSV file of benches/churn, by name."""
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    if not rows:
        raise NotMeasured(f"{file} has no samples")
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


@dataclass
class Line:
    """What one server came to: the median, the lowest and the highest of the rounds, at each x."""

    x: list[float]
    mid: list[float]
    low: list[float]
    high: list[float]


def line(points: list[dict]) -> Line:
    """From what curves.json has of one server."""
    return Line(*([point[name] for point in points] for name in ("at", "median", "min", "max")))
