"""Triton kernels: a tile of one sample's weight gradient is built, squared, weighed and summed, never written down.

G[o, i] = sum over positions p of g[o, p] * a[channel of i, where i's place in the kernel sees at p]. Rows of a tile are
output channels of one group, columns run over the kernel's places and, fastest, over the group's input channels.
Products are summed in fp32, whatever the inputs' type.

Import it only where `fused.usable` says so. It compiles for CUDA and equals the plain path in Triton's interpreter
(tests/test_fused.py); **it has not been run on a GPU**.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def gradient_tile(
    a, g, filters, columns, group, inner, outer, places, positions,
    size0, size1, size2, out1, out2, kernel1, kernel2, stride0, stride1, stride2, pad0, pad1, pad2,
    step0, step1, step2, a_channel, a0, a1, a2, g_channel, g0, g1, g2,
    FILTERS: tl.constexpr, COLUMNS: tl.constexpr, POSITIONS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One sample's G[filters, columns] (FILTERS, COLUMNS) fp32; `a` and `g` point at the sample's first element."""
    channel, place = columns % inner, columns // inner
    k0, k1, k2 = place // (kernel1 * kernel2), place // kernel2 % kernel1, place % kernel2
    in_columns, in_filters = columns < inner * places, filters < outer
    a_base = (group * inner + channel) * a_channel
    g_base = (group * outer + filters) * g_channel
    total = tl.zeros((FILTERS, COLUMNS), dtype=tl.float32)
    for start in range(0, positions, POSITIONS):
        p = start + tl.arange(0, POSITIONS)
        p0, p1, p2 = p // (out1 * out2), p // out2 % out1, p % out2
        y0 = (p0 * stride0 - pad0)[:, None] + (k0 * step0)[None, :]
        y1 = (p1 * stride1 - pad1)[:, None] + (k1 * step1)[None, :]
        y2 = (p2 * stride2 - pad2)[:, None] + (k2 * step2)[None, :]
        inside = (y0 >= 0) & (y0 < size0) & (y1 >= 0) & (y1 < size1) & (y2 >= 0) & (y2 < size2)
        inside = inside & in_columns[None, :] & (p < positions)[:, None]
        seen = tl.load(a + a_base[None, :] + y0 * a0 + y1 * a1 + y2 * a2, mask=inside, other=0.0)
        at = (p0 * g0 + p1 * g1 + p2 * g2)[None, :]
        pulls = tl.load(g + g_base[:, None] + at, mask=in_filters[:, None] & (p < positions)[None, :], other=0.0)
        total = tl.dot(pulls, seen, total, input_precision=PRECISION)
    return total


@triton.jit
def weighted_squares(
    a, g, weight, out, labels, a_row, g_row, tiles_across, tiles_down, inner, outer, places, positions,
    size0, size1, size2, out1, out2, kernel1, kernel2, stride0, stride1, stride2, pad0, pad1, pad2,
    step0, step1, step2, a_channel, a0, a1, a2, g_channel, g0, g1, g2,
    FILTERS: tl.constexpr, COLUMNS: tl.constexpr, POSITIONS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """out[row, tile] = sum over the tile of weight * G^2. Row r is sample r // labels; grid (rows, tiles)."""
    row, tile = tl.program_id(0), tl.program_id(1)
    group, within = tile // (tiles_across * tiles_down), tile % (tiles_across * tiles_down)
    filters = within // tiles_across * FILTERS + tl.arange(0, FILTERS)
    columns = within % tiles_across * COLUMNS + tl.arange(0, COLUMNS)
    total = gradient_tile(
        a + (row // labels).to(tl.int64) * a_row, g + row.to(tl.int64) * g_row,
        filters, columns, group, inner, outer, places, positions,
        size0, size1, size2, out1, out2, kernel1, kernel2, stride0, stride1, stride2, pad0, pad1, pad2,
        step0, step1, step2, a_channel, a0, a1, a2, g_channel, g0, g1, g2,
        FILTERS, COLUMNS, POSITIONS, PRECISION,
    )  # fmt: skip
    within_weight = (filters < outer)[:, None] & (columns < inner * places)[None, :]
    first = (group * outer + filters)[:, None] * (inner * places)
    factors = tl.load(
        weight + first + (columns % inner * places + columns // inner)[None, :], mask=within_weight, other=0.0
    )
    sums = tl.sum(tl.sum(total * total * factors, axis=1), axis=0)
    tl.store(out + row.to(tl.int64) * tl.num_programs(1) + tile, sums)


@triton.jit
def summed_squares(
    a, g, out, rows, each, a_row, g_row, tiles_across, tiles_down, inner, outer, places, positions,
    size0, size1, size2, out1, out2, kernel1, kernel2, stride0, stride1, stride2, pad0, pad1, pad2,
    step0, step1, step2, a_channel, a0, a1, a2, g_channel, g0, g1, g2,
    FILTERS: tl.constexpr, COLUMNS: tl.constexpr, POSITIONS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """out[chunk] (the weight's elements) = sum of G^2 over `each` samples; grid (chunks, tiles)."""
    chunk, tile = tl.program_id(0), tl.program_id(1)
    group, within = tile // (tiles_across * tiles_down), tile % (tiles_across * tiles_down)
    filters = within // tiles_across * FILTERS + tl.arange(0, FILTERS)
    columns = within % tiles_across * COLUMNS + tl.arange(0, COLUMNS)
    squares = tl.zeros((FILTERS, COLUMNS), dtype=tl.float32)
    for row in range(chunk * each, tl.minimum(rows, chunk * each + each)):
        total = gradient_tile(
            a + tl.cast(row, tl.int64) * a_row, g + tl.cast(row, tl.int64) * g_row,
            filters, columns, group, inner, outer, places, positions,
            size0, size1, size2, out1, out2, kernel1, kernel2, stride0, stride1, stride2, pad0, pad1, pad2,
            step0, step1, step2, a_channel, a0, a1, a2, g_channel, g0, g1, g2,
            FILTERS, COLUMNS, POSITIONS, PRECISION,
        )  # fmt: skip
        squares += total * total
    groups = tl.num_programs(1) // (tiles_across * tiles_down)
    first = out + chunk.to(tl.int64) * (groups * outer * inner * places)
    at = (group * outer + filters)[:, None] * (inner * places) + (columns % inner * places + columns // inner)[None, :]
    tl.store(first + at, squares, mask=(filters < outer)[:, None] & (columns < inner * places)[None, :])
