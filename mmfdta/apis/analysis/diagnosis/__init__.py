# Copyright (c) mmfdta authors.
"""Why identities switch: what one run of a tracker leaves, and what it says."""

from .recording import (
    IOU_THR,
    SequenceEvidence,
    SequenceRun,
    WordRecord,
    find_evidence,
    record_evidence,
    record_sequence,
)

__all__ = [
    'IOU_THR',
    'SequenceEvidence',
    'SequenceRun',
    'WordRecord',
    'find_evidence',
    'record_evidence',
    'record_sequence',
]
