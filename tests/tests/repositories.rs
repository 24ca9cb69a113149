//! Real repositories, made by the real git: what is seen of their commits, and that nothing in them is run.

#![expect(clippy::unwrap_used, reason = "a test, which fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "somebody else's git, who makes the repositories")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use promo_core::evidence::Seen;
use promo_engine::process::Processes;
use promo_providers::git::Git;
use promo_sdk::testing::context;
use promo_sdk::{Context, ErrorKind, ProviderError, Repositories as _, SourcePlace};

fn cx() -> Context {
    Context { processes: Arc::new(Processes::default()), ..context("/") }
}

/// A repository in a directory that goes away.
struct Source {
    directory: tempfile::TempDir,
}

impl Source {
    fn new() -> Self {
        let out = Self { directory: tempfile::tempdir().unwrap() };
        out.git(&["init", "--quiet", "--initial-branch=main"]);
        out
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn git(&self, words: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(words).current_dir(self.path()).env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_COMMITTER_NAME", "C").env("GIT_COMMITTER_EMAIL", "c@example");
        command.env("GIT_AUTHOR_DATE", "2026-11-20T10:00:00Z").env("GIT_COMMITTER_DATE", "2026-11-20T10:00:00Z");
        if !words.iter().any(|word| word.starts_with("--author")) {
            command.env("GIT_AUTHOR_NAME", "Ada").env("GIT_AUTHOR_EMAIL", "ada@example");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, subject: &str) -> String {
        self.git(&["commit", "--quiet", "--allow-empty", "--message", subject]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn place(&self, refs: &[&str]) -> SourcePlace {
        place(&self.path().display().to_string(), refs)
    }
}

fn place(repository: &str, refs: &[&str]) -> SourcePlace {
    SourcePlace { repository: repository.into(), refs: refs.iter().map(|name| (*name).to_owned()).collect() }
}

async fn look(place: &SourcePlace, commits: &[&str]) -> Result<Vec<Seen>, ProviderError> {
    let commits = commits.iter().map(|commit| (*commit).to_owned()).collect();
    Ok(Git.look(&cx(), place, &commits).await?.seen)
}

/// Whether it exists, and by which ref it is reached.
async fn one(place: &SourcePlace, commit: &str) -> (bool, Option<String>) {
    let seen = look(place, &[commit]).await.unwrap().remove(0);
    assert_eq!((&seen.repository, &seen.refs, seen.commit.as_str()), (&place.repository, &place.refs, commit));
    (seen.exists, seen.reached.map(|tip| tip.name))
}

fn by(name: &str) -> (bool, Option<String>) {
    (true, Some(name.to_owned()))
}

#[tokio::test]
async fn r3_a_commit_is_reached_by_branches_merges_and_tags_that_count_and_by_no_others() {
    let source = Source::new();
    let first = source.commit("first");
    source.git(&["checkout", "--quiet", "-b", "merged"]);
    let merged = source.commit("merged");
    source.git(&["checkout", "--quiet", "main"]);
    source.commit("meanwhile");
    source.git(&["merge", "--quiet", "--no-ff", "--message", "merge", "merged"]);
    source.git(&["checkout", "--quiet", "-b", "side", &first]);
    let side = source.commit("side");
    source.git(&["checkout", "--quiet", "--detach"]);
    let tagged = source.commit("tagged");
    source.git(&["tag", "--annotate", "--message", "one", "v1"]);
    let light = source.commit("light");
    source.git(&["tag", "nightly"]);
    source.git(&["update-ref", "refs/pull/1/head", &source.commit("of a pull request")]);
    let pull = source.git(&["rev-parse", "refs/pull/1/head"]);

    let main = source.place(&["refs/heads/main"]);
    assert_eq!(one(&main, &first).await, by("refs/heads/main"));
    assert_eq!(one(&main, &merged).await, by("refs/heads/main"));
    assert_eq!(one(&main, &side).await, (true, None));
    assert_eq!(one(&main, &pull).await, (true, None));
    assert_eq!(one(&main, &"1".repeat(40)).await, (false, None));
    assert_eq!(one(&main, &"1".repeat(64)).await, (false, None), "of another kind of hash");
    let tags = source.place(&["refs/tags/v*"]);
    assert_eq!(one(&tags, &tagged).await, by("refs/tags/v1"));
    assert_eq!(one(&tags, &light).await, (true, None));
    assert_eq!(one(&source.place(&["refs/heads/*"]), &side).await, by("refs/heads/side"));
    assert_eq!(one(&source.place(&["refs/heads/gone"]), &first).await, (true, None));
    assert_eq!(
        one(&place(&format!("file://{}", source.path().display()), &["refs/heads/main"]), &first).await,
        by("refs/heads/main")
    );

    let seen = look(&source.place(&["refs/heads/m*", "refs/tags/v1"]), &[&first]).await.unwrap().remove(0);
    let tips: Vec<&str> = seen.tips.keys().map(String::as_str).collect();
    assert_eq!(tips, ["refs/heads/main", "refs/heads/merged", "refs/tags/v1"]);
    assert_eq!(seen.tips["refs/tags/v1"], tagged, "a tag is told by its commit");
    assert_eq!(seen.reached.unwrap().name, "refs/heads/main");
}

#[tokio::test]
async fn r3_what_a_branch_lost_is_not_reached_from_it_and_a_tree_is_no_commit() {
    let source = Source::new();
    let kept = source.commit("kept");
    let lost = source.commit("lost");
    let main = source.place(&["refs/heads/main"]);
    assert_eq!(one(&main, &lost).await, by("refs/heads/main"));
    source.git(&["reset", "--quiet", "--hard", &kept]);
    assert_eq!(one(&main, &lost).await, (true, None));
    assert_eq!(one(&main, &kept).await, by("refs/heads/main"));
    let tree = source.git(&["rev-parse", "HEAD^{tree}"]);
    assert_eq!(one(&main, &tree).await.1, None);
}

#[tokio::test]
async fn r3_a_repository_that_cannot_tell_is_an_error_and_never_a_no() {
    let source = Source::new();
    let first = source.commit("first");
    source.commit("second");
    let directory = tempfile::tempdir().unwrap();
    let shallow = directory.path().join("shallow");
    source.git(&[
        "clone",
        "--quiet",
        "--depth=1",
        &format!("file://{}", source.path().display()),
        &shallow.display().to_string(),
    ]);
    let error = look(&place(&shallow.display().to_string(), &["refs/heads/main"]), &[&first]).await.unwrap_err();
    assert!(error.message.contains("it may be a shallow clone"), "{error}");
    let missing = directory.path().join("missing").display().to_string();
    let error = look(&place(&missing, &["refs/heads/main"]), &[&first]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    assert!(error.message.contains(&missing), "{error}");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = look(&place(&format!("https://{nobody}/shop"), &["refs/heads/main"]), &[&first]).await.unwrap_err();
    assert!(!error.message.contains('\n'), "{error}");
    let offline = Context { http: None, ..cx() };
    let answer = Git.look(&offline, &place("https://git.example/shop", &["refs/heads/main"]), &[first].into()).await;
    assert_eq!(answer.unwrap_err().kind, ErrorKind::Offline);
    // An empty repository does not have it.
    assert_eq!(one(&Source::new().place(&["refs/heads/main"]), &"1".repeat(40)).await, (false, None));
}

#[tokio::test]
async fn nothing_that_a_repository_or_a_machine_is_set_to_is_run() {
    let source = Source::new();
    let first = source.commit("first");
    let directory = tempfile::tempdir().unwrap();
    let mark: PathBuf = directory.path().join("ran");
    let program = format!("touch {}", mark.display());
    for key in ["core.fsmonitor", "uploadpack.packObjectsHook", "core.sshCommand", "core.pager", "core.askPass"] {
        source.git(&["config", key, &program]);
    }
    for hook in ["post-checkout", "reference-transaction", "pre-auto-gc", "post-update"] {
        let path = source.path().join(".git/hooks").join(hook);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{program}\n")).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    assert_eq!(one(&source.place(&["refs/heads/main"]), &first).await, by("refs/heads/main"));
    assert!(!mark.exists());
    // What no file could name is refused by git as well.
    for hostile in [format!("ext::{program}"), "--upload-pack=touch /x".to_owned(), "git://127.0.0.1:1/x".to_owned()] {
        assert!(look(&place(&hostile, &["refs/heads/main"]), &[&first]).await.is_err(), "{hostile}");
    }
    for hostile in [format!("--upload-pack={program}"), "--exec=x".to_owned()] {
        drop(look(&source.place(&[&hostile]), &[&first]).await);
    }
    assert!(!mark.exists());
    // Refs of any name are nothing but names.
    source.git(&["update-ref", "refs/heads/$(touch${IFS}ran)", "HEAD"]);
    source.git(&["update-ref", "refs/heads/--output=ran", "HEAD"]);
    let all = look(&source.place(&["refs/heads/*"]), &[&first]).await.unwrap().remove(0);
    assert_eq!(all.tips.len(), 3);
    assert_eq!(all.reached.unwrap().name, "refs/heads/$(touch${IFS}ran)");
}

#[tokio::test]
async fn the_way_from_one_commit_to_another_names_who_wrote_it_as_the_mailmap_has_them() {
    let source = Source::new();
    let from = source.commit("from");
    source.commit("one\n\nmore of it");
    source.git(&["commit", "--quiet", "--allow-empty", "--author=ada l <ada@home.example>", "--message", "two"]);
    source.git(&["commit", "--quiet", "--allow-empty", "--author=Grace <g@example>", "--message", "three"]);
    let before = source.git(&["rev-parse", "HEAD"]);
    std::fs::write(
        source.path().join(".mailmap"),
        "Ada Lovelace <ada@example>\nAda Lovelace <ada@example> <ada@home.example>\n",
    )
    .unwrap();
    source.git(&["add", ".mailmap"]);
    let to = source.commit("four");
    let main = source.place(&["refs/heads/main"]);
    for filter in ["false", "true"] {
        source.git(&["config", "uploadpack.allowFilter", filter]);
        let way = Git.way(&cx(), &main, &from, &to).await.unwrap();
        let told: Vec<(&str, &str)> = way.commits.iter().map(|c| (c.author.as_str(), c.subject.as_str())).collect();
        let ada = "Ada Lovelace";
        assert_eq!(told, [(ada, "four"), ("Grace", "three"), (ada, "two"), (ada, "one")], "{filter}");
        assert_eq!((way.more, way.without, way.commits[0].id.as_str()), (0, 0, to.as_str()));
        assert_eq!(way.commits[0].at, Some("2026-11-20T10:00:00Z".parse().unwrap()));
    }
    let unmapped = Git.way(&cx(), &main, &from, &before).await.unwrap();
    assert_eq!(unmapped.commits.iter().map(|c| c.author.as_str()).collect::<Vec<_>>(), ["Grace", "ada l", "Ada"]);
    let back = Git.way(&cx(), &main, &to, &from).await.unwrap();
    assert_eq!((back.commits.len(), back.without), (0, 4));
    let error = Git.way(&cx(), &main, &"1".repeat(40), &to).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn a_repository_of_the_longer_hashes_is_asked_in_its_own_way() {
    let source = Source { directory: tempfile::tempdir().unwrap() };
    source.git(&["init", "--quiet", "--initial-branch=main", "--object-format=sha256"]);
    let commit = source.commit("first");
    assert_eq!(commit.len(), 64);
    let main = source.place(&["refs/heads/main"]);
    assert_eq!(one(&main, &commit).await, by("refs/heads/main"));
    assert_eq!(one(&main, &"1".repeat(40)).await, (false, None));
}
