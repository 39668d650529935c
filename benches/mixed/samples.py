"""What the broker holds and uses over time: sampled, written to a CSV file row by row, and judged in the end."""

import csv
import statistics
import time
from pathlib import Path
from typing import Callable

from .broker import Broker
from .lanes import Lanes

COLUMNS = ["seconds", "rss_kb", "log_bytes", "connections", "topics", "broker_cpu_percent", "bench_cpu_percent"]
# After this share of the time every scenario has had its turn, tables and buffers have their size and the allocator has
# what it keeps.
WARM_UP = 0.1
# Flat: the mean of the last fifth is at most this much over the mean of the second fifth.
MAY_GROW, MAY_GROW_KB = 0.10, 8 * 1024


class Samples:
    def __init__(self, broker: Broker, lanes: Lanes, file: Path | None):
        self.broker, self.lanes = broker, lanes
        self.rows: list[dict] = []
        self.out = file.open("w", newline="") if file else None
        if self.out:
            csv.writer(self.out, lineterminator="\n").writerow(COLUMNS)
        self.begin = self.last_at = time.monotonic()
        self.last_cpu = (broker.cpu_s(), lanes.cpu_s())

    def take(self) -> dict:
        metrics, cpu, now = self.broker.metrics(), (self.broker.cpu_s(), self.lanes.cpu_s()), time.monotonic()
        used = [100 * max(0, is_now - was) / (now - self.last_at) for is_now, was in zip(cpu, self.last_cpu)]
        self.last_at, self.last_cpu = now, cpu
        held = [int(metrics[f"tidewire_{name}"]) for name in ("log_bytes", "connections", "topics")]
        values = [round(now - self.begin, 1), self.broker.rss_kib(), *held, *(round(percent, 1) for percent in used)]
        self.rows.append(dict(zip(COLUMNS, values)))
        if self.out:
            csv.writer(self.out, lineterminator="\n").writerow(values)
            self.out.flush()
        return self.rows[-1]

    def take_each(self, every_s: float, progress: Callable[[dict], None]) -> None:
        """Until all lanes are through."""
        next_at = self.begin
        while self.lanes.are_open():
            next_at += every_s
            time.sleep(max(0, next_at - time.monotonic()))
            progress(self.take())

    def close(self) -> None:
        if self.out:
            self.out.close()


class Verdict:
    """Whether memory stayed flat, and the figures that say so."""

    def __init__(self, rows: list[dict]):
        self.rows = rows
        self.end_s = rows[-1]["seconds"]
        self.warm = [row for row in rows if row["seconds"] >= WARM_UP * self.end_s]
        minutes = [row["seconds"] / 60 for row in self.warm]
        self.slope_kb = statistics.linear_regression(minutes, [row["rss_kb"] for row in self.warm]).slope
        self.second, self.last = self.mean_of_fifth(2), self.mean_of_fifth(5)
        self.bound = self.second * (1 + MAY_GROW) + MAY_GROW_KB
        self.is_flat = self.last <= self.bound

    def mean_of_fifth(self, number: int) -> float:
        fifth = self.end_s / 5
        return statistics.mean(row["rss_kb"] for row in self.rows if number - 1 < row["seconds"] / fifth <= number)

    def mean(self, column: str) -> float:
        return statistics.mean(row[column] for row in self.warm)

    def text(self) -> str:
        def megabytes(kb: float) -> str:
            return f"{kb / 1024:8.1f} MB"

        first = self.warm[0]
        most = max(row["rss_kb"] for row in self.rows)
        flat = f"{'flat' if self.is_flat else 'NOT FLAT'}: at most {self.bound / 1024:.1f} MB"
        return "\n".join(
            [
                f"RSS after the warm-up     {megabytes(first['rss_kb'])}   (the first tenth: {first['seconds']:.0f} s)",
                f"RSS at the end            {megabytes(self.rows[-1]['rss_kb'])}   (most: {most / 1024:.1f} MB)",
                f"slope after the warm-up   {self.slope_kb:+8.1f} KB a minute",
                f"mean of the second fifth  {megabytes(self.second)}",
                f"mean of the last fifth    {megabytes(self.last)}   ({flat})",
                f"mean log                  {megabytes(self.mean('log_bytes') / 1024)}",
                f"mean load                 {self.mean('connections'):8.0f} connections, {self.mean('topics'):.0f} topics",
                f"mean CPU of the broker    {self.mean('broker_cpu_percent'):8.0f} % of one core",
                f"mean CPU of generators    {self.mean('bench_cpu_percent'):8.0f} %",
            ]
        )
