"""Which code is watched."""

from __future__ import annotations

import types

from transom import _instrument


def test_classes_that_refer_to_each_other() -> None:
    module = types.ModuleType("circular")
    source = """
class A:
    def f(self): pass
class B:
    def g(self): pass
A.other, B.other, A.itself = B, A, A
"""
    exec(compile(source, "circular.py", "exec"), module.__dict__)
    _instrument._watch_module(module, True)
    _instrument._watch_module(module, False)
