//! Where a repository of git may lie, and which of its refs may be named, as files say so. What must not live here: asking one.
//!
//! What passes here is handed to a program as its argument, so anything that git could take for an option, for a program to run (`ext::`)
//! or for a credential is refused.

use alloc::format;
use alloc::string::String;

/// How long either may be, in bytes.
const LONGEST: usize = 1_000;

/// What is wrong with the place of a repository, in words, and what to write instead.
pub(super) fn wrong_place(place: &str) -> Option<(String, &'static str)> {
    const EXPECTED: &str =
        "expected `https://HOST/PATH`, `ssh://USER@HOST/PATH`, `file:///PATH` or an absolute path, without a password";
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\\?#\"'`<>|".contains(&byte);
    if place.len() > LONGEST || !place.bytes().all(plain) {
        return Some(("has a character that no repository has, or is too long".into(), EXPECTED));
    }
    if place.starts_with('/') {
        return (place.len() == 1).then(|| ("is a directory of everything".into(), EXPECTED));
    }
    let Some((scheme, rest)) = place.split_once("://") else {
        let scp = place.contains('@') && place.contains(':') && !place.contains("::");
        let help = if scp { "written `ssh://USER@HOST/PATH`, it says the same" } else { EXPECTED };
        return Some(("is neither an address nor an absolute path".into(), help));
    };
    if scheme == "file" {
        let path = rest.strip_prefix('/').is_some_and(|path| !path.is_empty());
        return (!path).then(|| ("does not name an absolute path".into(), EXPECTED));
    }
    if !matches!(scheme, "https" | "ssh") {
        return Some((format!("is asked by `{scheme}`, which promo does not do"), EXPECTED));
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let word = |text: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        text.bytes().all(inner) && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
    };
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    if scheme == "https" && user.is_some() {
        return Some(("has somebody's name or password in it".into(), EXPECTED));
    }
    if !user.is_none_or(word) || !word(name) || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Some(("does not name a host as addresses do".into(), EXPECTED));
    }
    path.trim_matches('/').is_empty().then(|| ("does not name a repository on its host".into(), EXPECTED))
}

/// What is wrong with the name of a ref, in words: git's own rules (`git check-ref-format`), with one `*` that stands for anything.
pub(super) fn wrong_ref(name: &str) -> Option<(&'static str, &'static str)> {
    let below = ["refs/heads/", "refs/tags/"].into_iter().find_map(|kind| name.strip_prefix(kind));
    let Some(rest) = below.filter(|rest| !rest.is_empty()) else {
        return Some((
            "is neither a branch nor a tag",
            "written in full: `refs/heads/main`, `refs/tags/v*`; what pull requests bring is nobody's to release",
        ));
    };
    const EXPECTED: &str = "a ref as git names it, with at most one `*` for anything: `refs/heads/release/*`";
    let stray = |byte: u8| !byte.is_ascii_graphic() && byte < 0x80 || b"~^:?[\\".contains(&byte);
    let part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    let broken = name.len() > LONGEST
        || name.bytes().any(stray)
        || name.chars().any(char::is_control)
        || rest.starts_with('-')
        || rest.split('/').any(part)
        || name.contains("..")
        || name.contains("@{")
        || name.ends_with('.');
    match name.matches('*').count() {
        _ if broken => Some(("is no name of a ref", EXPECTED)),
        0 | 1 => None,
        _ => Some(("has more than one `*`", EXPECTED)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_an_address_or_an_absolute_path_and_nothing_that_git_could_run() {
        for good in [
            "https://git.example/acme/shop",
            "https://git.example:8443/acme/shop.git",
            "ssh://git@git.example/acme/shop.git",
            "ssh://git.example:22/~me/shop",
            "file:///srv/git/shop.git",
            "/srv/git/shop.git",
        ] {
            assert_eq!(wrong_place(good), None, "{good}");
        }
        for bad in [
            "",
            "/",
            "shop",
            "./shop",
            "--upload-pack=touch /tmp/x",
            "-u",
            "ext::sh -c touch% /tmp/x",
            "ext::sh",
            "fd::17",
            "git@git.example:acme/shop.git",
            "http://git.example/acme/shop",
            "git://git.example/acme/shop",
            "HTTPS://git.example/acme/shop",
            "https://me:secret@git.example/acme/shop",
            "https://me@git.example/acme/shop",
            "https://git.example",
            "https://git.example/",
            "https:///acme/shop",
            "ssh://-oProxyCommand=x/acme",
            "ssh://-u@git.example/acme",
            "ssh://git@-oProxyCommand=x/acme",
            "ssh://me:secret@git.example/acme",
            "ssh://git.example:port/acme",
            "file://srv/git",
            "file:///",
            "https://git.example/acme shop",
            "https://git.example/acme\nshop",
            "https://git.example/acme?ref=x",
            "https://git.example/acme#main",
            "/srv/\u{202e}git",
        ] {
            assert!(wrong_place(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_ref_is_a_branch_or_a_tag_by_its_whole_name() {
        for good in ["refs/heads/main", "refs/tags/v*", "refs/heads/release/*", "refs/heads/*", "refs/heads/ünïcode"]
        {
            assert_eq!(wrong_ref(good), None, "{good}");
        }
        for bad in [
            "",
            "main",
            "HEAD",
            "refs/heads/",
            "refs/*",
            "refs/pull/*/head",
            "refs/remotes/origin/main",
            "--upload-pack=x",
            "refs/heads/--upload-pack",
            "+refs/heads/main",
            "^refs/heads/main",
            "refs/heads/main:refs/heads/other",
            "refs/heads/a..b",
            "refs/heads/a b",
            "refs/heads/a\nb",
            "refs/heads/.a",
            "refs/heads/a.lock",
            "refs/heads/a/",
            "refs/heads//a",
            "refs/heads/a.",
            "refs/heads/a@{1}",
            "refs/heads/a?",
            "refs/heads/[ab]",
            "refs/heads/*/*",
            "refs/heads/a\\b",
        ] {
            assert!(wrong_ref(bad).is_some(), "{bad:?}");
        }
    }
}
