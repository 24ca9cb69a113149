//! What a server asks for when it answers 401. What lives here: reading `WWW-Authenticate` (RFC 9110, 11.6.1; RFC 6750,
//! 3). What must not: what is done about it.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// More challenges than any server has reason to send.
const MOST: usize = 16;

/// One challenge: a scheme and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::oci) struct Challenge {
    /// Lower case: `basic`, `bearer`.
    pub(in crate::oci) scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The value of a parameter; the first one where a name stands twice.
    pub(in crate::oci) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All parameters, in order.
    #[cfg(any(test, fuzzing))]
    pub(in crate::oci) fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// All challenges of an answer, in order; what cannot be read ends the value it stands in.
pub(in crate::oci) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(parse).take(MOST).collect()
}

/// Reads one header value. A comma separates parameters as well as challenges: a token that no `=` follows starts the
/// next challenge.
fn parse(text: &str) -> Vec<Challenge> {
    let mut out: Vec<Challenge> = Vec::new();
    let mut rest = skip(text);
    while !rest.is_empty() && out.len() <= MOST {
        let (token, after) = token(rest);
        if token.is_empty() {
            break;
        }
        let following = after.trim_start();
        match following.strip_prefix('=') {
            // `token68` credentials end in `=` too; no scheme that we know uses them in a challenge.
            Some(value) => {
                let Some((value, after)) = parameter(value.trim_start()) else { break };
                let Some(challenge) = out.last_mut() else { break };
                challenge.parameters.push((token.to_ascii_lowercase(), value));
                rest = skip(after);
            }
            None => {
                out.push(Challenge { scheme: token.to_ascii_lowercase(), parameters: Vec::new() });
                rest = skip(following);
            }
        }
    }
    out
}

fn skip(text: &str) -> &str {
    text.trim_start_matches([',', ' ', '\t'])
}

/// RFC 9110, 5.6.2.
fn token(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))).unwrap_or(text.len());
    text.split_at(end)
}

/// A token or a quoted string (RFC 9110, 5.6.4) and what follows it.
fn parameter(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return Some((text[..end].into(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Vec<(String, Vec<(String, String)>)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        challenges(&headers).into_iter().map(|c| (c.scheme, c.parameters)).collect()
    }

    fn one(scheme: &str, parameters: &[(&str, &str)]) -> (String, Vec<(String, String)>) {
        (scheme.into(), parameters.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect())
    }

    #[test]
    fn the_forms_that_registries_send_are_read() {
        let bearer =
            r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#;
        let parameters = [
            ("realm", "https://auth.example/token"),
            ("service", "registry.example"),
            ("scope", "repository:a/b:pull,push"),
        ];
        assert_eq!(read(&[bearer]), [one("bearer", &parameters)]);
        assert_eq!(read(&["bAsIc Realm = \"x\""]), [one("basic", &[("realm", "x")])]);
        assert_eq!(read(&["Basic"]), [one("basic", &[])]);
        assert_eq!(read(&["Bearer realm=https://a.example/t, service=s"])[0].1.len(), 2);
    }

    #[test]
    fn several_challenges_stand_in_one_header_or_in_several() {
        let want = [
            one("negotiate", &[]),
            one("bearer", &[("realm", "a"), ("service", "b")]),
            one("basic", &[("realm", "c")]),
        ];
        assert_eq!(read(&[r#"Negotiate, Bearer realm="a", service="b", Basic realm="c""#]), want);
        assert_eq!(read(&["Negotiate", r#"Bearer realm="a",service="b""#, r#"Basic realm="c""#]), want);
    }

    #[test]
    fn quotes_hide_commas_and_escapes_are_undone() {
        let got = read(&[r#"Bearer realm="a, Basic realm=\"b\"",x=y"#]);
        assert_eq!(got, [one("bearer", &[("realm", r#"a, Basic realm="b""#), ("x", "y")])]);
    }

    #[test]
    fn what_cannot_be_read_ends_the_value_and_nothing_panics() {
        assert_eq!(read(&[r#"Bearer realm="a", service="open"#]), [one("bearer", &[("realm", "a")])]);
        assert_eq!(read(&["=x", "", ",,,", "\"quoted\"", "{}"]), []);
        assert_eq!(read(&["realm=\"x\""]), [], "a parameter of no challenge");
        for broken in ["Bearer realm=\"\\", "Bearer =", "Bearer a=b=c", "Bearer ,=,", "B\u{7f}"] {
            let mut headers = HeaderMap::new();
            if let Ok(value) = broken.parse() {
                headers.append(WWW_AUTHENTICATE, value);
            }
            let _ = challenges(&headers);
        }
        let many = "a ".repeat(1000);
        assert_eq!(read(&[&many]).len(), MOST);
    }
}
