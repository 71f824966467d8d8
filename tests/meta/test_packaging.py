"""What is shipped: the sdist builds a wheel that imports, and the lists that say a thing twice agree."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from sources import ROOT

import transom

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def run(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_sdist_builds_a_wheel_that_imports(tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, ROOT, cwd=ROOT)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
        archive.extractall(tmp_path / "tree", filter="data")
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ext").rglob("*.[ch]")}
    assert ours <= names, "C files missing in the sdist"

    # From the unpacked sdist, so that nothing of the checkout can help.
    (tree,) = (tmp_path / "tree").iterdir()
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, tree, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    assert {"transom/py.typed", "transom/_core.pyi"} <= names
    strangers = {name for name in names if not re.match(r"transom(-[\d.]+\.dist-info)?/|_transom_pytest\.py$", name)}
    sources = {name for name in names if name.endswith((".c", ".h"))}
    assert not strangers and not sources, "the wheel holds what it should not"
    check = (
        "import sys; sys.path.insert(0, '.'); import transom; assert transom.__file__.startswith(sys.argv[1]), transom"
    )
    run(sys.executable, "-I", "-c", check, str(tmp_path / "site"), cwd=tmp_path / "site")


def test_one_version() -> None:
    assert transom.__version__ == PROJECT["project"]["version"] == importlib.metadata.version("transom")


def test_the_extra_test_is_what_set_up_installs() -> None:
    listed = [
        line.strip()
        for line in (ROOT / "scripts/requirements-test.txt").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    assert PROJECT["project"]["optional-dependencies"]["test"] == listed


def test_the_command_exists() -> None:
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="transom")
    assert callable(entry.load())
