"""What benches/plots draws: each plot from one file, into one SVG."""

import json
import sys
from pathlib import Path

from . import churn, cost, load, memory, style
from .data import NotMeasured, samples


def draw_all(source: Path, target: Path) -> int:
    """Draws what there is; 1 where something is not."""
    target.mkdir(parents=True, exist_ok=True)
    status = 0

    def drawn(name: str, draw) -> None:
        nonlocal status
        try:
            style.save(draw(), target / f"{name}.svg")
            print(target / f"{name}.svg")
        except (NotMeasured, OSError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            status = 1

    def curve(name: str):
        curves = json.loads(there(source / "curves.json", "benches/curves").read_text())["curves"]
        if name not in curves:
            raise NotMeasured(f"not in {source / 'curves.json'}; benches/curves measures it")
        return curves[name]

    drawn("churn", lambda: churn.draw(samples(there(source / "churn.csv", f"benches/churn --csv {source / 'churn.csv'}"))))
    for name in cost.PLOTS:
        drawn(f"cost-{name}", lambda: cost.draw(name, curve(name)))
    drawn("memory", lambda: memory.draw(curve("memory")))
    drawn("load", lambda: load.draw(curve("load")))
    return status


def there(file: Path, measured_by: str) -> Path:
    if not file.exists():
        raise NotMeasured(f"missing: {file}; {measured_by} measures it")
    return file
