//! Repositories of git, asked for commits with the git of this machine. What must not live here: which repositories may be asked, and what
//! is made of an answer.
//!
//! The commits behind the refs that are asked for are fetched into a directory of their own, without files and trees where the server can
//! leave those out, and the directory goes away afterwards. Nothing of the machine's or the user's settings of git counts, no hook runs, no
//! question is asked, and no way to reach a repository is taken but https, ssh and files.

mod refs;
mod tool;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use promo_core::evidence::{Seen, TIPS_TOLD, Tip};
use promo_sdk::{Commit, Context, ErrorKind, ProviderError, Repositories, SourceAnswer, SourcePlace, Way};

use refs::{Shown, shown};
use tool::{Copy, failed};

/// How many commits of a way are told at most.
const TOLD: usize = 500;
/// Below this the refs of the repository are kept in the copy.
const KEPT: &str = "refs/seen/";

/// The git of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Git;

#[async_trait]
impl Repositories for Git {
    async fn look(
        &self,
        cx: &Context,
        place: &SourcePlace,
        commits: &BTreeSet<String>,
    ) -> Result<SourceAnswer, ProviderError> {
        let (mut seen, mut version) = (Vec::new(), None);
        // A repository names its commits by one kind of hash, and is asked in that of the commit.
        for digits in commits.iter().map(String::len).collect::<BTreeSet<_>>() {
            let copy = Copy::new(cx, place, digits).await?;
            version = copy.version().await;
            let tips = fetched(&copy, place, digits).await?;
            for commit in commits.iter().filter(|commit| commit.len() == digits) {
                let (exists, reached) = match &tips {
                    None => (false, None),
                    Some(tips) => found(&copy, tips, commit).await?,
                };
                let all = tips.clone().unwrap_or_default();
                let more_tips = all.len().saturating_sub(TIPS_TOLD) as u64;
                seen.push(Seen {
                    repository: place.repository.clone(),
                    refs: place.refs.clone(),
                    commit: commit.clone(),
                    exists,
                    reached,
                    tips: all.into_iter().take(TIPS_TOLD).collect(),
                    more_tips,
                });
            }
        }
        seen.sort_by(|one, other| one.commit.cmp(&other.commit));
        Ok(SourceAnswer { seen, version })
    }

    async fn way(&self, cx: &Context, place: &SourcePlace, from: &str, to: &str) -> Result<Way, ProviderError> {
        let mut copy = Copy::new(cx, place, to.len()).await?;
        fetched(&copy, place, to.len()).await?;
        for commit in [from, to] {
            if commit.len() != to.len() || !has(&copy, commit).await? {
                let message =
                    format!("{} does not have the commit {commit} by {}", place.repository, listed(&place.refs));
                return Err(ProviderError::new(ErrorKind::NotFound, message));
            }
        }
        // Who is who stands in a file: it alone is fetched once it is asked for.
        copy.names(to);
        let range = [to.to_owned(), format!("^{from}")];
        let words = ["log", "--no-show-signature", "--no-color", "--no-decorate", "--encoding=UTF-8", "-z"];
        let format = ["--format=%H%x1f%aN%x1f%aI%x1f%s".to_owned(), format!("--max-count={TOLD}")];
        let text = copy.told(words.map(String::from).into_iter().chain(format).chain(range.clone())).await?;
        let commits: Vec<Commit> = text.split('\0').filter_map(commit).collect();
        let counted = |range: [String; 2]| {
            let words = ["rev-list".to_owned(), "--count".to_owned()].into_iter().chain(range);
            let copy = &copy;
            async move { Ok::<u64, ProviderError>(copy.told(words).await?.trim().parse().unwrap_or_default()) }
        };
        let (all, without) = (counted(range).await?, counted([from.to_owned(), format!("^{to}")]).await?);
        Ok(Way { more: all.saturating_sub(commits.len() as u64), commits, without })
    }
}

/// A line of the history.
fn commit(text: &str) -> Option<Commit> {
    let mut fields = text.trim_matches('\n').split('\u{1f}');
    let mut next = || fields.next().map(str::to_owned);
    let (id, author, at) = (next().filter(|id| !id.is_empty())?, next()?, next()?.parse().ok());
    let subject = next().unwrap_or_default();
    Some(Commit { id, author, at, subject })
}

fn listed(refs: &BTreeSet<String>) -> String {
    refs.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// Fetches what the refs that count lead to; by name, the commit of each. None where the repository names commits by another kind of hash.
async fn fetched(
    copy: &Copy<'_>,
    place: &SourcePlace,
    digits: usize,
) -> Result<Option<BTreeMap<String, String>>, ProviderError> {
    let words =
        ["ls-remote", "--quiet", "--", "origin"].map(String::from).into_iter().chain(place.refs.iter().cloned());
    let output = copy.run(words, Vec::new()).await?;
    if output.code != Some(0) {
        return Err(failed(&place.repository, &output));
    }
    let all: Shown = shown(&String::from_utf8_lossy(&output.stdout), &place.refs)
        .map_err(|why| ProviderError::new(ErrorKind::Failed, format!("{} {why}", place.repository)))?;
    if all.values().any(|object| object.len() != digits) {
        return Ok(None);
    }
    if all.is_empty() {
        return Ok(Some(BTreeMap::new()));
    }
    let specs: String =
        all.keys().map(|name| format!("+{name}:{KEPT}{}\n", name.trim_start_matches("refs/"))).collect();
    let words = ["fetch", "--quiet", "--filter=tree:0", "--no-tags", "--no-recurse-submodules", "--stdin", "origin"];
    let output = copy.run(words.map(String::from), specs.into_bytes()).await?;
    if output.code != Some(0) {
        return Err(failed(&place.repository, &output));
    }
    let format = "--format=%(refname) %(objectname) %(*objectname)".to_owned();
    let text = copy.told(["for-each-ref".to_owned(), format, KEPT.to_owned()]).await?;
    let mut tips = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let (Some(name), Some(object)) = (words.next().and_then(|name| name.strip_prefix(KEPT)), words.next()) else {
            continue;
        };
        let commit = words.next().filter(|peeled| !peeled.is_empty()).unwrap_or(object);
        tips.insert(format!("refs/{name}"), commit.to_owned());
    }
    // What a repository has only the end of cannot say what led there.
    if let Some(name) = all.keys().find(|name| !tips.contains_key(*name)) {
        let message = format!("{} does not give the history of {name}: it may be a shallow clone", place.repository);
        return Err(ProviderError::new(ErrorKind::Failed, message));
    }
    Ok(Some(tips))
}

/// Whether the copy has a commit by now.
async fn has(copy: &Copy<'_>, commit: &str) -> Result<bool, ProviderError> {
    let words = ["cat-file".to_owned(), "-e".to_owned(), format!("{commit}^{{commit}}")];
    Ok(copy.run(words, Vec::new()).await?.code == Some(0))
}

/// Whether the repository has a commit, and the first ref by name that leads to it.
async fn found(
    copy: &Copy<'_>,
    tips: &BTreeMap<String, String>,
    commit: &str,
) -> Result<(bool, Option<Tip>), ProviderError> {
    if !has(copy, commit).await? {
        // None of the refs leads to it. Whether it is anywhere else is asked by its name.
        let words = ["fetch", "--quiet", "--filter=tree:0", "--no-tags", "--no-recurse-submodules", "origin"];
        let output = copy.run(words.map(String::from).into_iter().chain([commit.to_owned()]), Vec::new()).await?;
        return match output.code {
            Some(0) => Ok((has(copy, commit).await?, None)),
            _ if tool::knows_no_such(&output) => Ok((false, None)),
            _ => Err(failed(copy.repository(), &output)),
        };
    }
    let words = ["for-each-ref", "--format=%(refname)"].map(String::from).into_iter();
    let text = copy.told(words.chain([format!("--contains={commit}"), KEPT.to_owned()])).await?;
    let names = text.lines().filter_map(|line| Some(format!("refs/{}", line.strip_prefix(KEPT)?)));
    let reached = names.min().and_then(|name| Some(Tip { commit: tips.get(&name)?.clone(), name }));
    Ok((true, reached))
}
