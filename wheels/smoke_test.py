"""Is an installed wheel whole? Run with the interpreter it was installed into, from any folder, without pytest.

It asks only what a broken wheel would fail: the extension loads, leaves the GIL off, belongs to the installed
package and not to a checkout, and a program of two processes runs.
"""

import importlib.metadata
import subprocess
import sys
import sysconfig
from pathlib import Path

import transom


async def echo() -> None:
    sender, text = await transom.receive(tuple, timeout=10)
    transom.send(sender, text.upper())


async def main() -> str:
    pid, ref = transom.spawn_monitor(echo)
    transom.send(pid, (transom.current_pid(), "hello"))
    reply = await transom.receive(str, timeout=10)
    down = await transom.receive(ref, timeout=10)
    assert down.reason == "normal", down
    return reply


if sysconfig.get_config_var("Py_GIL_DISABLED"):
    assert not sys._is_gil_enabled(), "importing transom switched the GIL on"

package = Path(transom.__file__).parent
assert package.parent == Path(sysconfig.get_path("platlib")), f"this is not the installed package: {package}"
assert [file.name for file in package.glob("_core*") if file.suffix in (".so", ".pyd")], "no extension in the wheel"
assert (package / "py.typed").exists() and (package / "_core.pyi").exists(), "the type information is missing"
assert not list(package.rglob("*.[ch]")), "C sources in the wheel"

assert transom.run(main) == "HELLO"

command = Path(sysconfig.get_path("scripts")) / "transom"
subprocess.run([command, "--help"], check=True, stdout=subprocess.DEVNULL, timeout=60)
print(f"transom {importlib.metadata.version('transom')}: the wheel works ({sys.version.split()[0]}, {sys.platform})")
