"""What the built extension shows to the outside: one symbol, and no need for the GIL."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from sources import ROOT, c_files

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def extensions() -> list[Path]:
    """The extension modules of the installed package."""
    spec = importlib.util.find_spec("transom")
    assert spec is not None and spec.origin is not None
    found = [path for path in Path(spec.origin).parent.rglob("*") if path.suffix in (".so", ".pyd")]
    assert found, "the installed package has no extension"
    return sorted(found)


def exported(library: Path) -> set[str]:
    listing = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True)
    # Names with two underscores in front belong to the compiler (sanitizer builds have some).
    return {
        line.split()[-1].split("@")[0] for line in listing.stdout.splitlines() if not line.split()[-1].startswith("__")
    }


def gil_after_import(module: str, folder: Path | None = None) -> str:
    """What a fresh interpreter says of the GIL after `import module`: "on" or "off"."""
    code = f"import sys, {module}; print('on' if sys._is_gil_enabled() else 'off')"
    # PYTHON_GIL would decide the matter, whatever the module declares.
    env = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert child.returncode == 0, child.stderr
    return child.stdout.strip()


def compile_module(source: str, name: str, folder: Path) -> Path:
    """A small extension, to show that the checks above can fail."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    library = folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    (folder / f"{name}.c").write_text(source)
    include = f"-I{sysconfig.get_path('include')}"
    subprocess.run(["cc", "-shared", "-fPIC", include, folder / f"{name}.c", "-o", library], check=True)
    return library


NEEDS_THE_GIL = """
#include <Python.h>
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, .m_name = "needy"};
int leaked(void) { return 1; }
PyMODINIT_FUNC PyInit_needy(void) { return PyModuleDef_Init(&def); }
"""


@pytest.mark.skipif(sys.platform != "linux", reason="nm -D reads ELF files")
def test_the_init_function_is_the_only_export() -> None:
    for library in extensions():
        assert exported(library) == {f"PyInit_{library.name.split('.')[0]}"}


@pytest.mark.skipif(not FREE_THREADED, reason="this interpreter always has the GIL")
def test_import_leaves_the_gil_off() -> None:
    assert gil_after_import("transom") == "off"
    for library in extensions():
        assert gil_after_import(f"transom.{library.name.split('.')[0]}") == "off"


def test_every_extension_declares_that_it_needs_no_gil() -> None:
    inits = [path for path in c_files(ROOT) if "PyMODINIT_FUNC" in path.read_text()]
    assert inits
    for path in inits:
        assert "Py_MOD_GIL_NOT_USED" in path.read_text(), f"{path}: no Py_MOD_GIL_NOT_USED"


@pytest.mark.slow
def test_violations_are_found(tmp_path: Path) -> None:
    library = compile_module(NEEDS_THE_GIL, "needy", tmp_path)
    if sys.platform == "linux":
        assert exported(library) >= {"PyInit_needy", "leaked"}
    assert gil_after_import("needy", tmp_path) == "on"
