//! The Merkle tree of RFC 6962 section 2: hashes, the frontier that makes an append logarithmic, and both kinds of proof.
//! What must not live here: what a leaf means, and where nodes are kept.
//!
//! A *node* is named by its level (0 for leaves) and its index on that level, and exists only once its subtree is
//! complete: node (l, i) covers the leaves from `i << l` to `(i + 1) << l`, exclusively. Such a node never changes, so
//! stores keep them as they keep records.

use promo_core::Digest;
use sha2::{Digest as _, Sha256};

/// The tree hash of no leaves: SHA-256 of the empty string (RFC 6962 section 2.1).
#[must_use]
pub fn empty_root() -> Digest {
    Digest::of(b"")
}

/// The hash of a leaf: SHA-256 over 0x00 and its bytes.
#[must_use]
pub fn leaf_hash(bytes: &[u8]) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(bytes);
    Digest::from_bytes(hasher.finalize().into())
}

/// The hash of an inner node: SHA-256 over 0x01 and the hashes of its children.
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut input = [1; 65];
    input[1..33].copy_from_slice(left.as_bytes());
    input[33..].copy_from_slice(right.as_bytes());
    Digest::of(&input)
}

/// A node that a push completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Height above the leaves, 0 for a leaf.
    pub level: u32,
    /// Position on its level, from 0.
    pub index: u64,
    /// Its hash.
    pub hash: Digest,
}

/// The roots of the complete subtrees that a tree of `size` leaves falls into, largest first: all that is needed to
/// append and to know the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The frontier of an empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The frontier of a tree of `size` leaves, reading one node for every bit that is set in `size`.
    ///
    /// # Errors
    /// The first error of `node`.
    pub fn load<E>(size: u64, mut node: impl FnMut(u32, u64) -> Result<Digest, E>) -> Result<Self, E> {
        let mut peaks = Vec::new();
        for level in (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1) {
            peaks.push(node(level, (size >> level) - 1)?);
        }
        Ok(Self { size, peaks })
    }

    /// How many leaves there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash and returns the nodes that this completed, the leaf first.
    pub fn push(&mut self, leaf: Digest) -> Vec<Node> {
        let mut node = Node { level: 0, index: self.size, hash: leaf };
        let mut completed = vec![node];
        while node.index & 1 == 1 {
            let left = self.peaks.pop().expect("invariant: a peak stands for every bit set in the size");
            node = Node { level: node.level + 1, index: node.index >> 1, hash: node_hash(&left, &node.hash) };
            completed.push(node);
        }
        self.peaks.push(node.hash);
        self.size += 1;
        completed
    }

    /// The Merkle tree hash of all leaves so far.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return empty_root() };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// The largest power of two below `size`, for a size of at least 2: where RFC 6962 splits a tree.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

fn subtree<E>(start: u64, end: u64, node: &mut impl FnMut(u32, u64) -> Result<Digest, E>) -> Result<Digest, E> {
    let size = end - start;
    if size.is_power_of_two() {
        return node(size.trailing_zeros(), start >> size.trailing_zeros());
    }
    let middle = start + split(size);
    Ok(node_hash(&subtree(start, middle, node)?, &subtree(middle, end, node)?))
}

/// The audit path of the leaf `index` in the tree of `size` leaves (RFC 6962 section 2.1.1); `node` gives complete nodes.
/// Empty when there is no such leaf, which no verifier accepts.
///
/// # Errors
/// The first error of `node`.
pub fn inclusion_proof<E>(
    index: u64,
    size: u64,
    mut node: impl FnMut(u32, u64) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    let mut path = Vec::new();
    if index >= size {
        return Ok(path);
    }
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(subtree(middle, end, &mut node)?);
            end = middle;
        } else {
            path.push(subtree(start, middle, &mut node)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the tree of `size` leaves extends the tree of its first `old` leaves (RFC 6962 section 2.1.2). Empty
/// when they are the same, or when `old` is 0 or beyond `size`.
///
/// # Errors
/// The first error of `node`.
pub fn consistency_proof<E>(
    old: u64,
    size: u64,
    mut node: impl FnMut(u32, u64) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    let mut proof = Vec::new();
    if old == 0 || old >= size {
        return Ok(proof);
    }
    let (mut start, mut end) = (0, size);
    // `SUBPROOF` of the RFC: as long as only left branches were taken, the old root itself is known to the verifier.
    let mut known = true;
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(subtree(middle, end, &mut node)?);
            end = middle;
        } else {
            proof.push(subtree(start, middle, &mut node)?);
            start = middle;
            known = false;
        }
    }
    if !known {
        proof.push(subtree(start, end, &mut node)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Whether `proof` shows that `leaf` is leaf `index` of the tree of `size` leaves with this root (RFC 9162 section
/// 2.1.3.2, which verifies RFC 6962 proofs).
#[must_use]
pub fn verify_inclusion(leaf: &Digest, index: u64, size: u64, proof: &[Digest], root: &Digest) -> bool {
    if index >= size {
        return false;
    }
    let (mut position, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if position & 1 == 1 || position == last {
            hash = node_hash(sibling, &hash);
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether `proof` shows that the tree of `size` leaves with `root` extends the one of `old` leaves with `old_root` (RFC
/// 9162 section 2.1.4.2). Every tree extends the empty one, and itself, with an empty proof.
#[must_use]
pub fn verify_consistency(old: u64, old_root: &Digest, size: u64, root: &Digest, proof: &[Digest]) -> bool {
    if old == 0 {
        return proof.is_empty() && *old_root == empty_root();
    }
    if old >= size {
        return old == size && proof.is_empty() && old_root == root;
    }
    // When the old tree is complete, its root is the first node, and the proof leaves it out.
    let mut nodes = proof.iter();
    let first = if old.is_power_of_two() { Some(old_root) } else { nodes.next() };
    let Some(first) = first else { return false };
    let (mut position, mut last) = (old - 1, size - 1);
    while position & 1 == 1 {
        position >>= 1;
        last >>= 1;
    }
    let (mut before, mut after) = (*first, *first);
    for sibling in nodes {
        if last == 0 {
            return false;
        }
        if position & 1 == 1 || position == last {
            before = node_hash(sibling, &before);
            after = node_hash(sibling, &after);
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            after = node_hash(&after, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    last == 0 && before == *old_root && after == *root
}
