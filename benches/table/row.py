"""What a row is made of: cases, which are measured in turn, and findings, which are judged."""

from dataclasses import dataclass, field
from typing import Callable

from kit.stats import Spread

from .sitting import Figures, Sitting


@dataclass(frozen=True)
class Case:
    """One server under one load; measured once a round, each time with a fresh process."""

    name: str
    measure: Callable[[Sitting], Figures]
    # what takes long, or does not drift, is not measured in every round
    most_rounds: int = 1_000
    # what it has to be for this case to be measured at all
    needs_nchan: bool = False


@dataclass
class Findings:
    """What came out, and for each target whether it is met; None: it was not measured."""

    texts: list[str] = field(default_factory=list)
    met: list[bool | None] = field(default_factory=list)

    def judge(self, text: str, found: Spread | None, most: float, *, strictly: bool = False, digits: int = 2) -> None:
        """`text` has `{}` where the figure stands; the median is judged."""
        if found is None:
            self.missing(text.format("?"))
            return
        self.texts.append(text.format(found.text(digits)))
        self.met.append(found.mid < most if strictly else found.mid <= most)

    def judge_true(self, text: str, met: bool | None) -> None:
        self.texts.append(text)
        self.met.append(met)

    def missing(self, text: str) -> None:
        self.texts.append(f"{text} (not measured)")
        self.met.append(None)

    def tell(self, text: str, found: Spread | None, digits: int = 2) -> None:
        """What helps to understand it; nothing depends on it."""
        if found is not None:
            self.texts.append(text.format(found.text(digits)))

    def say(self, text: str) -> None:
        self.texts.append(text)

    @property
    def verdict(self) -> str:
        if False in self.met:
            return "no"
        if not self.met or None in self.met:
            return "not measured" if True not in self.met else "as far as measured"
        return "yes"


@dataclass(frozen=True)
class Row:
    number: int
    work: str
    measure: str
    target: str
    cases: tuple[Case, ...]
    judged: Callable[[Sitting], Findings]
