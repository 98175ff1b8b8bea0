"""From the spans of a trace to its facts: pure functions, whatever the order in which spans arrived."""

from analytics.assembly.spans import ASSEMBLED, assemble_spans
from analytics.assembly.trace_summary import PRICED, summarise_traces

__all__ = ["ASSEMBLED", "PRICED", "assemble_spans", "summarise_traces"]
