//! What the providers' answers mean for a plan, and how they get into it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Draft, Observations, Previewed, Selection, StepDraft, images};
use crate::gate::Reason;
use crate::ids::EnvironmentName;
use crate::ledger::event::Movement;
use crate::plan::{Action, Move, Stay, Step};
use crate::state::State;

/// Puts the providers' previews into the selected moves. Steps that change nothing stay in the plan: what they expect
/// and leave is the same state, and apply demands it.
///
/// # Errors
/// The id of a step that was not previewed.
pub fn assemble(
    selection: Selection,
    previews: &BTreeMap<String, Previewed>,
) -> Result<(Vec<Move>, Vec<Stay>), String> {
    let mut moves = Vec::with_capacity(selection.moves.len());
    for draft in selection.moves {
        let mut head = draft.head;
        head.steps = draft.steps.into_iter().map(|d| finish(d, previews)).collect::<Result<_, _>>()?;
        if let Some(rollback) = &mut head.rollback {
            let mut steps: Vec<Step> =
                draft.rollback_steps.into_iter().map(|d| finish(d, previews)).collect::<Result<_, _>>()?;
            // The way back starts where the way there ends.
            for step in &mut steps {
                let there = head.steps.iter().find(|s| s.action == step.action && s.target == step.target);
                if let (Action::Deploy, Some(there), false) = (step.action, there, head.drill) {
                    step.expected = there.desired;
                }
                // A drill begins with it, so that what it changes is what a reader has to see.
                if !head.drill {
                    step.changes = Vec::new();
                }
            }
            rollback.steps = steps;
        }
        if let (true, Some(rollback)) = (head.drill, &head.rollback) {
            // What runs comes back from where the way back ends.
            for step in head.steps.iter_mut().filter(|step| step.action == Action::Deploy) {
                let back = rollback.steps.iter().find(|s| s.action == step.action && s.target == step.target);
                step.expected = back.map_or(step.expected, |back| back.desired);
                step.changes = Vec::new();
            }
        }
        moves.push(head);
    }
    Ok((moves, selection.stays))
}

fn finish(draft: StepDraft, previews: &BTreeMap<String, Previewed>) -> Result<Step, String> {
    let StepDraft { id, action, provider, target, inputs } = draft;
    let Some(Previewed { current, desired, changes, images, .. }) = previews.get(&id) else { return Err(id) };
    let (expected, desired, changes) = (*current, *desired, changes.clone());
    let other_images = images::others(images, &inputs.artifacts);
    Ok(Step { id, action, provider, target, inputs, expected, desired, changes, other_images })
}

/// Adds a finding for each step, there or back, that is refused: its preview says why, or the destination tag of a copy holds
/// something else (S2.3). Whether something was found that was not known: then the selection is to be made anew, since a move is
/// refused, or goes back elsewhere.
/// `movable` says of which repositories policy lets images be named by a tag.
pub fn refused(
    selection: &Selection,
    previews: &BTreeMap<String, Previewed>,
    movable: &BTreeMap<EnvironmentName, BTreeSet<String>>,
    observations: &mut Observations,
) -> bool {
    let (known, none) = (observations.destinations.len(), BTreeSet::new());
    // The way back from a reconfiguration is the same release: it would be taken for the way there.
    let back = |draft: &&Draft| draft.head.movement != Movement::Reconfiguration || draft.head.drill;
    let there = selection.moves.iter().flat_map(|draft| &draft.steps);
    let steps = there.chain(selection.moves.iter().filter(back).flat_map(|draft| &draft.rollback_steps));
    for step in steps {
        let Some(Previewed { current, desired, images, refused, .. }) = previews.get(&step.id) else { continue };
        let mut found: Vec<Reason> = refused.iter().cloned().collect();
        let movable = movable.get(&step.inputs.environment).unwrap_or(&none);
        found.extend(images::refused(images, &step.inputs.artifacts, movable));
        if let (Action::Copy, State::Present(there), State::Present(wanted)) = (step.action, current, desired)
            && there != wanted
        {
            found.extend(step.inputs.artifacts.iter().map(|(artifact, input)| {
                let tag = input.tag.as_ref().map(|t| format!(":{t}")).unwrap_or_default();
                let (artifact, reference) = (artifact.clone(), format!("{}{tag}", input.repository));
                Reason::DestinationTaken { artifact, reference, wanted: *wanted, found: *there }
            }));
        }
        if !found.is_empty() {
            let place = (step.inputs.environment.clone(), step.inputs.release.clone());
            observations.destinations.entry(place).or_default().extend(found);
        }
    }
    observations.destinations.len() > known
}
