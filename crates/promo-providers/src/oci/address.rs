//! Addresses that a server names: redirects, upload locations, token servers (S13.5). What lives here: which of them may
//! be followed, and a resolver that leads to no private address. What must not: sending anything.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, LOCATION};
use url::{Host, Url};

use super::error::tame;

/// An address for a message: without query, which may hold a signature, and without a user.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    tame(url.as_str())
}

/// Whether two addresses are on the same server: scheme, host and port.
pub(super) fn same_place(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host() == b.host() && a.port_or_known_default() == b.port_or_known_default()
}

/// Whether `url` is on the allow list, as `host` or `host:port`.
pub(super) fn is_allowed(url: &Url, allowed: &BTreeSet<String>) -> bool {
    let name = url.host_str().unwrap_or_default();
    let with_port = format!("{name}:{}", url.port_or_known_default().unwrap_or_default());
    allowed.contains(name) || allowed.contains(&with_port)
}

/// The token server that the registry at `base` names: https, unless the registry itself is spoken to in plain http; and
/// no private address, unless it is the registry's own host or allowed.
pub(super) fn realm(base: &Url, text: &str, allowed: &BTreeSet<String>) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "the challenge names no address".to_string())?;
    // Another port of the registry's own host is where small set-ups keep their token server.
    let mut there = base.clone();
    if url.host() == base.host() {
        let _ = there.set_port(url.port());
    }
    check(&there, base, &url, allowed)?;
    Ok(url)
}

/// The `Location` of an answer to a request for `current`, resolved and checked; else what stands there instead, and why it
/// is not gone to.
pub(super) fn location(
    base: &Url,
    current: &Url,
    headers: &HeaderMap,
    allowed: &BTreeSet<String>,
) -> Result<Url, (String, &'static str)> {
    let text = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if text.is_empty() {
        return Err(("nothing".into(), "the answer has no `Location`"));
    }
    let url = current.join(text).map_err(|_| (tame(text), "not an address"))?;
    check(base, current, &url, allowed).map_err(|problem| (shown(&url), problem))?;
    Ok(url)
}

/// Whether a server at `base` may send us from `current` to `url` (S13.5). Only literal addresses and local names are
/// looked at; a name that resolves to a private address is refused by [`Guard`] when it is resolved.
pub(super) fn check(base: &Url, current: &Url, url: &Url, allowed: &BTreeSet<String>) -> Result<(), &'static str> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err("neither http nor https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it carries a user or a password");
    }
    if current.scheme() == "https" && url.scheme() != "https" {
        return Err("it leads from https to http");
    }
    let place = |u: &Url| (u.host_str().map(str::to_ascii_lowercase), u.port_or_known_default());
    if place(url) == place(base) {
        return Ok(());
    }
    if base.scheme() == "https" && url.scheme() != "https" {
        return Err("another host, and not https");
    }
    let name = url.host_str().unwrap_or_default();
    let with_port = format!("{name}:{}", url.port_or_known_default().unwrap_or_default());
    if allowed.contains(name) || allowed.contains(&with_port) {
        return Ok(());
    }
    match url.host() {
        None => Err("no host"),
        Some(host) if is_private(&host) => Err("another host, and a private or local address"),
        Some(_) => Ok(()),
    }
}

fn is_private(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost") || name.ends_with(".local")
        }
        Host::Ipv4(ip) => is_private_v4(*ip),
        Host::Ipv6(ip) => is_private_v6(*ip),
    }
}

/// Special-purpose addresses that are not somebody else's public server (IANA IPv4 registry, RFC 6890).
fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && b & 0xfe == 18)
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    // Addresses that only wrap an IPv4 one: mapped, NAT64, 6to4.
    let wrapped = match s {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some((s[6], s[7])),
        [0x2002, a, b, ..] => Some((a, b)),
        _ => None,
    };
    if let Some((high, low)) = wrapped {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        return is_private_v4(Ipv4Addr::new(a, b, c, d));
    }
    ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || s[0] & 0xfe00 == 0xfc00 || s[0] & 0xffc0 == 0xfe80
}

fn is_private_ip(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_private_v4(ip),
        IpAddr::V6(ip) => is_private_v6(ip),
    }
}

/// Resolves names to public addresses only. What it answers is what is connected to, so a name that says something else
/// the second time gains nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guard;

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let all: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> = all.into_iter().filter(|a| !is_private_ip(a.ip())).collect();
            if public.is_empty() {
                return Err(format!("{} leads to a private address only", tame(name.as_str())).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(base: &str, target: &str) -> Result<(), &'static str> {
        let base = Url::parse(base).unwrap();
        check(&base, &base, &base.join(target).unwrap(), &BTreeSet::from(["10.9.9.9:9000".to_string()]))
    }

    #[test]
    fn s13_5_no_server_sends_us_to_a_private_address_that_is_not_itself() {
        for (base, target) in [
            ("https://r.example/v2/", "/v2/other"),
            ("https://r.example/v2/", "https://cdn.example/blob?sig=1"),
            ("https://10.0.0.1:5000/v2/", "https://10.0.0.1:5000/x"),
            ("http://127.0.0.1:5000/v2/", "/x"),
            ("http://127.0.0.1:5000/v2/", "http://cdn.example/x"),
            ("http://127.0.0.1:5000/v2/", "https://10.9.9.9:9000/x"),
        ] {
            assert_eq!(at(base, target), Ok(()), "{base} -> {target}");
        }
        for target in [
            "http://r.example/x",
            "http://cdn.example/x",
            "ftp://cdn.example/x",
            "file:///etc/passwd",
            "https://user@cdn.example/x",
            "https://127.0.0.1/x",
            "https://localhost/x",
            "https://LOCALHOST./x",
            "https://a.localhost/x",
            "https://printer.local/x",
            "https://10.1.2.3/x",
            "https://172.16.0.1/x",
            "https://192.168.1.1/x",
            "https://169.254.169.254/latest/meta-data",
            "https://100.64.0.1/x",
            "https://0.0.0.0/x",
            "https://0x7f.1/x",
            "https://2130706433/x",
            "https://[::1]/x",
            "https://[::]/x",
            "https://[fd00::1]/x",
            "https://[fe80::1]/x",
            "https://[::ffff:10.0.0.1]/x",
            "https://[64:ff9b::a00:1]/x",
        ] {
            assert!(at("https://r.example/v2/", target).is_err(), "{target}");
        }
        assert!(at("http://127.0.0.1:5000/v2/", "http://127.0.0.1:22/x").is_err(), "another port is another server");
    }

    #[test]
    fn s13_5_a_token_server_is_public_and_encrypted_or_on_the_registry_s_own_host() {
        let allowed = BTreeSet::from(["10.9.9.9:9000".to_string()]);
        let ask = |base: &str, text: &str| realm(&Url::parse(base).unwrap(), text, &allowed).is_ok();
        for (base, text) in [
            ("https://r.example/v2/", "https://auth.example/token?x=1"),
            ("https://r.example/v2/", "https://r.example:8443/token"),
            ("https://10.0.0.1:5000/v2/", "https://10.0.0.1:5001/token"),
            ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/token"),
            ("https://r.example/v2/", "https://10.9.9.9:9000/token"),
        ] {
            assert!(ask(base, text), "{base} -> {text}");
        }
        for text in [
            "",
            "token",
            "/token",
            "http://auth.example/token",
            "http://r.example/token",
            "https://127.0.0.1/token",
            "https://169.254.169.254/token",
            "https://10.9.9.9/token",
            "https://user:password@auth.example/token",
            "ftp://auth.example/token",
        ] {
            assert!(!ask("https://r.example/v2/", text), "{text}");
        }
        assert!(!ask("http://127.0.0.1:5000/v2/", "http://10.0.0.1/token"));
    }

    #[tokio::test]
    async fn s13_5_a_name_that_leads_to_a_private_address_is_not_followed() {
        let name: Name = "localhost".parse().unwrap();
        let Err(error) = Guard.resolve(name).await else { panic!("localhost is private") };
        assert!(error.to_string().contains("private"), "{error}");
    }
}
