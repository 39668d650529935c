"""What became of the runs of `tidewire bench`: their figures added up by scenario, and what failed."""

import json
import threading
from collections import Counter, defaultdict

COLUMNS = ["runs", "failed", "acknowledged", "delivered", "missing", "repeated", "out_of_order", "told_gone"]


class Account:
    def __init__(self) -> None:
        # several lanes write
        self.lock = threading.Lock()
        self.counts: dict[str, Counter] = defaultdict(Counter)
        self.failures: list[str] = []

    def note(self, command: list[str], status: int, printed: str, errors: str) -> None:
        """One run that came to its end; status 0 means that every acknowledged event came once and in order."""
        try:
            result = json.loads(printed)
        except ValueError:
            result = {}
        figures = {name: value for name, value in result.get("figures", {}).items() if name in COLUMNS}
        with self.lock:
            counts = self.counts[f"{command[0]} {result.get('transport', '')}".strip()]
            counts.update(figures, runs=1, failed=int(status != 0))
            if status != 0:
                said = errors.strip().splitlines() or ["no message"]
                self.failures.append(f"status {status}: bench {' '.join(command)}: {said[-1]}; {figures}")

    def fail(self, why: str) -> None:
        with self.lock:
            self.failures.append(why)

    def table(self) -> str:
        lines = [f"{'':14}" + "".join(f"{name:>14}" for name in COLUMNS)]
        for scenario, counts in sorted(self.counts.items()):
            lines.append(f"{scenario:14}" + "".join(f"{counts[name]:>14,}" for name in COLUMNS))
        return "\n".join(lines)
