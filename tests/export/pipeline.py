"""The beginning of the pipelines that tests run."""

from __future__ import annotations

HEAD = """
import os, sys, multiprocessing
from concurrent.futures import ProcessPoolExecutor
import otel_runs
from opentelemetry import trace
otel_runs.configure("runs.db")
tracer = trace.get_tracer("t")
def work(name):
    with tracer.start_as_current_span(name):
        pass
"""
