"""
From decoded spans to normalised columns, as one SQL statement of nested steps, made from the tables of `attributes.py`.

Every attribute key is translated once, to a number that says which field it feeds and at which rank. The numbers of a span
are sorted, and each field then takes the first of its own. Documents inside attributes (JSON objects), lists, conflicts and
other rarities are worked out only for the spans that have them: the engine evaluates branches of `if` lazily.

The steps, each a SELECT over the one before (see `statement`):

    decoded     keys, texts, types and the span's own fields: from a segment (`decode.py`) or from stored rows
    translated  a code per attribute (field and rank), marker bits per span
    gathered    codes and texts, with second roles and the members of documents added
    ranked      the codes that can be read, in order of field and rank; their values
    picked      one text per field
    read        numbers, money, times, lists; what several fields decide together
    settled     tokens in their inclusive form, status, the finished columns

Source: docs/semantics.md. The obvious twin that this must equal: tests/support/normalise_twin.py.
"""

from __future__ import annotations

from collector import columns, documents, ranking, readings, sqltext
from collector.codes import has
from collector.decode import DECODED
from storage.spans import SPAN_COLUMNS


def statement(decoded: str, *, with_documents: bool = True, with_messages: bool = True) -> str:
    """
    The whole SELECT around `decoded`, one column per column of `span_records` but `written_at`.

    Args:
        decoded: a SELECT with the columns of `decode.spans`.
        with_documents, with_messages: whether any span may hold a JSON document or tool calls; without, the statement is shorter,
            and what the engine spends on reading it with every insert is saved.
    """
    no_members = "CAST([], 'Array(Tuple(String, String))')"
    members = f"if({has(documents.DOCUMENTS)}, {documents.members()}, {no_members})" if with_documents else no_members
    derived = {"members": members} | ranking.derived(with_documents=with_documents) | readings.derived()
    final = columns.final(with_documents=with_documents, with_messages=with_messages)
    return sqltext.nested(decoded, DECODED, derived, {f"c_{name}": final[name] for name in SPAN_COLUMNS})
