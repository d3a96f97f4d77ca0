"""The command line, ``otel-runs``: a face over the read side."""


def main() -> None:
    """Run the command line; the entry point of the package."""
    # Here and not above: whoever imports a part of this room, the exporter's setup for one, has no use for typer.
    from otel_runs.cli.app import app

    app(prog_name="otel-runs")
