"""A tree of bytes in which pieces are looked up while a word is read: edges in a hash table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from groundup.tokenizer.compiled.jit import kernel
from groundup.tokenizer.compiled.pair_table import empty_table, grown, pair_key, slot_of

Trie = tuple[np.ndarray, np.ndarray, np.ndarray]


def build_trie(roots: Sequence[Mapping[bytes, int]]) -> Trie:
    """One tree for each mapping of pieces to ids; tree number r has its root at node r.

    Returns keys and values of the table (node, byte) -> node, and the id at each node or -1.
    """
    pieces = [piece for root in roots for piece in root]
    ids = np.array([i for root in roots for i in root.values()], dtype=np.int32)
    root_of = np.array([r for r, root in enumerate(roots) for _ in root], dtype=np.int32)
    lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
    text = np.frombuffer(b"".join(pieces), dtype=np.uint8)
    return fill_trie(text, lengths, root_of, ids, len(roots))


@kernel
def fill_trie(text, lengths, root_of, ids, n_roots):
    """Enter each piece; text: the pieces one after the other."""
    keys, values = empty_table(1 << 12)
    id_at = np.full(1 << 11, -1, dtype=np.int32)
    n_nodes = n_roots
    at = 0
    for piece in range(len(lengths)):
        node = np.int32(root_of[piece])
        for _ in range(lengths[piece]):
            key = pair_key(node, text[at])
            at += 1
            slot = slot_of(keys, key)
            if keys[slot] != key:
                if n_nodes == len(id_at):
                    keys, values = grown(keys, values)
                    slot = slot_of(keys, key)
                    longer = np.full(2 * n_nodes, -1, dtype=np.int32)
                    longer[:n_nodes] = id_at
                    id_at = longer
                keys[slot] = key
                values[slot] = n_nodes
                n_nodes += 1
            node = values[slot]
        id_at[node] = ids[piece]
    return keys, values, id_at
