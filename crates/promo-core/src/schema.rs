//! JSON schemas of the types that are one text: their own reading decides, and the pattern says the same. All other schemas are
//! derived. What must not live here: schemas of whole documents, which promo-cli publishes.

use alloc::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::Digest;
use crate::approval::{Fingerprint, Nonce};
use crate::ids::{
    ArtifactName, CheckName, EnvironmentName, GateName, IdentityName, PipelineName, ReleaseId, RoleName, RunId,
    TargetName, WindowName,
};

const LABEL: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

macro_rules! texts {
    ($($type:ident: $about:literal, $pattern:expr;)+) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "description": $about, "pattern": $pattern})
            }
        }
    )+};
}

texts! {
    Digest: "A SHA-256 digest.", "^sha256:[0-9a-f]{64}$";
    ReleaseId: "A release.", "^r-[0-9a-f]{12}$";
    Nonce: "16 random bytes in hexadecimal digits.", "^[0-9a-f]{32}$";
    Fingerprint: "The fingerprint of an SSH key, as OpenSSH writes it.", "^SHA256:[A-Za-z0-9+/]{43}$";
    PipelineName: "A pipeline.", LABEL;
    EnvironmentName: "An environment.", LABEL;
    ArtifactName: "An artifact.", LABEL;
    CheckName: "A check.", LABEL;
    WindowName: "A window.", LABEL;
    GateName: "A gate over evidence.", LABEL;
    TargetName: "A target.", LABEL;
    RoleName: "A role.", LABEL;
    IdentityName: "An identity.", LABEL;
    RunId: "A run.", LABEL;
}
