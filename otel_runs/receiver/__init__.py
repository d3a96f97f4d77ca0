"""The inlet for spans of other processes: OTLP over gRPC and HTTP.

Both are faces over one shape (``request.py``: bytes and how they are packed), one queue with one writer
(``intake.py``: acknowledged means committed) and one table of answers (``answers.py``).
"""
