"""Publish and subscribe within a node."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from transom import _core
from transom._core import Pid

_KIND = 2
_SEPARATOR = re.compile(r"(?<=[:/.])")


class PubSub:
    """Topics that processes subscribe to, and messages for all who did.

    A topic is a str. Its parts end with ``:``, ``/`` or ``.``, and a subscription that ends with ``*`` behind a part gets
    all topics that begin alike: ``"room:*"`` gets ``"room:1"`` and ``"room:1:typing"``, and ``"*"`` gets everything. A
    process that ends is no subscriber any more. All methods run in the caller and do not wait.

    A message that is deeply immutable goes to all subscribers by reference; any other is copied for each, so prefer tuples
    and frozen dataclasses. A PubSub needs no start: everybody who names it means the same one.

    Args:
        name: Name of this system of topics.

    Example:
        >>> import transom
        >>> async def main():
        ...     news = transom.PubSub()
        ...     news.subscribe("room:*")
        ...     news.broadcast("room:1", ("hello", 1))
        ...     return await transom.receive()
        >>> transom.run(main)
        ('hello', 1)

    Source: Phoenix.PubSub.
    """

    __slots__ = ("_dir", "_name")

    def __init__(self, name: str = "default") -> None:
        if type(name) is not str or not name:
            raise TypeError(f"PubSub: name must be a non-empty str, not {name!r}")
        self._name = name
        self._dir = _core._directory(_KIND, name, False, "subscribe", "unsubscribe", False)

    def subscribe(self, topic: str, metadata: Any = None) -> None:
        """Subscribe the calling process; twice gets everything twice.

        Args:
            topic: A topic, or a pattern that ends with ``*``.
            metadata: Kept for ``broadcast`` with ``dispatch``; copied.

        Raises:
            ValueError: A ``*`` stands elsewhere than at the end, behind a part.
        """
        _check(topic)
        at = topic.find("*")
        if at >= 0 and (at != len(topic) - 1 or (at > 0 and topic[at - 1] not in ":/.")):
            raise ValueError(f"subscribe: a * may stand only at the end, behind ':', '/' or '.', not as in {topic!r}")
        self._dir.join(topic, _core.current_pid(), metadata)

    def unsubscribe(self, topic: str) -> None:
        """End all subscriptions of the calling process to topic, written as in ``subscribe``."""
        _check(topic)
        self._dir.leave(topic, _core.current_pid(), True)

    def broadcast(
        self, topic: str, message: Any, *, dispatch: Callable[[list[tuple[Pid, Any]], Any], Any] | None = None
    ) -> int:
        """Send message to all subscribers.

        Args:
            topic: A topic without ``*``.
            message: Copied once if it is not deeply immutable, and then for each subscriber.
            dispatch: Instead of sending, call ``dispatch(subscribers, message)`` with pairs of Pid and metadata, for
                each pattern that has any; for encoding a message once for all connections, say.

        Returns:
            The number of messages sent, or of subscribers dispatched to.
        """
        return self._publish(topic, message, None, dispatch)

    def broadcast_from(
        self,
        sender: Pid,
        topic: str,
        message: Any,
        *,
        dispatch: Callable[[list[tuple[Pid, Any]], Any], Any] | None = None,
    ) -> int:
        """As ``broadcast``, but not to ``sender``."""
        return self._publish(topic, message, sender, dispatch)

    def subscribers(self, topic: str) -> list[Pid]:
        """Who gets a message to topic, as often as it gets it."""
        return [pid for key in _patterns(topic) for pid in self._dir.members(key, False)]

    def _publish(
        self,
        topic: str,
        message: Any,
        sender: Pid | None,
        dispatch: Callable[[list[tuple[Pid, Any]], Any], Any] | None,
    ) -> int:
        if dispatch is None:
            return sum(self._dir.broadcast(key, message, sender) for key in _patterns(topic))
        count = 0
        for key in _patterns(topic):
            entries = [entry for entry in self._dir.members(key, True) if entry[0] != sender]
            if entries:
                dispatch(entries, message)
                count += len(entries)
        return count

    def __repr__(self) -> str:
        return f"<PubSub {self._name!r}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> PubSub:
        twin = object.__new__(PubSub)
        twin._name = self._name
        twin._dir = self._dir.__copy__()
        return twin


def _check(topic: Any) -> None:
    if type(topic) is not str or not topic:
        raise TypeError(f"a topic is a non-empty str, not {topic!r}")


def _patterns(topic: str) -> list[str]:
    """All that a subscriber of topic may have written."""
    _check(topic)
    if topic[-1] == "*":
        raise ValueError(f"broadcast goes to a topic, not to a pattern like {topic!r}")
    found = [topic, "*"]
    found += [topic[: match.end()] + "*" for match in _SEPARATOR.finditer(topic)]
    return found
