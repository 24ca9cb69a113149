//! What runs once a step has settled, held against the release (S2.5). What must not live here: how it is found out.

use promo_core::inputs::{ArtifactInput, Inputs};
use promo_core::planner::split_reference;
use promo_sdk::{RunningImage, Settled};

/// What one line tells of images at the most.
const FEW: usize = 4;

/// What is told of what runs; nothing where only the release does.
///
/// # Errors
/// In words, where a container that was deployed with an image of the release runs another one, or does not say which.
pub(super) fn judge(inputs: &Inputs, settled: &Settled) -> Result<Option<String>, String> {
    let (mut wrong, mut others) = (Vec::new(), Vec::new());
    for image in &settled.images {
        let RunningImage { place, declared, running, digest } = image;
        let repository = declared.as_ref().map(|declared| split_reference(declared).0);
        let of_release = |input: &&ArtifactInput| repository.as_ref().is_some_and(|repository| input.is_in(repository));
        let mut own = inputs.artifacts.values().filter(of_release).peekable();
        let Some(first) = own.peek() else {
            others.push(match declared {
                Some(_) => running.clone(),
                None => format!("{running} ({place}, which nobody declared here)"),
            });
            continue;
        };
        let planned = first.digest;
        if !own.any(|input| digest.is_some_and(|found| found == input.digest || input.tree.contains(&found))) {
            wrong.push(format!("{place} runs {running}: expected {planned}, or a manifest of its tree"));
        }
    }
    if !wrong.is_empty() {
        return Err(few(&wrong, "; "));
    }
    others.sort_unstable();
    others.dedup();
    Ok((!others.is_empty()).then(|| format!("also runs {}", few(&others, ", "))))
}

fn few(all: &[String], between: &str) -> String {
    let mut told = all.iter().take(FEW).cloned().collect::<Vec<_>>().join(between);
    if all.len() > FEW {
        told.push_str(&format!("{between}and {} more", all.len() - FEW));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use promo_core::Digest;
    use promo_core::model::Target;

    fn judged(declared: Option<&str>, running: Option<Digest>) -> Result<Option<String>, String> {
        let artifact = ArtifactInput {
            repository: "registry.example/shop/api".into(),
            digest: Digest::of(b"index"),
            tag: None,
            source: None,
            tree: vec![Digest::of(b"arm64")],
        };
        let inputs = Inputs {
            environment: "dev".parse().unwrap(),
            release: "r-0123456789ab".parse().unwrap(),
            target: Target([].into()),
            settings: serde_json::Value::Null,
            artifacts: [("api".parse().unwrap(), artifact)].into(),
            files: [].into(),
        };
        let image = RunningImage {
            place: "Deployment/web container api".into(),
            declared: declared.map(Into::into),
            running: running.map_or_else(|| "mesh/proxy:1".into(), |digest| format!("x@{digest}")),
            digest: running,
        };
        judge(&inputs, &Settled { images: vec![image] })
    }

    #[test]
    fn s2_5_what_runs_is_the_subject_or_a_digest_of_its_tree() {
        let declared = format!("registry.example/shop/api@{}", Digest::of(b"index"));
        for found in [b"index".as_slice(), b"arm64"] {
            assert_eq!(judged(Some(&declared), Some(Digest::of(found))), Ok(None));
        }
        let why = judged(Some(&declared), Some(Digest::of(b"other"))).unwrap_err();
        assert!(why.starts_with("Deployment/web container api runs x@") && why.contains("expected"), "{why}");
        assert!(judged(Some(&declared), None).unwrap_err().contains("runs mesh/proxy:1"), "no data is never a pass");
    }

    #[test]
    fn what_the_release_does_not_name_is_told_and_what_nobody_declared_with_its_place() {
        assert_eq!(judged(Some("mesh/proxy:1"), None), Ok(Some("also runs mesh/proxy:1".into())));
        let told = judged(None, None).unwrap().unwrap();
        assert_eq!(told, "also runs mesh/proxy:1 (Deployment/web container api, which nobody declared here)");
    }
}
