"""The inlet for spans of this process: what sets it up, the queue, and the exporter that writes to the run database."""
