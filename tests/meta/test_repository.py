"""Rules for the files of the repository as a whole."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from sources import ROOT

# Addresses come from each machine's own configuration (pip, apt, npm, ...), so that a mirror is honoured and
# a repository can be moved.  Written in pieces, so that this file passes its own check.
HOSTS = re.compile(
    "|".join(
        re.escape(".".join(host))
        for host in [
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("deb", "debian", "org"),
            ("ftp", "debian", "org"),
            ("snapshot", "debian", "org"),
            ("archive", "ubuntu", "com"),
            ("registry", "npmjs", "org"),
            ("npmjs", "com"),
            ("crates", "io"),
            ("hex", "pm"),
            ("anaconda", "org"),
            ("docker", "io"),
            ("quay", "io"),
            ("ghcr", "io"),
            ("nodejs", "org"),
            ("python", "org/ftp"),
        ]
    ),
    re.IGNORECASE,
)

FRAGMENT = re.compile(r"[\w-]+\.(breaking|added|changed|fixed|perf|internal)\.md")


def repository_files() -> list[Path]:
    """The committed files, and those about to be."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = [name for name in listing.stdout.decode().split("\0") if name]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def registry_hosts(files: Iterable[Path]) -> list[str]:
    found = []
    for path in files:
        for number, line in enumerate(path.read_bytes().decode(errors="replace").splitlines(), 1):
            if match := HOSTS.search(line):
                found.append(f"{path}:{number}: {match[0]}")
    return found


def test_no_registry_host_is_written_down() -> None:
    found = registry_hosts(repository_files())
    assert not found, "\n".join(found)


def test_no_built_file_is_committed() -> None:
    built = {".so", ".o", ".a", ".whl", ".pyc", ".gz", ".beam"}
    assert [path for path in repository_files() if path.suffix in built] == []


def test_changelog_fragments_are_named_by_the_rule() -> None:
    for path in sorted((ROOT / "changelog.d").iterdir()):
        assert path.name == "README.md" or FRAGMENT.fullmatch(path.name), f"{path.name}: see changelog.d/README.md"


def test_shell_scripts_parse() -> None:
    for path in repository_files():
        if path.suffix == ".sh":
            done = subprocess.run(["sh", "-n", path], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr


def test_violations_are_found(tmp_path: Path) -> None:
    bad = tmp_path / "bad.txt"
    dot = "."
    bad.write_text(f"fine\nhttps://files{dot}pythonhosted{dot}org/x\n")
    assert [line.removeprefix(str(bad)) for line in registry_hosts([bad])] == [f":2: pythonhosted{dot}org"]
    assert FRAGMENT.fullmatch("2.added.md") and not FRAGMENT.fullmatch("2.new.md")
