//! Pipelines of a few environments that one template deploys and one check verifies. What must not live here: what happens
//! in them.

/// `dev` alone.
pub const ONE: &str = r#"
[environments.dev]
tier   = "development"
target = { directory = "environments/dev" }
"#;

/// A pipeline of that name with these environments, which start by themselves and are deployed from `service.j2`.
#[must_use]
pub fn pipeline(name: &str, environments: &str) -> String {
    format!(
        r#"
format = 1
[pipeline]
name = "{name}"
[artifacts.shop]
image = "oci-layout:registry/shop"
tags  = "[0-9]*"
[defaults]
start = "auto"
verify = ["smoke"]
[defaults.deploy.directory]
templates = ["service.j2"]
[checks.smoke]
command = {{ run = ["true"] }}
{environments}"#
    )
}
