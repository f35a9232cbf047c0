"""A server that does nothing: what the load generator can do at most.

    python -m tests.benchmarks.serving.ceiling LENGTH

It counts the bytes of requests of that length and answers each with the same bytes.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 40\r\n\r\n" + bytes(40)


class _Nothing(asyncio.Protocol):
    def __init__(self, length: int) -> None:
        self._length = length
        self._got = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast(asyncio.WriteTransport, transport).write

    def data_received(self, data: bytes) -> None:
        self._got += len(data)
        if self._got >= self._length:
            self._got -= self._length
            self._write(ANSWER)


async def _serve(length: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Nothing(length), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
