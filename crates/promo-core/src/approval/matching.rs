//! Who fills which slot: a maximum bipartite matching by augmenting paths (Kuhn). What must not live here: what makes a
//! person eligible.

use alloc::vec;
use alloc::vec::Vec;

/// For each slot the person who fills it, so that as many slots as possible are filled and nobody fills two.
///
/// Slots are served in order: one that is filled stays filled, so earlier slots win when there are too few people.
pub(super) fn fill(slots: usize, people: usize, eligible: &dyn Fn(usize, usize) -> bool) -> Vec<Option<usize>> {
    let mut taken = vec![None; people];
    for slot in 0..slots {
        augment(slot, &mut vec![false; people], &mut taken, eligible);
    }
    let mut filled = vec![None; slots];
    for (person, slot) in taken.into_iter().enumerate() {
        if let Some(slot) = slot {
            filled[slot] = Some(person);
        }
    }
    filled
}

/// Finds someone for `slot`, asking those who already fill another slot only if that one finds someone else.
fn augment(
    slot: usize,
    asked: &mut [bool],
    taken: &mut [Option<usize>],
    eligible: &dyn Fn(usize, usize) -> bool,
) -> bool {
    for person in 0..taken.len() {
        if asked[person] || !eligible(slot, person) {
            continue;
        }
        asked[person] = true;
        if taken[person].is_none_or(|other| augment(other, asked, taken, eligible)) {
            taken[person] = Some(slot);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The slow and obvious reference: try everybody in every slot.
    fn most(slot: usize, slots: usize, free: &[usize], edges: &[bool], people: usize) -> usize {
        if slot == slots {
            return 0;
        }
        let mut best = most(slot + 1, slots, free, edges, people);
        for &person in free.iter().filter(|&&p| edges[slot * people + p]) {
            let rest: Vec<usize> = free.iter().copied().filter(|&p| p != person).collect();
            best = best.max(1 + most(slot + 1, slots, &rest, edges, people));
        }
        best
    }

    proptest! {
        #[test]
        fn as_many_slots_are_filled_as_can_be(slots in 1usize..5, people in 1usize..5, edges in prop::collection::vec(any::<bool>(), 25)) {
            let eligible = |slot: usize, person: usize| edges[slot * people + person];
            let filled = fill(slots, people, &eligible);
            let who: Vec<usize> = filled.iter().flatten().copied().collect();
            for (slot, person) in filled.iter().enumerate() {
                prop_assert!(person.is_none_or(|p| eligible(slot, p)));
            }
            for person in 0..people {
                prop_assert!(who.iter().filter(|&&p| p == person).count() <= 1);
            }
            let free: Vec<usize> = (0..people).collect();
            prop_assert_eq!(who.len(), most(0, slots, &free, &edges, people));
        }
    }
}
