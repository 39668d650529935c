"""One sitting: the programs, how much is measured, and everything that was measured in it."""

from dataclasses import dataclass, field
from pathlib import Path

from kit import load, servers
from kit.stats import Spread, ratios, spread

Figures = dict[str, float]


@dataclass
class Sitting:
    tidewire: Path
    peers: Path
    # how long most spans are measured
    seconds: float
    # multiplies connections, topics and chats: below 1 to see whether it works, not to learn anything
    scale: float = 1.0
    # by case: the figures of each round; None where it failed
    samples: dict[str, list[Figures | None]] = field(default_factory=dict)
    # by case: what was to be said about it
    notes: dict[str, list[str]] = field(default_factory=dict)

    def count(self, number: int) -> int:
        return max(10, round(number * self.scale))

    def broker(self, *settings: str, **options) -> servers.Tidewire:
        return servers.Tidewire(self.tidewire, *settings, **options)

    def floor(self, by_path: bool = False) -> servers.Floor:
        return servers.Floor(self.peers, by_path)

    def post(self) -> servers.Post:
        return servers.Post(self.peers)

    def bench(self, scenario: str, server: servers.Server, **options) -> Figures:
        """A scenario's figures; with how its spans went, if there are several, and with what it warned of."""
        result = load.bench(self.tidewire, scenario, server, **options)
        return self.figures(result)

    @staticmethod
    def figures(result: dict) -> Figures:
        return {**result["figures"], "kept": result["kept"], "warnings": result["warnings"], "phases": result["phases"]}

    def values(self, case: str, figure: str) -> list[float | None]:
        return [None if figures is None else figures.get(figure) for figures in self.samples.get(case, [])]

    def spread(self, case: str, figure: str) -> Spread | None:
        return spread(self.values(case, figure))

    def ratio(self, ours: tuple[str, str], theirs: tuple[str, str]) -> Spread | None:
        """Of two cases' figures, round by round."""
        return ratios(self.values(*ours), self.values(*theirs))
