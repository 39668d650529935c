"""Row 16: what a second worker brings. For a rate, two cores are the broker's and the generators have others."""

from contextlib import ExitStack

from kit import load, machine
from kit.stats import ratios

from . import fanout
from .row import Case, Findings, Row
from .sitting import Figures, Sitting

# two for the broker, one for a generator at least
CORES_FOR_A_RATE = 3
SERVER_CORES = ",".join(map(str, machine.CORES[:2]))
LOAD_CORES = [str(core) for core in machine.CORES[2:]]
# generators beyond what two workers could keep busy are of no use
MOST_GENERATORS = 4
READERS = 1_000
# more than two workers deliver
TOO_MANY = 2_000
IS_LIMIT_PERCENT = 90


def _saturated(sitting: Sitting, workers: int) -> Figures:
    """As many deliveries as the workers make, to generators that each read a part of them."""
    cores = LOAD_CORES[:MOST_GENERATORS]
    options = {"publish": "http", "readers": sitting.count(READERS) // len(cores), "topics": 10, "rate": TOO_MANY / 10}
    with sitting.broker(workers=workers, cores=SERVER_CORES) as broker, ExitStack() as stack:
        benches = []
        for core in cores:
            bench = load.start(sitting.tidewire, "fanout", broker, core, seconds=sitting.seconds, **options)
            stack.callback(bench.kill)
            benches.append(bench)
        results = [load.result(bench)["figures"] for bench in benches]
    return {
        "deliveries_per_s": sum(figures["deliveries_per_s"] for figures in results),
        "bench_cpu_percent": max(figures["bench_cpu_percent"] for figures in results),
    }


def _shared(sitting: Sitting, workers: int) -> Figures:
    """Row 1, with broker and generator on all cores."""
    load_ = {"publish": "http", "readers": sitting.count(READERS), "rate": fanout.RATE, "seconds": sitting.seconds}
    with sitting.broker(workers=workers, cores=machine.ALL_CORES) as broker:
        return sitting.bench("fanout", broker, core=machine.ALL_CORES, **load_)


HAS_CORES = len(machine.CORES) >= CORES_FOR_A_RATE
MEASURE = _saturated if HAS_CORES else _shared
ONE = Case("one worker", lambda s: MEASURE(s, 1))
TWO = Case("two workers", lambda s: MEASURE(s, 2))


def _row_16(sitting: Sitting) -> Findings:
    findings = Findings()
    if not HAS_CORES:
        findings.missing(f"deliveries/s cannot be told with {len(machine.CORES)} cores, of which two are the broker's "
                         f"and one is the generator's")
        cost = ratios(sitting.values(TWO.name, fanout.COST), sitting.values(ONE.name, fanout.COST))
        findings.tell("instead, row 1 on all cores: CPU per delivery with 2 workers {} × that with 1", cost)
        return findings
    rates = [sitting.values(case.name, "deliveries_per_s") for case in (ONE, TWO)]
    grown = ratios(rates[1], rates[0])
    busy = sitting.spread(TWO.name, "bench_cpu_percent")
    for who, case in [("one", ONE), ("two", TWO)]:
        findings.tell(f"{who}: {{}} deliveries/s", sitting.spread(case.name, "deliveries_per_s"), digits=0)
    if grown and grown.mid < 1.7 and busy and busy.mid >= IS_LIMIT_PERCENT:
        findings.missing(f"at least {grown.text()} ×: the generator was the limit")
    else:
        findings.judge_true(f"{grown.text()} ×" if grown else "?", grown and grown.mid >= 1.7)
    return findings


ROWS = [
    Row(16, "1 → 2 workers, generator not the limit", "deliveries/s", "≥ 1.7 ×", (ONE, TWO), _row_16),
]
