//! Through which proxy a server is reached: that of its kubeconfig, else that of the environment, as kubectl has it. What must not live
//! here: speaking to one.

use std::net::IpAddr;

use promo_sdk::Secrets;
use secrecy::ExposeSecret as _;

/// The proxy of a server; none where it is reached directly.
///
/// # Errors
/// For what is no address of a proxy that promo speaks to, in words that hold no password of one.
pub(super) fn of(
    secrets: &dyn Secrets,
    own: Option<String>,
    (host, port): (&str, u16),
) -> Result<Option<String>, String> {
    let variable = |names: [&str; 2]| {
        let mut found = names.into_iter().filter_map(|name| secrets.variable(name));
        found.find_map(|value| Some(value.expose_secret().to_owned()).filter(|value| !value.is_empty()))
    };
    let own = own.filter(|own| !own.is_empty());
    let (proxy, from) = match own {
        Some(own) => (own, "`proxy-url`"),
        None => match variable(["HTTPS_PROXY", "https_proxy"]) {
            Some(proxy) if !direct((host, port), &variable(["NO_PROXY", "no_proxy"]).unwrap_or_default()) => {
                (proxy, "HTTPS_PROXY")
            }
            _ => return Ok(None),
        },
    };
    // A name without a scheme is one of plain HTTP, as everywhere.
    let proxy = if proxy.contains("://") { proxy } else { format!("http://{proxy}") };
    match proxy.split_once("://") {
        Some(("http" | "https", _)) => Ok(Some(proxy)),
        other => {
            let scheme = crate::escape::line(other.map_or("", |(scheme, _)| scheme));
            Err(format!("{from} is of the scheme `{scheme}`: promo speaks to proxies by `http` and `https`"))
        }
    }
}

/// Whether `NO_PROXY` has a server reached directly, by the rules of Go's `net/http`; this machine always is.
fn direct((host, port): (&str, u16), no_proxy: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    let port = port.to_string();
    no_proxy.split(',').map(|entry| entry.trim().to_ascii_lowercase()).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let (Some(address), Some((network, bits))) = (address, entry.split_once('/')) {
            return within(address, network, bits);
        }
        let plain = entry.trim_matches(['[', ']']);
        if plain.parse::<IpAddr>().is_ok() {
            return address == plain.parse().ok();
        }
        let name = match entry.rsplit_once(':') {
            Some((name, its_port)) if its_port == port => name,
            Some(_) => return false,
            None => &entry,
        };
        match name.strip_prefix("*.").or_else(|| name.strip_prefix('.')) {
            Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
            None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
        }
    })
}

fn within(address: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let number = |address: IpAddr| match address {
        IpAddr::V4(four) => (u128::from(four.to_bits()) << 96, 32),
        IpAddr::V6(six) => (six.to_bits(), 128),
    };
    let ((address, of), (network, size)) = (number(address), number(network));
    of == size && bits <= size && (bits == 0 || (address ^ network) >> (128 - bits) == 0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use secrecy::SecretString;

    use super::*;

    struct Variables(BTreeMap<&'static str, &'static str>);

    impl Secrets for Variables {
        fn get(&self, _name: &str) -> Option<SecretString> {
            None
        }

        fn variable(&self, name: &str) -> Option<SecretString> {
            self.0.get(name).map(|value| SecretString::from(*value))
        }
    }

    fn proxy(variables: &[(&'static str, &'static str)], own: Option<&str>) -> Result<Option<String>, String> {
        let variables = Variables(variables.iter().copied().collect());
        of(&variables, own.map(String::from), ("kube.example", 6443))
    }

    #[test]
    fn the_kubeconfig_s_own_proxy_goes_before_that_of_the_environment() {
        let set = [("HTTPS_PROXY", "http://proxy.example:3128")];
        assert_eq!(proxy(&[], None), Ok(None));
        assert_eq!(proxy(&set, None), Ok(Some("http://proxy.example:3128".into())));
        assert_eq!(proxy(&set, Some("https://own.example")), Ok(Some("https://own.example".into())));
        assert_eq!(proxy(&[("https_proxy", "proxy.example:3128")], None), Ok(Some("http://proxy.example:3128".into())));
        let error = proxy(&[("HTTPS_PROXY", "socks5://user:hunter2@proxy.example")], None).unwrap_err();
        assert!(error.contains("`socks5`") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn what_no_proxy_names_and_this_machine_is_reached_directly() {
        for (host, port, entries, is) in [
            ("127.0.0.1", 6443, "", true),
            ("[::1]", 6443, "", true),
            ("localhost", 6443, "", true),
            ("kube.example", 443, "", false),
            ("kube.example", 443, "other, kube.example", true),
            ("kube.example", 443, "example", true),
            ("kube.example", 443, ".example", true),
            ("kube.example", 443, "*.example", true),
            ("notkube.example", 443, "kube.example", false),
            ("kube.example", 6443, "kube.example:6443", true),
            ("kube.example", 6443, "kube.example:443", false),
            ("kube.example", 443, "*", true),
            ("10.1.2.3", 443, "10.0.0.0/8", true),
            ("11.1.2.3", 443, "10.0.0.0/8", false),
            ("10.1.2.3", 443, "10.1.2.3", true),
            ("[fd00::5]", 443, "fd00::/16", true),
            ("10.1.2.3", 443, "0.0.0.0/0", true),
            ("10.1.2.3", 443, "10.0.0.0/99", false),
        ] {
            assert_eq!(direct((host, port), entries), is, "{host}:{port} with {entries}");
        }
    }
}
