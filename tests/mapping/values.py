"""Attribute values as no convention foresees them."""

from __future__ import annotations

from hypothesis import strategies as st

NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**15, 10**15 + 1, 10**400, 1e22, 1e23, 1e308]),
)
TEXTS = st.one_of(
    # Lone surrogates and NUL among them.
    st.text(st.characters(codec=None)),
    st.sampled_from(["12", " 12 ", '"12"', "12.5", "1e400", "NaN", "-1", "n/a", "True", "false", "{}", "[" * 400]),
    st.sampled_from(["a\x00b", "\ud800", "\udfff" * 70, "x" * 70_000, "\U0001f600" * 600]),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, st.binary(max_size=20))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.lists(inner, max_size=4).map(tuple), st.dictionaries(TEXTS, inner, max_size=4)
    ),
    max_leaves=10,
)
"""Anything that an attribute can hold, over any inlet."""
