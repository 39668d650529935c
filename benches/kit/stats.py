"""Medians, and ratios of pairs that were measured one after the other: what drifts on a machine drifts for both."""

from dataclasses import dataclass
from statistics import median
from typing import Iterable, Sequence

__all__ = ["Spread", "median", "spread", "ratios"]


@dataclass(frozen=True)
class Spread:
    """A median, and how far what it was taken from lies apart."""

    mid: float
    low: float
    high: float
    of: int

    def text(self, digits: int = 2, unit: str = "") -> str:
        """Such as `1.15 (1.10 to 1.25)`."""
        mid = f"{self.mid:,.{digits}f}{unit}"
        return mid if self.of < 2 else f"{mid} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


def spread(values: Iterable[float]) -> Spread | None:
    known = [value for value in values if value is not None]
    return Spread(median(known), min(known), max(known), len(known)) if known else None


def ratios(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Spread | None:
    """Round by round; rounds where one side is missing are left out."""
    return spread(a / b for a, b in zip(ours, theirs) if a is not None and b)
