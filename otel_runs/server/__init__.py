"""``otel-runs serve``: the process that receives spans of others and stores them."""
