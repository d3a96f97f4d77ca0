"""What could not be stored, kept on disk until it can be: OTLP JSON lines beside the database."""
