"""Row 16: what a second worker brings.

With three cores, two are the broker's and the generator has one of its own. With two, each worker is held to a fifth of
a core of its own, where the machine allows that, and the generator has what is left.
"""

from kit import machine, quota
from kit.stats import ratios

from . import fanout
from .row import Case, Findings, Row
from .sitting import Figures, Sitting

# two for the broker, one for the generator
CORES_FOR_A_RATE = 3
HAS_CORES = len(machine.CORES) >= CORES_FOR_A_RATE
SERVER_CORES = ",".join(map(str, machine.CORES[:2]))
LEAST = 1.7
READERS_PER_TOPIC = 100
# events a second in all that one worker surely carries; from there on it rises until readers wait too long
STRESS = {"topics": 10, "rate": 500, "factor": 1.1, "step": 2, "slow_ms": 100, "max_steps": 30}
# Linux cuts the name of a worker's thread
WORKER = "actix-rt|system"
SHARE = 0.2
# row 5's tokens, more of them than two such workers carry
OVERLOAD = {"topics": 1_000, "publishers": 10, "rate": 30}
# it is throttled a hundred times a second, so what it carries varies
LONGER = 3


def _held_back(sitting: Sitting, workers: int) -> Figures:
    """What so many slow workers deliver of too much."""
    with sitting.broker(workers=workers, cores=machine.ALL_CORES) as broker:
        with quota.Quota(broker.pids[0], WORKER, SHARE, machine.CORES):
            figures = sitting.bench("streams", broker, core=machine.ALL_CORES,
                                    seconds=LONGER * sitting.seconds, **OVERLOAD)
    is_limit = figures["broker_cpu_percent"] >= 95 * SHARE * workers
    return {**figures, "carried_deliveries_per_s": figures["deliveries_per_s"],
            "limited_by": "broker" if is_limit else "neither"}


def _saturated(sitting: Sitting, workers: int) -> Figures:
    """The most deliveries a second that so many workers carry."""
    readers = sitting.count(READERS_PER_TOPIC)
    with sitting.broker(workers=workers, cores=SERVER_CORES) as broker:
        core = str(machine.CORES[CORES_FOR_A_RATE - 1])
        figures = sitting.bench("stress", broker, core=core, readers_per_topic=readers, **STRESS)
    return {**figures, "carried_deliveries_per_s": figures["carried_events_per_s"] * readers}


def _shared(sitting: Sitting, workers: int) -> Figures:
    """Row 1, with broker and generator on all cores."""
    return fanout.fanout(sitting, sitting.broker(workers=workers, cores=machine.ALL_CORES), core=machine.ALL_CORES)


def _case(name: str, workers: int) -> Case:
    if HAS_CORES:
        return Case(name, lambda s: _saturated(s, workers), most_rounds=2)
    if quota.is_possible():
        return Case(name, lambda s: _held_back(s, workers), most_rounds=3)
    return Case(name, lambda s: _shared(s, workers))


ONE, TWO = _case("one worker", 1), _case("two workers", 2)


def _cost_instead(sitting: Sitting, findings: Findings) -> Findings:
    cores = len(machine.CORES)
    findings.missing(f"deliveries/s cannot be told with {cores} cores and no control groups: two have to be the "
                     "broker's, one the generator's")
    cost = ratios(sitting.values(TWO.name, fanout.COST), sitting.values(ONE.name, fanout.COST))
    findings.tell("instead, row 1 on all cores: CPU per delivery with 2 workers {} × that with 1", cost)
    return findings


def _row_16(sitting: Sitting) -> Findings:
    findings = Findings()
    if not HAS_CORES and not quota.is_possible():
        return _cost_instead(sitting, findings)
    rates = [sitting.values(case.name, "carried_deliveries_per_s") for case in (ONE, TWO)]
    grown = ratios(rates[1], rates[0])
    if grown is None:
        findings.missing("? ×")
    elif grown.mid >= LEAST or set(sitting.values(TWO.name, "limited_by")) == {"broker"}:
        findings.judge_true(f"{grown.text()} ×", grown.mid >= LEAST)
    else:
        findings.missing(f"at least {grown.text()} ×: the broker was not the limit")
    for who, case in [("one", ONE), ("two", TWO)]:
        findings.tell(f"{who}: {{}} deliveries/s", sitting.spread(case.name, "carried_deliveries_per_s"), digits=0)
    if not HAS_CORES:
        findings.say(f"row 5's load; each worker was held to {SHARE:.0%} of a core, so that the generator had the rest")
    return findings


ROWS = [
    Row(16, "1 → 2 workers, generator not the limit", "deliveries/s", "≥ 1.7 ×", (ONE, TWO), _row_16),
]
