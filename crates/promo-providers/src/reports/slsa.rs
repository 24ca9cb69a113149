//! SLSA provenance, v1 and v0.2 (slsa.dev, "Provenance"): who built an artifact, and from what. What must not live here: whether that may
//! be released.

use promo_core::evidence::{About, Kind, Provenance, Report, Source};

use super::json::{Budget, Fault, Json, Read};

/// What its predicate types begin with.
pub(super) const PREDICATE: &str = "https://slsa.dev/provenance/";
/// Where BuildKit says in v0.2 what was checked out.
const BUILDKIT: &str = "https://mobyproject.org/buildkit@v1#metadata";

pub(super) fn read<'t>(version: &str, predicate: &'t Json) -> Read<'t, Report> {
    match version {
        "v1" | "v1.0" | "v1.1" | "v1.2" => v1(predicate),
        "v0.2" => v0_2(predicate),
        _ => Err(Fault::Version { format: "SLSA provenance", found: version.to_owned(), known: "v0.2 and v1" }),
    }
}

fn v1(predicate: &Json) -> Read<'_, Report> {
    let (definition, run) = (predicate.need("buildDefinition")?, predicate.need("runDetails")?);
    let metadata = run.get_object("metadata")?;
    let buildkit = part(metadata, "buildkit_metadata")?;
    let mut all = of_list(definition.list("resolvedDependencies")?)?.into_iter();
    // BuildKit names no source among what it resolved, but images.
    let source = match checked_out(buildkit)? {
        Some(source) => Some(source),
        None => match all.next() {
            Some(source) => Some(source),
            None => workflow(definition)?,
        },
    };
    let provenance = Provenance {
        builder: run.need("builder")?.get_text("id")?.unwrap_or_default(),
        build_type: definition.need_text("buildType")?,
        source,
        others: all.collect(),
        run: id(metadata, "invocationId")?,
    };
    report(provenance, metadata, ["finishedOn", "startedOn"])
}

fn v0_2(predicate: &Json) -> Read<'_, Report> {
    let metadata = predicate.get_object("metadata")?;
    let config = part(predicate.get_object("invocation")?, "configSource")?;
    let mut all = of_list(predicate.list("materials")?)?.into_iter();
    let stated = match config {
        Some(config) => of_list(std::slice::from_ref(config))?.pop(),
        None => None,
    };
    let source = match (stated, checked_out(part(metadata, BUILDKIT)?)?) {
        (None, None) => all.next(),
        (stated, checked_out) => stated.or(checked_out),
    };
    let provenance = Provenance {
        builder: predicate.need("builder")?.get_text("id")?.unwrap_or_default(),
        build_type: predicate.need_text("buildType")?,
        others: all.filter(|other| Some(other) != source.as_ref()).collect(),
        source,
        // BuildKit writes it otherwise than the specification does.
        run: id(metadata, "buildInvocationId")?.or(id(metadata, "buildInvocationID")?),
    };
    report(provenance, metadata, ["buildFinishedOn", "buildStartedOn"])
}

/// A part of a part that may be missing.
fn part<'t>(of: Option<&'t Json>, key: &str) -> Read<'t, Option<&'t Json>> {
    of.map_or(Ok(None), |of| of.get_object(key))
}

fn report<'t>(provenance: Provenance, metadata: Option<&'t Json>, times: [&str; 2]) -> Read<'t, Report> {
    let mut about = About::new(Kind::Provenance);
    for time in times {
        if let (None, Some(metadata)) = (about.made, metadata) {
            about.made = metadata.get_instant(time)?;
        }
    }
    Ok(Report { provenance: Some(provenance), ..Report::new(about) })
}

fn id<'t>(metadata: Option<&'t Json>, key: &str) -> Read<'t, Option<String>> {
    metadata.map_or(Ok(None), |metadata| metadata.get_text(key))
}

/// What BuildKit says that it was given from a repository.
fn checked_out(buildkit: Option<&Json>) -> Read<'_, Option<Source>> {
    let Some(vcs) = part(buildkit, "vcs")? else { return Ok(None) };
    let Some(uri) = vcs.get_text("source")? else { return Ok(None) };
    let commit = vcs.get_text("revision")?.and_then(|text| commit(&text));
    Ok(Some(Source { uri, commit, digest: None }))
}

/// The repository of the workflow that GitHub was told to run, which has no commit.
fn workflow(definition: &Json) -> Read<'_, Option<Source>> {
    let workflow = part(definition.get_object("externalParameters")?, "workflow")?;
    let Some(workflow) = workflow else { return Ok(None) };
    Ok(workflow.get_text("repository")?.map(|uri| Source { uri, commit: None, digest: None }))
}

/// Resource descriptors (in-toto) and materials: each with where it lies and its digests.
fn of_list(list: &[Json]) -> Read<'_, Vec<Source>> {
    let (mut out, mut budget) = (Vec::new(), Budget::new());
    for entry in list {
        let Some(uri) = entry.get_text("uri")? else { continue };
        budget.take([uri.as_str()])?;
        let digest = entry.get_object("digest")?;
        // `sha1` stands for a commit where the writer is older than `gitCommit`; of anything else it is no identity.
        let stated = match digest {
            Some(digest) => digest.get_text("gitCommit")?.or(digest.get_text("sha1")?),
            None => None,
        };
        let bytes = match digest {
            Some(digest) => digest.get_text("sha256")?,
            None => None,
        };
        let digest = bytes.and_then(|hex| format!("sha256:{}", hex.to_ascii_lowercase()).parse().ok());
        out.push(Source { uri, commit: stated.and_then(|text| commit(&text)), digest });
    }
    Ok(out)
}

/// A whole commit, of SHA-1 or SHA-256, of a clean tree; what else stands there names none.
fn commit(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    (matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
}
