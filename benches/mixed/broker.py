"""A broker of its own, on a free port, and what can be seen of it from outside: its metrics, its memory, its CPU."""

import os
import re
import secrets
import subprocess
import urllib.request
from collections import Counter
from pathlib import Path

# Retention so short that what the broker may keep is level long before the second fifth of an hour: a topic without
# events is remembered for 24 times its age (docs/decisions/0005), here for two minutes.
SETTINGS = {
    "--listen": "127.0.0.1:0",
    "--log-level": "warn",
    "--defaults-retention-age": "5s",
    "--max-connection-age": "3m",
    "--drain-timeout": "1s",
}
STOPS_WITHIN_S = 10


class Missing(Exception):
    """Something that is needed is not there, or does not start."""


def cpu_s(pid: int) -> float:
    """CPU seconds of a process until now; 0 once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Broker:
    def __init__(self, tidewire: Path, scratch: Path):
        self.tidewire = tidewire
        self.errors = scratch / "broker.log"
        self.environment = dict(os.environ, TIDEWIRE_AUTH_SECRET=secrets.token_hex(32))
        settings = [word for setting in SETTINGS.items() for word in setting]
        with self.errors.open("wb") as log:
            # a session of its own: Ctrl-C is for benches/churn, which stops the load first
            self.process = subprocess.Popen(
                [tidewire, "serve", *settings],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.environment,
                start_new_session=True,
            )
        address = re.search(r"http://\S+", self.process.stdout.readline())
        if not address:
            self.process.wait()
            raise Missing(f"the broker did not start: {self.last_words()}")
        self.url = address.group()

    def token(self, *rights: str) -> str:
        """A token for everything below /bench, as far as these rights go."""
        granted = [word for right in rights for word in (f"--{right}", "/bench/**")]
        command = [self.tidewire, "token", "create", "--subject", "churn", "--expires-in", "7d", *granted]
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout.strip()

    def metrics(self) -> Counter:
        """Each metric by its name, summed over its labels."""
        sums: Counter = Counter()
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as answer:
            for name, value in re.findall(r"^(\w+)(?:\{.*\})? (\S+)$", answer.read().decode(), re.M):
                sums[name] += float(value)
        return sums

    def rss_kb(self) -> int:
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text()).group(1))

    def cpu_s(self) -> float:
        return cpu_s(self.process.pid)

    def how_it_ended(self) -> str | None:
        status = self.process.poll()
        return None if status is None else f"the broker ended with status {status}: {self.last_words()}"

    def last_words(self) -> str:
        lines = self.errors.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
