"""Finds the runs that nobody will ever end, and declares them lost."""
