"""How a command says what it takes."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class PlainUsage(TyperCommand):
    """A command that says its arguments as docs/cli.md does: newer typer puts what repeats in braces and adds dots."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ARG002  click's signature
        """The words after the command's name."""
        return ["[OPTIONS]", *(argument_usage(each) for each in self.params if each.param_type_name == "argument")]


def argument_usage(argument: Any) -> str:
    """The name of an argument, in brackets if it may be left out."""
    name = str(argument.metavar)
    return name if argument.required or name.startswith("[") else f"[{name}]"
