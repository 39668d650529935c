"""The API reference is made from doc comments: there is one for every public name, and the command of the README works."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import tidewire
import tidewire.errors
import tidewire.sync

from .broker import PACKAGE

MODULES = [tidewire, tidewire.errors, tidewire.sync]


def undescribed(module: ModuleType) -> list[str]:
    missing = [] if module.__doc__ else [module.__name__]
    for name in module.__all__:
        value = getattr(module, name)
        where = f"{module.__name__}.{name}"
        if not inspect.isclass(value):
            continue  # a union of such classes
        if not value.__doc__ or value.__doc__.startswith(f"{name}("):
            missing.append(where)
        # fields of plain records have their names, their types and the words of the class
        for member, what in vars(value).items():
            is_code = inspect.isroutine(what) or isinstance(what, property)
            if is_code and not member.startswith("_") and not what.__doc__:
                missing.append(f"{where}.{member}")
    return missing


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_name_is_described(module: ModuleType) -> None:
    assert undescribed(module) == []


def test_the_reference_is_made_by_the_command_of_the_readme(tmp_path: Path) -> None:
    (command,) = [line for line in (PACKAGE / "README.md").read_text().splitlines() if "-m pdoc" in line]
    arguments = command.strip().split("-m pdoc ")[1].replace("-o api", f"-o {tmp_path}").split()
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-m", "pdoc", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=PACKAGE,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "tidewire.html").read_text()
    for name in tidewire.__all__:
        assert f'id="{name}"' in page, name
    assert 'id="Agent.demand"' in (tmp_path / "tidewire" / "sync.html").read_text()
    assert 'id="NotTidewire"' in (tmp_path / "tidewire" / "errors.html").read_text()
