"""Tells what is wrong, what it means and what to do. Each check is a small function that reads and changes nothing."""
