"""Crash reports: one log record for each process that ends abnormally, to the logger ``transom``.

A report can carry what agents are made of: prompts, documents, keys. So values are shortened, items whose name looks
like a secret are replaced, and ``set_redaction`` installs a hook that sees every value first.
"""

from __future__ import annotations

import logging
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from transom._core import Call, Pid
from transom._values import Crash

_log = logging.getLogger("transom")
_trace_log = logging.getLogger("transom.trace")

type Redaction = Callable[[str, Any], Any]

SECRET = re.compile(r"(?i)api_?key|token|secret|passw|credential|authori[sz]ation|cookie")
REDACTED = "<redacted>"

_short = reprlib.Repr(maxlevel=4, maxstring=200, maxother=200, maxdict=20, maxlist=10, maxtuple=10)
_redaction: Redaction | None = None


def set_redaction(hook: Redaction | None) -> Redaction | None:
    """Install what sees every value before a crash report shows it; returns the hook before.

    Without a hook, values are shortened and items of mappings whose key looks like a secret (``api_key``, ``token``,
    ``password`` and the like) are replaced. That still applies to what the hook returns.

    Args:
        hook: Called as ``hook(what, value)`` in a scheduler thread, once the process is dead; what is ``"state"``,
            ``"message"`` or ``"reason"``. It returns what to show instead. If it raises, nothing of the value is
            shown. None removes the hook.

    Callable from any thread, at any time; does not block.

    Example:
        >>> import transom
        >>> before = transom.set_redaction(lambda what, value: "hidden" if what == "message" else value)
        >>> _ = transom.set_redaction(before)

    Source: none in OTP, where format_status does it for each server.
    """
    global _redaction
    if hook is not None and not callable(hook):
        raise TypeError(f"set_redaction() takes a function (what, value) or None, not {type(hook).__name__}")
    before, _redaction = _redaction, hook
    return before


def shown(what: str, value: Any) -> str:
    """value as reports show it."""
    try:
        if _redaction is not None:
            value = _redaction(what, value)
        return _short.repr(_masked(value, 0))
    except Exception as error:
        return f"<not shown: {type(error).__name__}>"


def _masked(value: Any, depth: int) -> Any:
    if depth > 4:
        return value
    if isinstance(value, Mapping):
        return {
            key: REDACTED if isinstance(key, str) and SECRET.search(key) else _masked(item, depth + 1)
            for key, item in value.items()
        }
    if type(value) in (list, tuple):
        return type(value)(_masked(item, depth + 1) for item in value)
    return value


def shown_call(call: Any) -> str:
    """A call as reports show it."""
    try:
        args, kwargs = call._arguments()
    except Exception as error:
        return f"{call._method}(<not shown: {type(error).__name__}>)"
    parts = [shown("message", arg) for arg in args]
    parts += [f"{k}={REDACTED if SECRET.search(k) else shown('message', v)}" for k, v in kwargs.items()]
    return f"{call._method}({', '.join(parts)}) from {call._from}"


def shown_message(message: Any) -> str:
    """Any message as reports show it."""
    return shown_call(message) if type(message) is Call else shown("message", message)


def trace(text: str) -> None:
    """One line of sys.trace."""
    _trace_log.info("%s", text)


def report(
    pid: Pid, reason: object, name: str | None, label: str | None, origin: Any, extra: dict[str, Any] | None
) -> None:
    """Log one crash report. The core calls it once for each abnormal end; runs in no process."""
    if not _log.isEnabledFor(logging.ERROR):
        return
    called = ", ".join(word for word in (name, label) if word)
    who = f"{pid} ({called})" if called else str(pid)
    details = [] if origin is None else _from_origin(origin)
    if extra is not None:
        details += extra.get("report", [])
    text = "".join(f"\n  {line}" for line in details)
    facts = {"transom_pid": pid, "transom_name": name, "transom_label": label, "transom_reason": reason}  # for handlers, as values
    if isinstance(reason, Crash):
        _log.error("process %s crashed: %s%s\n%s", who, reason.summary(), text, reason.traceback.rstrip(), extra=facts)
    else:
        shown_reason = repr(reason) if _redaction is None else shown("reason", reason)
        _log.error("process %s ended: %s%s", who, shown_reason, text, extra=facts)


def _from_origin(origin: Any) -> list[str]:
    ancestors = ", ".join(map(str, origin.ancestors)) or "none"
    return [f"initial call: {origin.initial_call}", f"ancestors: {ancestors}"]
