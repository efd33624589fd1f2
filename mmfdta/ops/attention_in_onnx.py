# Copyright (c) mmfdta authors.
"""Attention in ONNX in blocks of queries, with a loop if their number is unknown."""

from typing import Any

from onnxscript import ir

from .onnx_writing import FLOAT, Body, floats, ints, lengths_of, op, scan, written_out

# Queries of a head per block. The scores of a block with 18,000 keys, the finest level
# of 1440x800, are 9 MB; those of all queries and heads are 10 GB.
_BLOCK = 128
# Most scores of an image in memory at once, if no loop is needed.
_LARGEST = 2**24


def attention_in_blocks(
    query: ir.Value,
    key: ir.Value,
    value: ir.Value,
    attn_mask: ir.Value | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> ir.Value:
    """Write PyTorch's ``scaled_dot_product_attention``, whose arguments these are.

    Args:
        query: float32 (B, H, Lq, D).
        key: (B, H, Lk, D).
        value: (B, H, Lk, D).
        attn_mask: Broadcastable to (B, H, Lq, Lk); bool: True = may attend; float32:
            added to the scores. If it differs between queries, all scores are in
            memory at once.
        dropout_p: Must be 0, as at inference.
        is_causal: Must be False.
        scale: Factor of the scores; 1 / sqrt(D) if omitted.
        enable_gqa: Must be False.

    Returns:
        (B, H, Lq, D).

    Raises:
        ValueError: If an argument has another value, or H or D is not known.
    """
    if dropout_p or is_causal or enable_gqa:
        raise ValueError(
            f'attention in ONNX: found dropout_p={dropout_p}, is_causal={is_causal}, '
            f'enable_gqa={enable_gqa}, expected none of them'
        )
    heads, channels = lengths_of(query, 1, 3)
    lengths = _known_lengths(query, value)
    differs = _differs_between_queries(attn_mask)
    query = op.Mul(query, floats(channels**-0.5 if scale is None else scale))
    key = op.Transpose(key, perm=(0, 1, 3, 2))
    bias = attn_mask
    if bias is not None and bias.dtype == ir.DataType.BOOL:
        bias = op.Where(bias, floats(0.0), floats(float('-inf')))
    if differs or lengths is not None:

        def attend_all(to: Any, query: ir.Value) -> ir.Value:
            scores = to.MatMul(query, key)
            scores = scores if bias is None else to.Add(scores, bias)
            return to.MatMul(to.Softmax(scores, axis=-1), value)

        if differs or lengths is None:
            return attend_all(op, query)
        most = max(_LARGEST // (heads * lengths[1]), 1)
        return written_out(attend_all, [query], lengths[0], most, axis=2)
    batch, queries = (op.Shape(query, start=n, end=n + 1) for n in (0, 2))
    keys = op.Shape(value, start=2, end=3)
    blocks = op.Div(op.Add(queries, ints(_BLOCK - 1)), ints(_BLOCK))
    missing = op.Sub(op.Mul(blocks, ints(_BLOCK)), queries)
    query = op.Pad(query, op.Concat(ints(*(0,) * 6), missing, ints(0), axis=0))
    # One row for each image and head, which is a step of the outer loop.
    rows = [
        op.Reshape(query, op.Concat(ints(-1), blocks, ints(_BLOCK, channels), axis=0)),
        op.Reshape(key, op.Concat(ints(-1, channels), keys, axis=0)),
        op.Reshape(value, op.Concat(ints(-1), keys, ints(channels), axis=0)),
    ]
    if bias is not None:
        bias = op.Expand(bias, op.Concat(batch, ints(heads, 1), keys, axis=0))
        rows.append(op.Reshape(bias, op.Concat(ints(-1, 1), keys, axis=0)))

    def attend(
        to: Body, query: ir.Value, key: ir.Value, value: ir.Value, *bias: ir.Value
    ) -> ir.Value:
        """Attend in a head: blocks (n, block, D), (D, Lk), (Lk, D) and (1, Lk)."""

        def attend_block(to: Body, query: ir.Value) -> ir.Value:
            scores = to.MatMul(query, key)
            scores = to.Add(scores, *bias) if bias else scores
            return to.MatMul(to.Softmax(scores, axis=-1), value)

        return scan(attend_block, [query], [FLOAT], to)

    output = scan(attend, rows, [FLOAT] * len(rows))
    output = op.Reshape(output, op.Concat(batch, ints(heads, -1, channels), axis=0))
    return op.Slice(output, ints(0), queries, ints(2))


def _known_lengths(query: ir.Value, key: ir.Value) -> tuple[int, int] | None:
    """Return the numbers of queries and keys; None unless both are known."""
    assert query.shape is not None
    assert key.shape is not None
    lengths = query.shape[2], key.shape[2]
    known = [length for length in lengths if isinstance(length, int)]
    return (known[0], known[1]) if len(known) == len(lengths) else None


def _differs_between_queries(mask: ir.Value | None) -> bool:
    if mask is None:
        return False
    assert mask.shape is not None
    return len(mask.shape) != 4 or mask.shape[2] != 1
