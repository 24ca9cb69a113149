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
    let buildkit = match metadata {
        Some(metadata) => metadata.get_object("buildkit_metadata")?,
        None => None,
    };
    let mut sources = checked_out(buildkit)?;
    of_list(definition.list("resolvedDependencies")?, &mut sources)?;
    let provenance = Provenance {
        builder: run.need("builder")?.need_text("id")?,
        build_type: definition.need_text("buildType")?,
        sources,
        run: id(metadata, "invocationId")?,
    };
    report(provenance, metadata, ["finishedOn", "startedOn"])
}

fn v0_2(predicate: &Json) -> Read<'_, Report> {
    let metadata = predicate.get_object("metadata")?;
    let buildkit = match metadata {
        Some(metadata) => metadata.get_object(BUILDKIT)?,
        None => None,
    };
    let mut sources = checked_out(buildkit)?;
    if let Some(invocation) = predicate.get_object("invocation")?
        && let Some(config) = invocation.get_object("configSource")?
    {
        of_list(std::slice::from_ref(config), &mut sources)?;
    }
    of_list(predicate.list("materials")?, &mut sources)?;
    let provenance = Provenance {
        builder: predicate.need("builder")?.need_text("id")?,
        build_type: predicate.need_text("buildType")?,
        sources,
        // BuildKit writes it otherwise than the specification does.
        run: id(metadata, "buildInvocationId")?.or(id(metadata, "buildInvocationID")?),
    };
    report(provenance, metadata, ["buildFinishedOn", "buildStartedOn"])
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
fn checked_out(buildkit: Option<&Json>) -> Read<'_, Vec<Source>> {
    let vcs = match buildkit {
        Some(buildkit) => buildkit.get_object("vcs")?,
        None => None,
    };
    let Some(vcs) = vcs else { return Ok(Vec::new()) };
    let Some(uri) = vcs.get_text("source")? else { return Ok(Vec::new()) };
    let commit = vcs.get("revision")?.map(commit).transpose()?;
    Ok(vec![Source { uri, commit }])
}

/// Resource descriptors (in-toto) and materials: each with where it lies and its digests.
fn of_list<'t>(list: &'t [Json], out: &mut Vec<Source>) -> Read<'t, ()> {
    let mut budget = Budget::new();
    for entry in list {
        let Some(uri) = entry.get_text("uri")? else { continue };
        budget.take([uri.as_str()])?;
        let digest = entry.get_object("digest")?;
        // `sha1` stands for a commit where the writer is older than `gitCommit`; of anything else it is no identity.
        let stated = match digest {
            Some(digest) => digest.get("gitCommit")?.or(digest.get("sha1")?),
            None => None,
        };
        let source = Source { uri, commit: stated.map(commit).transpose()? };
        if !out.contains(&source) {
            out.push(source);
        }
    }
    Ok(())
}

/// A whole commit, of SHA-1 or SHA-256.
fn commit(at: &Json) -> Read<'_, String> {
    let text = at.text()?.to_ascii_lowercase();
    let hex = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex { Ok(text) } else { at.broken("a commit: 40 or 64 hexadecimal digits") }
}
