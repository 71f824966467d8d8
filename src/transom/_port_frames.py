"""Frames: how a stream of bytes is cut into pieces, and how pieces are marked when they are sent.

Pure: nothing here knows ports or loops. What comes from outside is hostile: a length is compared with the limit before
anything is kept for it.
"""

from __future__ import annotations

from typing import Literal

Packet = Literal["raw", "line", 1, 2, 4]
PACKETS: tuple[Packet, ...] = ("raw", "line", 1, 2, 4)


class FrameError(Exception):
    """The other side broke the rules; args: name and text of the error."""


class Frames:
    """What has been received and not yet taken."""

    __slots__ = ("_buffer", "_head", "_limit", "_scanned", "packet")

    def __init__(self, packet: Packet, limit: int) -> None:
        self.packet: Packet = packet
        self._head = packet if isinstance(packet, int) else 0
        self._limit = limit
        self._buffer = bytearray()
        self._scanned = 0  # of a line: no newline before this

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """More has come."""
        self._buffer += data

    def unfeed(self, frame: bytes) -> None:
        """Put back the frame that was taken last."""
        self._buffer[:0] = self.mark(frame)
        self._scanned = 0

    def take(self, count: int = 0, ended: bool = False) -> bytes | None:
        """The next frame, or None: it is not whole yet.

        Args:
            count: Of raw bytes: exactly so many; 0: what is there.
            ended: No more will come: the last line needs no newline.

        Raises:
            FrameError: It is, or says it is, longer than the limit; or it can never become whole.
        """
        if self.packet == "raw":
            size = len(self._buffer)
            return self._cut(0, count or size) if size and size >= count else None
        if self.packet == "line":
            return self._line(ended)
        return self._prefixed(ended)

    def missing(self, count: int = 0) -> int:
        """How many bytes there must be before the next frame can be whole, at most."""
        if self.packet == "raw":
            return max(count, 1)
        if self.packet == "line":
            return self._limit + 1
        if len(self._buffer) < self._head:
            return self._head
        return self._head + int.from_bytes(self._buffer[: self._head], "big")

    def mark(self, data: bytes) -> bytes:
        """A frame as it is sent."""
        if not self._head:
            return data
        try:
            return len(data).to_bytes(self._head, "big") + data
        except OverflowError:
            raise ValueError(f"{len(data)} bytes do not fit into a frame with packet={self.packet}") from None

    def _line(self, ended: bool) -> bytes | None:
        end = self._buffer.find(b"\n", self._scanned) + 1
        if end == 0:
            self._scanned = len(self._buffer)
            if ended:
                end = len(self._buffer)
        if end > self._limit or (end == 0 and len(self._buffer) > self._limit):
            raise FrameError("EMSGSIZE", f"a line of more than max_frame={self._limit} bytes")
        if end == 0:
            return None
        self._scanned = 0
        return self._cut(0, end)

    def _prefixed(self, ended: bool) -> bytes | None:
        have = len(self._buffer)
        if have >= self._head:
            length = int.from_bytes(self._buffer[: self._head], "big")
            if length > self._limit:
                raise FrameError("EMSGSIZE", f"a frame of {length} bytes, more than max_frame={self._limit}")
            if have >= self._head + length:
                return self._cut(self._head, self._head + length)
        if ended and have:
            raise FrameError("EPROTO", f"it ended within a frame, {have} bytes after its beginning")
        return None

    def _cut(self, start: int, end: int) -> bytes:
        with memoryview(self._buffer) as view:
            frame = bytes(view[start:end])
        del self._buffer[:end]
        return frame
