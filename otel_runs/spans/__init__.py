"""The one neutral shape of a span, and one adapter an inlet."""
