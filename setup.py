"""Builds the one extension, transom._core; everything else about the package stands in pyproject.toml.

TRANSOM_BUILD chooses how it is compiled, and is the only thing read from the environment beside the usual
CC, CFLAGS and LDFLAGS:

    release   optimised, no asserts (the default)
    debug     asserts on, warnings are errors
    asan      AddressSanitizer and UndefinedBehaviorSanitizer, asserts on
    tsan      ThreadSanitizer, asserts on
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wundef"]

# A checked build: the compiler's own complaints stop it, so that none is ever merged.  Released sources
# are compiled by compilers nobody has tried yet, so there they stay warnings.
CHECKED = ["-UNDEBUG", "-DTSM_DEBUG", "-Werror", "-fno-omit-frame-pointer"]

# What the sanitizer adds makes gcc 12 see the address 0 where none can be.
ASAN = [*CHECKED, "-fsanitize=address,undefined", "-Wno-stringop-overflow"]

# mode -> (compiler flags, linker flags)
MODES: dict[str, tuple[list[str], list[str]]] = {
    "release": (["-O3", "-DNDEBUG"], []),
    "debug": (["-Og", *CHECKED], []),
    "asan": (["-O1", *ASAN], ["-fsanitize=address,undefined"]),
    "tsan": (["-O1", *CHECKED, "-fsanitize=thread"], ["-fsanitize=thread"]),
}


def build_mode() -> str:
    mode = os.environ.get("TRANSOM_BUILD") or "release"
    if mode not in MODES:
        sys.exit(f"TRANSOM_BUILD={mode!r} is unknown; it is one of {', '.join(MODES)}")
    return mode


def core_extension() -> Extension:
    compile_flags, link_flags = MODES[build_mode()]
    return Extension(
        "transom._core",
        sources=sorted(glob("ext/*/*.c")),
        include_dirs=["ext"],
        # For setuptools' own file lists; BuildCore asks the compiler which header each source reads.
        depends=sorted(glob("ext/*/*.h")),
        extra_compile_args=[
            "-std=gnu11",
            "-g",
            *WARNINGS,
            "-fvisibility=hidden",
            # Thread-local words are read for every message: this makes each a single load.
            *(["-ftls-model=initial-exec"] if sys.platform.startswith("linux") else []),
            *compile_flags,
        ],
        extra_link_args=["-pthread", *link_flags],
    )


class BuildCore(build_ext):
    """Compiles the C files side by side, and only those whose text or headers changed.

    setuptools compiles one file after another, and all of them when any changed, which makes the loop of
    edit and test slow.
    """

    def finalize_options(self) -> None:
        super().finalize_options()
        # Object files of different modes do not mix.
        self.build_temp = f"{self.build_temp}-{build_mode()}"

    def build_extension(self, ext: Extension) -> None:
        if self.compiler.compiler_type == "unix":
            self.compiler.compile = self._compile_changed
            # Linking is cheap and setuptools' own check, by time alone, cannot tell two modes apart.
            Path(self.get_ext_fullpath(ext.name)).unlink(missing_ok=True)
        super().build_extension(ext)

    def _compile_changed(self, sources, output_dir, macros, include_dirs, debug, extra_postargs, depends):
        """What CCompiler.compile does, for the objects that need it."""
        compiler = self.compiler
        macros, objects, extra_postargs, pp_opts, build = compiler._setup_compile(
            output_dir, macros, include_dirs, sources, depends, extra_postargs
        )
        cc_args = compiler._get_cc_args(pp_opts, debug, None)
        command = " ".join([*compiler.compiler_so, *cc_args, *extra_postargs])

        def compile_one(obj: str) -> None:
            source, extension = build[obj]
            deps, used = Path(f"{obj}.d"), Path(f"{obj}.cmd")
            if is_current(Path(obj), deps, used, command):
                return
            used.unlink(missing_ok=True)
            write_deps = ["-MMD", "-MF", str(deps)]
            compiler._compile(obj, source, extension, cc_args, [*extra_postargs, *write_deps], pp_opts)
            used.write_text(command)

        jobs = self.parallel if isinstance(self.parallel, int) else os.cpu_count() or 1
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(compile_one, [obj for obj in objects if obj in build]))
        return objects


def is_current(obj: Path, deps: Path, used: Path, command: str) -> bool:
    """Whether obj was made by this very command and is newer than each file the compiler read for it."""
    try:
        if used.read_text() != command:
            return False
        made = obj.stat().st_mtime_ns
        # A make rule: "object: source header header \\<newline> header ...".
        names = deps.read_text().replace("\\\n", " ").split(":", 1)[1].split()
        return all(os.stat(name).st_mtime_ns < made for name in names)
    except (OSError, IndexError):
        return False


setup(ext_modules=[core_extension()], cmdclass={"build_ext": BuildCore})
