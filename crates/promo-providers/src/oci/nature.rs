//! What an artifact is, by what its manifests have in them. What must not live here: what is asked of it for that.

use promo_core::requirement::Nature;

use super::chart;
use super::document::Link;

/// Configurations of images (image specification, "Image Configuration"; distribution, "Image Manifest V 2, Schema 2").
pub(super) const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// How the types of layers begin that are unpacked into the file system of a container.
const IMAGE_LAYERS: [&str; 2] = ["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."];

/// Whether a layer is unpacked into the file system of a container.
pub(super) fn is_image_layer(layer: &Link) -> bool {
    IMAGE_LAYERS.iter().any(|begins| layer.media_type.starts_with(begins))
}

/// What one manifest is. What has a layer of an image is one, whatever its configuration calls itself: there are runtimes that look at
/// nothing else.
pub(super) fn of_manifest(config: &Link, layers: &[Link]) -> Nature {
    if IMAGE_CONFIGS.contains(&config.media_type.as_str()) || layers.iter().any(is_image_layer) {
        Nature::Image
    } else if config.media_type == chart::CONFIG {
        Nature::Chart
    } else {
        Nature::Other
    }
}

/// What an artifact is: an image where one of its manifests is, and a chart where it is nothing but that.
pub(super) fn of_all(manifests: impl IntoIterator<Item = Nature>) -> Nature {
    let mut all = manifests.into_iter();
    let Some(first) = all.next() else { return Nature::Other };
    all.fold(first, |one, other| match (one, other) {
        (Nature::Image, _) | (_, Nature::Image) => Nature::Image,
        (one, other) if one == other => one,
        _ => Nature::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use promo_core::Digest;

    fn link(media_type: &str) -> Link {
        let digest = Digest::of(media_type.as_bytes());
        Link { digest, size: 1, media_type: media_type.into(), foreign: false, attestation: false, platform: None }
    }

    #[test]
    fn an_artifact_is_what_its_manifests_have_in_them() {
        let (oci, docker) = (IMAGE_CONFIGS[0], IMAGE_CONFIGS[1]);
        let content = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
        for (config, layers, is) in [
            (oci, &[][..], Nature::Image),
            (docker, &["application/vnd.docker.image.rootfs.diff.tar.gzip"], Nature::Image),
            (chart::CONFIG, &[content], Nature::Chart),
            (chart::CONFIG, &["application/vnd.oci.image.layer.v1.tar+gzip"], Nature::Image),
            ("application/vnd.oci.empty.v1+json", &["application/json"], Nature::Other),
            ("application/x", &["application/vnd.oci.image.layer.v1.tar"], Nature::Image),
        ] {
            let layers: Vec<Link> = layers.iter().map(|layer| link(layer)).collect();
            assert_eq!(of_manifest(&link(config), &layers), is, "{config} {layers:?}");
        }
        assert_eq!(of_all([]), Nature::Other);
        assert_eq!(of_all([Nature::Chart, Nature::Chart]), Nature::Chart);
        assert_eq!(of_all([Nature::Chart, Nature::Other]), Nature::Other);
        assert_eq!(of_all([Nature::Chart, Nature::Other, Nature::Image]), Nature::Image);
    }
}
