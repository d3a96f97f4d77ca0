"""Decorators and context managers that emit standard spans, and what carries them to threads and processes.

Knows the OpenTelemetry API only, neither its SDK nor the store.
"""
