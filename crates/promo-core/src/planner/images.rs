//! Which images a deployment may run: those of its release, others by their digests, and by tags only what policy says (R2, S2.5).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use super::artifact::split_reference;
use crate::Digest;
use crate::gate::Reason;
use crate::ids::ArtifactName;
use crate::inputs::ArtifactInput;

/// Why a deployment must not run these images. `movable` are the repositories, each with everything under it, of which policy
/// lets images be named by a tag; those of the release's own artifacts never are.
pub fn refused(
    images: &[String],
    artifacts: &BTreeMap<ArtifactName, ArtifactInput>,
    movable: &BTreeSet<String>,
) -> Vec<Reason> {
    let judge = |image: &String| {
        let (repository, _) = split_reference(image);
        let digest = image.split_once('@').and_then(|(_, digest)| digest.parse::<Digest>().ok());
        let mut own = artifacts.iter().filter(|(_, artifact)| artifact.is_in(&repository)).peekable();
        let Some((name, first)) = own.peek() else {
            let lets = digest.is_some() || movable.iter().any(|allowed| below(allowed, &repository));
            return (!lets).then(|| Reason::ImageMovable { image: image.clone() });
        };
        let (artifact, wanted) = ((*name).clone(), first.digest);
        let named = own.any(|(_, artifact)| digest == Some(artifact.digest));
        (!named).then(|| Reason::ImageUnlike { artifact, image: image.clone(), wanted })
    };
    images.iter().filter_map(judge).collect()
}

/// Those of the images that are no artifact's of the release.
pub(super) fn others(images: &[String], artifacts: &BTreeMap<ArtifactName, ArtifactInput>) -> Vec<String> {
    let own = |image: &&String| {
        let (repository, _) = split_reference(image);
        artifacts.values().any(|artifact| artifact.is_in(&repository))
    };
    images.iter().filter(|image| !own(image)).cloned().collect()
}

fn below(prefix: &str, repository: &str) -> bool {
    repository.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::{format, vec};

    fn judged(image: &str) -> Result<Vec<String>, Vec<&'static str>> {
        let images = [image.to_string()];
        let artifact = ArtifactInput {
            repository: "registry.example/shop/api".into(),
            digest: Digest::of(b"api"),
            tag: Some("1".into()),
            source: Some("build.example/shop/api".into()),
            tree: vec![Digest::of(b"api for arm64")],
        };
        let artifacts = BTreeMap::from([("api".parse().unwrap(), artifact)]);
        let movable = BTreeSet::from(["registry.example/tools".to_string(), "build.example".into()]);
        match refused(&images, &artifacts, &movable) {
            none if none.is_empty() => Ok(others(&images, &artifacts)),
            reasons => Err(reasons.iter().map(Reason::code).collect()),
        }
    }

    #[test]
    fn s2_5_an_image_is_the_releases_own_or_named_by_its_digest_or_let_move_by_policy() {
        let named = |repository: &str, of: &[u8]| format!("{repository}@{}", Digest::of(of));
        assert_eq!(judged(&named("registry.example/shop/api", b"api")), Ok(vec![]));
        for other in [named("mesh.example:5000/proxy", b"proxy"), "registry.example/tools/debug:1".into()] {
            assert_eq!(judged(&other), Ok(vec![other.clone()]));
        }
        for moves in ["mesh.example:5000/proxy", "mesh.example/proxy:1", "mesh@sha256:00", "registry.example/toolsy:1"]
        {
            assert_eq!(judged(moves), Err(vec!["image-movable"]), "{moves}");
        }
        let mirrored = ["build.example/shop/api:1".to_string(), named("build.example/shop/api", b"other")];
        let own = ["registry.example/shop/api:1".to_string(), named("registry.example/shop/api", b"other")];
        for unlike in own.into_iter().chain(mirrored) {
            assert_eq!(judged(&unlike), Err(vec!["image-unlike"]), "{unlike}");
        }
    }
}
