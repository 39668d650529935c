"""The package as it is published: built, installed somewhere else, its README and examples run as they are written."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path

import pytest

from .broker import BOUND, PACKAGE, Broker

README = (PACKAGE / "README.md").read_text(encoding="utf-8")
QUICK_STARTS = re.findall(r"```python quickstart\n(.*?)```", README, re.DOTALL)


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": "", **environment}
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that is made from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(PACKAGE))
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python that has the wheel and what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", str(folder))
    python = str(folder / "bin" / "python")
    (wheel,) = built.glob("*.whl")
    run(
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        str(wheel),
        f"websockets=={version('websockets')}",
    )
    return python


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with Broker() as broker:
        yield broker.url


def test_what_is_in_it(built: Path) -> None:
    (wheel,) = built.glob("tidewire-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"tidewire/py.typed", "tidewire/_types.py", "tidewire/agent.py", "tidewire/sync.py"} <= set(names)
    assert all(name.startswith("tidewire") for name in names)
    licences = {name: (PACKAGE / name).read_bytes() for name in ("LICENSE-MIT", "LICENSE-APACHE")}
    for name, text in licences.items():
        (inside,) = [n for n in names if n.endswith(f".dist-info/licenses/{name}")]
        assert zipfile.ZipFile(wheel).read(inside) == text
    (metadata,) = [n for n in names if n.endswith(".dist-info/METADATA")]
    said = zipfile.ZipFile(wheel).read(metadata).decode()
    assert "License-Expression: MIT OR Apache-2.0\n" in said and said.count("License-File: ") == 2
    (sdist,) = built.glob("tidewire-*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside_sdist = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {"examples/agent.py", "src/tidewire/py.typed", "README.md", *licences} <= inside_sdist


def test_its_licences_are_those_of_the_repository() -> None:
    for name in ("LICENSE-MIT", "LICENSE-APACHE"):
        assert (PACKAGE / name).read_bytes() == (PACKAGE.parent.parent / name).read_bytes()


def test_what_the_tests_need_is_pinned_with_hashes_and_names_no_host() -> None:
    text = (PACKAGE / "requirements-dev.txt").read_text()
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    assert len(lines) > 20 and all("==" in line and "--hash=sha256:" in line for line in lines)
    assert "://" not in text and "index" not in text


async def test_the_quick_starts_as_written(installed: str, url: str) -> None:
    assert len(QUICK_STARTS) == 3
    said = [
        await asyncio.to_thread(run, installed, "-W", "error", "-c", code, TIDEWIRE_URL=url) for code in QUICK_STARTS
    ]
    assert said[0] == said[1] == ""
    assert "completed Hello\n" in said[2] and said[2].endswith("completed Hello again\n")


async def test_the_examples(installed: str, url: str) -> None:
    from tidewire import Client, Event

    examples = PACKAGE / "examples"
    await asyncio.to_thread(run, installed, str(examples / "agent.py"), "/chat/1", "Why?", TIDEWIRE_URL=url)
    await asyncio.to_thread(run, "sh", str(examples / "pipe.sh"), "/chat/2", TIDEWIRE_URL=url, PYTHON=installed)

    async def text(topic: str) -> str:
        async for item in Client(url).subscribe(topic, start="start"):
            if isinstance(item, Event) and item.message and item.message.state == "completed":
                return item.message.text
        return ""

    assert (await asyncio.wait_for(text("/chat/1"), BOUND)).startswith("You asked: Why? The sea")
    assert await asyncio.wait_for(text("/chat/2"), BOUND) == "The tide comes in and goes out again. "


def test_it_is_typed_for_those_who_use_it(installed: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from tidewire import Agent\n"
        "async def main() -> None:\n"
        "    async with Agent('http://h', producer='p') as agent, agent.message('/a') as m:\n"
        "        reveal_type(m.cancelled)\n"
        "        await m.delta(1)\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--python-executable",
            installed,
            "--cache-dir",
            str(tmp_path),
            str(program),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": "", "MYPYPATH": ""},
        cwd=tmp_path,
    )
    assert 'Revealed type is "bool"' in done.stdout, done.stdout
    assert "incompatible type" in done.stdout and "import" not in done.stdout, done.stdout


def test_the_types_are_those_of_the_schemas() -> None:
    run(sys.executable, str(PACKAGE / "scripts" / "generate_types.py"), "--check")


def test_nothing_of_a_machine_is_in_it() -> None:
    for path in PACKAGE.rglob("*"):
        inside = path.relative_to(PACKAGE).parts
        if path.is_file() and not inside[0].startswith(".") and "__pycache__" not in inside:
            text = path.read_text(encoding="utf-8", errors="replace")
            found = re.findall(r"/(?:home|root|work|Users)/\S+", text)
            assert not found or path.name == "test_package.py", f"{path}: {found}"
