"""``otel-runs exec``: a process as a run, and what happens in the Python processes below it.

``command`` is the parent's part: it starts the program, passes signals on and records how it ended. ``site`` is the
folder that comes first on the program's PYTHONPATH; through it, ``child`` runs before the program's first line.
"""
