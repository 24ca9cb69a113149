//! Package URLs in which a digest stands. What must not live here: which packages are the same.

use std::str::FromStr as _;

use packageurl::PackageUrl;
use promo_core::Digest;

/// The digest of an image that a purl names (`pkg:oci/app@sha256%3A…`). A purl that is none, and one of another type, name none.
pub(super) fn digest(purl: &str) -> Option<Digest> {
    let purl = PackageUrl::from_str(purl).ok()?;
    let is_image = matches!(purl.ty(), "oci" | "docker");
    purl.version().filter(|_| is_image)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_an_image_is_found_however_it_is_written() {
        let hex = "ab".repeat(32);
        for purl in [
            format!("pkg:oci/app@sha256:{hex}?repository_url=ghcr.io/team/app&arch=amd64"),
            format!("pkg:oci/app@sha256%3A{hex}"),
            format!("pkg:docker/team/app@sha256%3a{hex}"),
        ] {
            assert_eq!(digest(&purl).map(|digest| digest.hex()), Some(hex.clone()), "{purl}");
        }
        for purl in [format!("pkg:npm/app@sha256:{hex}"), "pkg:oci/app@1.2".to_owned(), "sha256".to_owned()] {
            assert_eq!(digest(&purl), None, "{purl}");
        }
    }
}
