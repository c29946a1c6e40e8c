"""Prometheus' query language."""

from __future__ import annotations

import promql_parser


def problem(text: object) -> str:
    """Return what is wrong with an expression, "" if nothing is."""
    try:
        promql_parser.parse(str(text or ""))
    except ValueError as error:
        return f"`{text}` is no expression: {error}"
    return ""
