"""A stream of zstd; the package's own takes a stream that ends too early for one that has ended."""

from __future__ import annotations

from typing import BinaryIO

import zstandard

from otel_runs.importer.streams import DecompressedStream


def zstd_stream(stream: BinaryIO) -> DecompressedStream:
    """What a stream of one or more zstd frames holds."""
    return DecompressedStream(stream, lambda: zstandard.ZstdDecompressor().decompressobj())
