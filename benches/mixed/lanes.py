"""Runs `tidewire bench` again and again, in lanes: in each lane one run after the other, all lanes at once.

A run that could not end before the deadline is not begun; the runs for the whole time end with it.
"""

import os
import resource
import signal
import subprocess
import threading
import time
from typing import Callable

from . import scenarios
from .account import Account
from .broker import Broker, cpu_s


class Lanes:
    def __init__(self, broker: Broker, seconds: float, account: Account):
        self.broker, self.account = broker, account
        self.deadline = time.monotonic() + seconds
        self.erases = broker.token("subscribe", "publish", "delete")
        self.leaves = broker.token("subscribe", "publish")
        self.running: set[subprocess.Popen] = set()
        self.is_stopped = threading.Event()
        lanes = [(self.whole_time, line) for line in scenarios.WHOLE_TIME]
        lanes.append((self.in_turn, scenarios.ANSWERS, scenarios.ANSWERS_EACH_S))
        lanes.append((self.in_turn, scenarios.EVENTS, scenarios.EVENTS_EACH_S))
        self.threads = [threading.Thread(target=self.lane, args=lane) for lane in lanes]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def are_open(self) -> bool:
        return any(thread.is_alive() for thread in self.threads)

    def lane(self, runs: Callable, *of_what) -> None:
        try:
            runs(*of_what)
        except OSError as error:
            self.account.fail(f"a lane ended early: {error}")

    def whole_time(self, line: str) -> None:
        left = self.deadline - time.monotonic()
        self.bench(f"{line} --seconds {left:.1f}", self.erases)

    def in_turn(self, lines: list[str], each_s: float) -> None:
        turn, next_at = 0, time.monotonic()
        while not self.is_stopped.is_set() and next_at + each_s < self.deadline:
            # half of the runs leave their topics to retention, and in each round it is the other half
            leaves = (turn + turn // len(lines)) % 2 == 1
            self.bench(lines[turn % len(lines)], self.leaves if leaves else self.erases)
            turn += 1
            next_at = max(next_at + each_s, time.monotonic())
            self.is_stopped.wait(next_at - time.monotonic())

    def bench(self, line: str, token: str) -> None:
        command = line.split()
        process = subprocess.Popen(
            [self.broker.program, "bench", *command, "--url", self.broker.url, "--json", "--quiet"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ, TIDEWIRE_TOKEN=token),
            start_new_session=True,
        )
        with self.account.lock:
            self.running.add(process)
            # it may have begun after stop() had looked
            if self.is_stopped.is_set():
                process.send_signal(signal.SIGINT)
        printed, errors = process.communicate()
        with self.account.lock:
            self.running.discard(process)
        if not self.is_stopped.is_set():
            self.account.note(command, process.returncode, printed, errors)

    def cpu_s(self) -> float:
        """CPU seconds of all runs until now."""
        with self.account.lock:
            ended = resource.getrusage(resource.RUSAGE_CHILDREN)
            return ended.ru_utime + ended.ru_stime + sum(cpu_s(process.pid) for process in self.running)

    def stop(self) -> None:
        """Ends what still runs, and waits for it."""
        with self.account.lock:
            self.is_stopped.set()
            for process in self.running:
                process.send_signal(signal.SIGINT)
        for thread in self.threads:
            if thread.is_alive():
                thread.join()
