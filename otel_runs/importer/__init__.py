"""Files into the run database: what a Collector wrote, protobuf, and what Jaeger exports."""
