"""A request's body, whole, unpacked, and not larger than allowed."""

from __future__ import annotations

import asyncio
import zlib

from starlette.requests import ClientDisconnect, Request

from supervisor.serving.errors import ApiError
from supervisor.serving.options import ServerOptions

_GZIP, _ZLIB = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS


async def whole_body(request: Request, options: ServerOptions) -> bytes:
    """The body, whatever type it says it has (curl -d says it is a form). Raises ApiError (400, 408, 413, 415)."""
    limit_bytes = options.max_body_kb * 1024
    too_large = ApiError(413, "body_too_large", f"at most {options.max_body_kb} kB in one request")
    packing = request.headers.get("content-encoding", "identity").strip().lower()
    if packing not in ("identity", "gzip", "deflate"):
        raise ApiError(415, "unsupported_encoding", "send the body uncompressed, or as gzip or deflate")
    if int(request.headers.get("content-length", 0)) > limit_bytes:
        raise too_large
    data = bytearray()
    limit_s = options.body_timeout_s
    try:
        async with asyncio.timeout(limit_s):
            async for chunk in request.stream():
                data += chunk
                if len(data) > limit_bytes:
                    raise too_large
    except TimeoutError as error:
        close = {"Connection": "close"}  # or what is still to come would hold the connection open
        raise ApiError(
            408, "body_timeout", f"the body was not here whole within {limit_s:g} s; send it again", close
        ) from error
    except ClientDisconnect as error:
        raise ApiError(400, "client_gone", "the client left before its request was whole") from error
    if packing == "identity":
        return bytes(data)
    unpacked = await asyncio.to_thread(_unpacked, bytes(data), packing, limit_bytes)
    if unpacked is None:
        raise too_large
    return unpacked


def _unpacked(data: bytes, packing: str, limit_bytes: int) -> bytes | None:
    """None where it is more than the limit; never much more is unpacked. Raises ApiError (400)."""
    # deflate is zlib's format by the standard, and the bare stream in some clients
    kinds = (_GZIP,) if packing == "gzip" else (_ZLIB, -_ZLIB)
    for kind in kinds:
        unpacker = zlib.decompressobj(kind)
        try:
            unpacked = unpacker.decompress(data, limit_bytes + 1)
        except zlib.error:
            continue
        if len(unpacked) > limit_bytes:
            return None
        if unpacker.eof and not unpacker.unused_data:
            return unpacked
    raise ApiError(400, "broken_encoding", f"the body is not whole and valid {packing}")
