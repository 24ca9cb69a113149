//! The tree against the published vectors of RFC 6962's reference implementation (certificate-transparency,
//! `merkle_tree_test`), and against the RFC's recursive definitions written down as they stand there.
#![allow(clippy::unwrap_used, reason = "helpers of tests unwrap as tests do")]

use std::convert::Infallible;

use promo_core::Digest;
use promo_ledger::tree::{
    Frontier, consistency_proof, empty_root, inclusion_proof, leaf_hash, node_hash, verify_consistency,
    verify_inclusion,
};
use proptest::prelude::*;

const LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];

const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn digest(hex: &str) -> Digest {
    format!("sha256:{hex}").parse().unwrap()
}

fn leaves(count: usize) -> Vec<Digest> {
    LEAVES.iter().copied().chain(std::iter::repeat(&b"more"[..])).take(count).map(leaf_hash).collect()
}

/// `MTH` of RFC 6962 section 2.1.
fn mth(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let k = split(leaves.len());
            node_hash(&mth(&leaves[..k]), &mth(&leaves[k..]))
        }
    }
}

fn split(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// `PATH` of section 2.1.1.
fn path(m: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() == 1 {
        return vec![];
    }
    let k = split(leaves.len());
    let (mut proof, sibling) =
        if m < k { (path(m, &leaves[..k]), mth(&leaves[k..])) } else { (path(m - k, &leaves[k..]), mth(&leaves[..k])) };
    proof.push(sibling);
    proof
}

/// `SUBPROOF` of section 2.1.2.
fn subproof(m: usize, leaves: &[Digest], known: bool) -> Vec<Digest> {
    if m == leaves.len() {
        return if known { vec![] } else { vec![mth(leaves)] };
    }
    let k = split(leaves.len());
    let (mut proof, sibling) = if m <= k {
        (subproof(m, &leaves[..k], known), mth(&leaves[k..]))
    } else {
        (subproof(m - k, &leaves[k..], false), mth(&leaves[..k]))
    };
    proof.push(sibling);
    proof
}

/// Complete nodes, as a store would keep them, computed from the leaves.
fn nodes(leaves: &[Digest]) -> impl Fn(u32, u64) -> Result<Digest, Infallible> {
    move |level, index| {
        let (start, end) = ((index << level) as usize, ((index + 1) << level) as usize);
        assert!(end <= leaves.len(), "only complete nodes may be asked for: {level}/{index}");
        Ok(mth(&leaves[start..end]))
    }
}

fn inclusion(m: usize, leaves: &[Digest]) -> Vec<Digest> {
    let Ok(proof) = inclusion_proof(m as u64, leaves.len() as u64, nodes(leaves));
    proof
}

fn consistency(m: usize, leaves: &[Digest]) -> Vec<Digest> {
    let Ok(proof) = consistency_proof(m as u64, leaves.len() as u64, nodes(leaves));
    proof
}

#[test]
fn roots_are_those_of_the_published_vectors() {
    assert_eq!(empty_root(), digest("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root(), empty_root());
    for (leaf, root) in LEAVES.iter().zip(ROOTS) {
        frontier.push(leaf_hash(leaf));
        assert_eq!(frontier.root(), digest(root), "{} leaves", frontier.size());
    }
}

#[test]
fn proofs_are_those_of_the_published_vectors() {
    let a = digest("96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7");
    let b = digest("5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e");
    let c = digest("6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4");
    let d = digest("bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b");
    let e = digest("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0");
    let f = digest("0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a");
    let eight = leaves(8);
    assert_eq!(inclusion(0, &eight), [a, b, c]);
    assert_eq!(inclusion(5, &eight), [d, e, digest(ROOTS[3])]);
    assert_eq!(inclusion(2, &eight[..3]), [digest(ROOTS[1])]);
    assert_eq!(inclusion(1, &eight[..5]), [digest(ROOTS[0]), b, d]);
    assert_eq!(inclusion(0, &eight[..1]), []);
    assert_eq!(consistency(1, &eight), [a, b, c]);
    assert_eq!(consistency(6, &eight), [f, e, digest(ROOTS[3])]);
    assert_eq!(consistency(2, &eight[..5]), [b, d]);
    assert_eq!(consistency(8, &eight), []);
}

#[test]
fn every_tree_up_to_40_leaves_is_the_rfcs_and_no_proof_fits_another_claim() {
    let all = leaves(40);
    let mut frontier = Frontier::new();
    for size in 0..=all.len() {
        let tree = &all[..size];
        let root = mth(tree);
        assert_eq!(frontier.root(), root);
        assert_eq!(Frontier::load(size as u64, nodes(tree)), Ok::<_, Infallible>(frontier.clone()));
        for m in 0..size {
            let proof = inclusion(m, tree);
            assert_eq!(proof, path(m, tree));
            for other in 0..=size {
                let accepted = verify_inclusion(&tree[m], other as u64, size as u64, &proof, &root);
                // Leaves from the ninth on are alike, so their places can only be told apart by the path's shape.
                assert!(accepted == (other == m) || (other >= 8 && m >= 8), "{m} {other} of {size}");
            }
        }
        for m in 1..=size {
            let proof = consistency(m, tree);
            assert_eq!(proof, if m == size { vec![] } else { subproof(m, tree, true) });
            let old = mth(&tree[..m]);
            assert!(verify_consistency(m as u64, &old, size as u64, &root, &proof));
            assert!(!verify_consistency(m as u64, &leaf_hash(b"other"), size as u64, &root, &proof));
            assert!(!verify_consistency(m as u64, &old, size as u64, &leaf_hash(b"other"), &proof));
            assert!(!verify_consistency(size as u64 + 1, &root, size as u64, &root, &proof), "an older tree");
        }
        assert!(verify_consistency(0, &empty_root(), size as u64, &root, &[]));
        assert!(!verify_consistency(0, &leaf_hash(b""), size as u64, &root, &[]));
        if size < all.len() {
            let completed = frontier.push(all[size]);
            for node in &completed {
                let Ok(hash) = nodes(&all[..=size])(node.level, node.index);
                assert_eq!(node.hash, hash);
            }
            assert_eq!(completed.len(), (size + 1).trailing_zeros() as usize + 1, "one node per completed subtree");
        }
    }
}

#[test]
fn a_leaf_is_never_taken_for_an_inner_node() {
    let (left, right) = (leaf_hash(b"a"), leaf_hash(b"b"));
    let forged: Vec<u8> = [left.as_bytes().as_slice(), right.as_bytes()].concat();
    assert_ne!(leaf_hash(&forged), node_hash(&left, &right));
    assert_ne!(Digest::of(&forged), node_hash(&left, &right));
}

proptest! {
    #[test]
    fn proofs_of_any_tree_verify_and_any_change_of_them_is_refused(
        texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 1..200),
        place in any::<prop::sample::Index>(),
        change in any::<prop::sample::Index>(),
        bit in 0usize..256,
    ) {
        let all: Vec<Digest> = texts.iter().map(|text| leaf_hash(text)).collect();
        let mut frontier = Frontier::new();
        for leaf in &all {
            frontier.push(*leaf);
        }
        let (root, size) = (mth(&all), all.len() as u64);
        prop_assert_eq!(frontier.root(), root);
        let m = place.index(all.len());
        let flip = |digest: &Digest| {
            let mut bytes = *digest.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            Digest::from_bytes(bytes)
        };
        let wrong = |proof: &[Digest]| {
            let mut longer = proof.to_vec();
            longer.push(root);
            let mut wrong = vec![longer];
            if !proof.is_empty() {
                let mut flipped = proof.to_vec();
                let at = change.index(proof.len());
                flipped[at] = flip(&flipped[at]);
                wrong.push(flipped);
                wrong.push(proof[1..].to_vec());
                wrong.push(proof[..proof.len() - 1].to_vec());
            }
            wrong
        };

        let proof = inclusion(m, &all);
        prop_assert_eq!(&proof, &path(m, &all));
        prop_assert!(verify_inclusion(&all[m], m as u64, size, &proof, &root));
        prop_assert!(!verify_inclusion(&flip(&all[m]), m as u64, size, &proof, &root));
        prop_assert!(!verify_inclusion(&all[m], size, size, &proof, &root));
        for proof in wrong(&proof) {
            prop_assert!(!verify_inclusion(&all[m], m as u64, size, &proof, &root));
        }

        let (old, old_root) = (m + 1, mth(&all[..=m]));
        let proof = consistency(old, &all);
        prop_assert!(verify_consistency(old as u64, &old_root, size, &root, &proof));
        prop_assert!(!verify_consistency(old as u64, &flip(&old_root), size, &root, &proof));
        for proof in wrong(&proof) {
            prop_assert!(!verify_consistency(old as u64, &old_root, size, &root, &proof));
        }
    }
}
