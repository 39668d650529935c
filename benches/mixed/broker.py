"""The broker that churns: with all cores, with tokens, and with little that it may keep."""

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from kit import machine
from kit.servers import Server, Tidewire
from kit.trouble import Trouble

# All so short that what the broker may keep is level long before the second fifth of an hour: a topic without events is
# remembered for 24 times the retention's age (docs/decisions/0005), here for two minutes; an answer that is broken off,
# as the last ones of each run are, stays open for as long as a message may be idle.
SETTINGS = {
    "--listen": "127.0.0.1:0",
    "--log-level": "warn",
    "--defaults-retention-age": "5s",
    "--limits-message-idle": "20s",
    "--max-connection-age": "3m",
    "--drain-timeout": "1s",
}


class Broker(Tidewire):
    def __init__(self, program: Path):
        self.built = program
        # not as Tidewire is begun, with anonymous access to everything: some of the load may not erase its topics
        Server.__init__(self, [])

    def start(self) -> None:
        # whoever builds during the hour does not change what is measured
        self.program = Path(shutil.copy2(self.built, self.folder))
        self.key = self.folder / "key"
        self.key.write_text(secrets.token_hex(32))
        settings = [word for setting in SETTINGS.items() for word in setting]
        pinned = ["taskset", "-c", machine.ALL_CORES]
        self.command = [*pinned, str(self.program), "serve", *settings, "--auth-key-file", str(self.key)]
        super().start()

    def token(self, *rights: str) -> str:
        """A token for everything below /bench, as far as these rights go."""
        granted = [word for right in rights for word in (f"--{right}", "/bench/**")]
        create = [str(self.program), "token", "create", "--key-file", str(self.key), "--subject", "churn", "--expires-in", "7d"]
        done = subprocess.run([*create, *granted], capture_output=True, text=True)
        if done.returncode != 0:
            raise Trouble(f"no token: {done.stderr.strip()}")
        return done.stdout.strip()

    def cpu_s(self) -> float:
        return sum(map(cpu_s, self.pids))

    def how_it_ended(self) -> str | None:
        status = self.process.poll()
        return None if status is None else f"the broker ended with status {status}: {self.last_words()}"


def cpu_s(pid: int) -> float:
    """CPU seconds of a process until now; 0 once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
