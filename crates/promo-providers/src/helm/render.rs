//! What a chart declares: rendered by helm itself, without a cluster, once for the same inputs. What must not live here: what a
//! cluster makes of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use promo_core::Digest;
use promo_sdk::{Context, ErrorKind, Inputs, ProviderError};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::chart::{self, Chart, Metadata};
use super::hooks;
use super::release::Release;
use super::settings::Settings;
use super::tool::{self, Given, Tool};
use crate::kubernetes::cluster::Place;
use crate::kubernetes::fingerprint;
use crate::kubernetes::images;
use crate::kubernetes::object::{self, DEFINITION, Id, Object};
use crate::kubernetes::projection;
use crate::masks::Masks;

/// Functions of templates that give something else each time, or may.
const CHANGING: [&str; 26] = [
    "randAlphaNum",
    "randAlpha",
    "randNumeric",
    "randAscii",
    "randBytes",
    "randInt",
    "uuidv4",
    "genCA",
    "genCAWithKey",
    "genSelfSignedCert",
    "genSelfSignedCertWithKey",
    "genSignedCert",
    "genSignedCertWithKey",
    "genPrivateKey",
    "shuffle",
    "bcrypt",
    "htpasswd",
    "encryptAES",
    "getHostByName",
    "now",
    "ago",
    "date",
    "htmlDate",
    "keys",
    "values",
    "unixEpoch",
];
/// What asks the cluster.
const ASKING: [&str; 2] = ["lookup", "Capabilities"];
/// What tells a template whether it is installed or upgraded.
const INSTALLED: [&str; 2] = ["IsInstall", "IsUpgrade"];

/// What a chart declares.
#[derive(Debug)]
pub(super) struct Rendered {
    /// The objects, in order.
    pub(super) objects: Vec<Object>,
    /// What `crds/` defines.
    pub(super) definitions: Vec<Object>,
    /// What is done before and after.
    pub(super) hooks: Vec<Object>,
    metadata: Metadata,
}

/// What the words may take that a process is given: Linux lets it have 2 MiB of them (<https://man7.org/linux/man-pages/man2/execve.2.html>).
const WORDS: usize = 1 << 20;

/// How helm is told that a server has an API.
fn offered(api: &str) -> String {
    format!("--api-versions={api}")
}

fn invalid(message: String) -> ProviderError {
    ProviderError::new(ErrorKind::Invalid, message)
}

impl Rendered {
    /// What a release has beside its objects, as objects of a kind of their own, so that it is a part of the state and is shown.
    pub(super) fn extras(&self, name: &str) -> Result<Vec<(Object, Value)>, ProviderError> {
        let Metadata { name: chart, version, app_version } = &self.metadata;
        extras(name, (chart, version, app_version.as_deref().unwrap_or_default()), &self.hooks, None)
    }

    /// Everything that it declares, hooks among it.
    pub(super) fn all(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter().chain(&self.hooks)
    }

    /// The images that it runs; `keys` are those under which custom resources name them, beside the usual ones.
    pub(super) fn images(&self, keys: &[String]) -> Vec<String> {
        images::of(self.all(), keys)
    }

    /// What `crds/` defines and is not there.
    pub(super) async fn undefined(&self, place: &Place) -> Result<Vec<&Object>, ProviderError> {
        let mut missing = Vec::new();
        for definition in &self.definitions {
            if place.live(&definition.id).await?.is_none() {
                missing.push(definition);
            }
        }
        Ok(missing)
    }

    /// The first object, or hook, that is otherwise, or not, among these; nothing where they are the same.
    pub(super) fn unlike(&self, objects: &[Object], hooks: &[Object]) -> Option<String> {
        let unlike_hook = || differs(self.hooks.iter(), hooks.iter()).map(|id| format!("{id} (hook)"));
        differs(self.objects.iter(), objects.iter()).or_else(unlike_hook)
    }

    /// Whether a revision declares the same.
    pub(super) fn is(&self, release: &Release) -> Result<bool, ProviderError> {
        Ok(self.unlike(&release.objects()?, &release.hooks()?).is_none())
    }
}

/// The same of a revision that is there.
pub(super) fn extras_of(name: &str, release: &Release) -> Result<Vec<(Object, Value)>, ProviderError> {
    let status = (release.status != "deployed").then_some(release.status.as_str());
    extras(name, release.chart(), &release.hooks()?, status)
}

fn extras(
    name: &str,
    (chart, version, app): (&str, &str, &str),
    hooks: &[Object],
    status: Option<&str>,
) -> Result<Vec<(Object, Value)>, ProviderError> {
    let mut own = json!({
        "apiVersion": "helm.sh/v1", "kind": "Release", "metadata": { "name": name },
        "chart": { "name": chart, "version": version, "appVersion": app },
    });
    if let Some(status) = status {
        own["status"] = status.into();
    }
    let mut seen: Vec<&Id> = Vec::new();
    let hooks = hooks::in_order(hooks).into_iter().map(|hook| {
        let mut id = hook.id.clone();
        let before = seen.iter().filter(|known| known.same(&hook.id)).count();
        seen.push(&hook.id);
        // A chart may have several of one name, for one time each.
        id.name = match before {
            0 => format!("{} (hook)", id.name),
            before => format!("{} (hook {})", id.name, before + 1),
        };
        Object { id, value: hook.value.clone() }
    });
    let release = Object::try_from(own).map_err(invalid)?;
    let hooks: Vec<Object> = hooks.collect();
    Ok(std::iter::once(release)
        .chain(hooks)
        .map(|object| (object.clone(), projection::object(&object.value, &object.value)))
        .collect())
}

/// What was rendered in this run, by everything that it was rendered from. It holds the secrets among the values, and is written
/// to no file.
#[derive(Debug, Default)]
pub(super) struct Renderings(Mutex<HashMap<Digest, Arc<OnceCell<Arc<Rendered>>>>>);

impl Renderings {
    /// What the chart declares with these values in this place.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a chart that does not render, renders otherwise each time, or leaves what a target is.
    pub(super) async fn get(
        &self,
        cx: &Context,
        tool: &Tool,
        place: &Place,
        job: &Job<'_>,
    ) -> Result<Arc<Rendered>, ProviderError> {
        let mut asked = vec![format!("--kube-version={}", place.version().await?)];
        let mut away: &[(String, String)] = &[];
        if job.says(&["Capabilities"]) {
            let apis = place.apis().await?;
            asked.extend(apis.known.iter().map(|api| offered(api)));
            away = &apis.away;
        }
        // What cannot tell where it is comes out the same anywhere.
        let namespace = if job.knows_namespace() { place.namespace.as_str() } else { "anywhere" };
        let key = job.key(namespace, &asked);
        let cell = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
        // Several environments with the same inputs wait for the one that came first.
        let rendered = cell.get_or_try_init(|| job.render(cx, tool, namespace, &asked, away)).await?;
        for object in rendered.all() {
            let own = object.value.pointer("/metadata/namespace").and_then(Value::as_str);
            if let Some(own) = own.filter(|own| *own != place.namespace) {
                let (id, target) = (&object.id, &place.namespace);
                return Err(invalid(format!("{id} is declared in namespace {own}: the target is {target}")));
            }
        }
        Ok(Arc::clone(rendered))
    }
}

/// What is rendered.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) chart: &'a Chart,
    pub(super) settings: &'a Settings,
    /// Values that stand in files, with the names of these, those that count most last.
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// What the settings themselves say, which counts most of all.
    pub(super) own: Value,
}

/// The files of values, those that count most last.
pub(super) fn values(
    cx: &Context,
    inputs: &Inputs,
    settings: &Settings,
) -> Result<Vec<(String, Vec<u8>)>, ProviderError> {
    let mut files = Vec::new();
    for pattern in &settings.values {
        let named = inputs.files.iter().filter(|(path, _)| promo_core::planner::matches(pattern, path));
        for (path, digest) in named {
            files.push((path.clone(), cx.blobs.get(digest)?));
        }
    }
    Ok(files)
}

/// The first of them that is no YAML, with where: helm names a file of its own, and its sentence is masked.
pub(super) fn malformed(files: &[(String, Vec<u8>)]) -> Option<ProviderError> {
    // What stands around a mistake may be a secret, and is not told. Of a key that stands twice helm takes one.
    let options = serde_saphyr::options! {
        with_snippet: false,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
    };
    files.iter().find_map(|(path, bytes)| {
        let wrong = |why: String| invalid(format!("{path}: {why}"));
        let Ok(text) = std::str::from_utf8(bytes) else { return Some(wrong("is no text in UTF-8".into())) };
        let read = serde_saphyr::from_str_with_options::<Value>(text, options.clone());
        read.err().map(|error| wrong(crate::escape::line(&error.to_string())))
    })
}

impl<'a> Job<'a> {
    pub(super) fn new(
        cx: &Context,
        inputs: &Inputs,
        settings: &'a Settings,
        chart: &'a Chart,
    ) -> Result<Self, ProviderError> {
        let files = values(cx, inputs, settings)?;
        Ok(Self { chart, settings, files, own: settings.own_values(&inputs.artifacts)? })
    }

    /// All renderings of a run are by one helm.
    fn key(&self, namespace: &str, asked: &[String]) -> Digest {
        let files: Vec<String> = self.files.iter().map(|(_, bytes)| Digest::of(bytes).to_string()).collect();
        let key = json!([self.chart.key.to_string(), self.settings.name, namespace, asked, files, self.own]);
        Digest::of(key.to_string().as_bytes())
    }

    /// Puts everything that helm is given into a private directory.
    pub(super) fn give(&self) -> Result<Given, ProviderError> {
        let failed = |error: std::io::Error| tool::put_failed(&error);
        let directory = tool::private()?;
        let chart = self.chart.put(directory.path()).map_err(failed)?;
        let own = self.own.to_string();
        let all = self.files.iter().map(|(_, bytes)| bytes.as_slice()).chain([own.as_bytes()]);
        let mut values = Vec::new();
        for (place, bytes) in all.enumerate() {
            let file = directory.path().join(format!("values-{place}.yaml"));
            std::fs::write(&file, bytes).map_err(failed)?;
            values.push(file);
        }
        // What the release brings is no secret, and tells what went wrong.
        let masks = Masks::of(self.files.iter().map(|(_, bytes)| bytes.as_slice()), &self.settings.set());
        Ok(Given { directory, chart, values, masks })
    }

    async fn render(
        &self,
        cx: &Context,
        tool: &Tool,
        namespace: &str,
        asked: &[String],
        away: &[(String, String)],
    ) -> Result<Arc<Rendered>, ProviderError> {
        if self.says(&["Revision"]) {
            return Err(invalid(
                "the chart reads the number of its revision (`.Release.Revision`), which is another one each time: what a plan shows \
                 could not be what is there afterwards"
                    .into(),
            ));
        }
        let given = self.give()?;
        let words = |also: &[String]| {
            let mut words = vec!["template".to_owned(), self.settings.name.clone(), given.chart.display().to_string()];
            words.extend([format!("--namespace={namespace}"), "--include-crds".to_owned()]);
            words.extend(given.values());
            words.extend(asked.iter().cloned());
            words.extend(also.iter().cloned());
            words
        };
        let once = async |also: &[String]| {
            let text = tool.offline(cx, &given, words(also)).await?;
            self.read(&text)
        };
        let rendered = once(&[]).await.map_err(|error| match error.kind {
            ErrorKind::Invalid => malformed(&self.files).unwrap_or(error),
            _ => error,
        })?;
        if self.changing()
            && let Some(id) = unlike(&rendered, &once(&[]).await?)
        {
            let message = format!(
                "{id} is rendered otherwise each time (of the functions of its templates, such as randAlphaNum, genCA or now, one gives \
                 something else): what a plan shows could not be what is there afterwards; give the chart the value, or name a Secret that is there"
            );
            return Err(invalid(message));
        }
        if self.says(&INSTALLED)
            && let Some(id) = unlike(&rendered, &once(&["--is-upgrade".to_owned()]).await?)
        {
            let message = format!(
                "{id} is rendered otherwise when the chart is installed and when it is upgraded: what is there would depend on what was there before"
            );
            return Err(invalid(message));
        }
        // What nobody can say is answered both ways: with no kind, and with every one for which the chart could ask.
        if !away.is_empty() {
            let transient = |what: &str| {
                let asked: Vec<String> = away.iter().map(|(version, why)| format!("{version}: {why}")).collect();
                let message = format!("asking the cluster what it offers in {}; {what}", asked.join("; in "));
                ProviderError::new(ErrorKind::Transient, message)
            };
            let Some(every) = self.every_kind(away) else {
                return Err(transient("whether the chart asks for that cannot be told"));
            };
            if let Some(id) = unlike(&rendered, &once(&every).await?) {
                return Err(transient(&format!("{id} of the chart is rendered otherwise by what that is")));
            }
        }
        Ok(Arc::new(rendered))
    }

    /// That these versions have every kind for which the chart could ask: each word of it, and of its values, that could be the name of
    /// one. Nothing where those are not known, or too many.
    fn every_kind(&self, away: &[(String, String)]) -> Option<Vec<String>> {
        let mut names = self.chart.names.clone()?;
        let own = self.own.to_string();
        for bytes in self.files.iter().map(|(_, bytes)| bytes.as_slice()).chain([own.as_bytes()]) {
            chart::names(&String::from_utf8_lossy(bytes), &mut names);
        }
        let mut every = Vec::with_capacity(away.len() * names.len());
        for (version, _) in away {
            every.extend(names.iter().map(|name| offered(&format!("{version}/{name}"))));
        }
        (every.iter().map(|word| word.len() + 1).sum::<usize>() < WORDS).then_some(every)
    }

    /// Whether a template can tell in which namespace it is; values can be templates as well.
    fn knows_namespace(&self) -> bool {
        let own = self.own.to_string();
        let template = |bytes: &[u8]| bytes.windows(2).any(|two| two == b"{{");
        self.chart.knows_namespace || template(own.as_bytes()) || self.files.iter().any(|(_, bytes)| template(bytes))
    }

    /// Whether a template calls what may give something else the next time.
    fn changing(&self) -> bool {
        self.says(&CHANGING)
    }

    /// Whether a template seems to ask the cluster for something.
    pub(super) fn asking(&self) -> bool {
        self.says(&ASKING)
    }

    /// Whether one of these words stands in a template; values can be templates as well.
    fn says(&self, words: &[&str]) -> bool {
        let own = self.own.to_string();
        let texts = self.files.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes)).chain([own.as_str().into()]);
        let said = |text: &str| text.contains("{{") && words.iter().any(|word| text.contains(word));
        self.chart.says(words) || texts.into_iter().any(|text| said(&text))
    }

    /// Takes apart what helm printed.
    fn read(&self, text: &str) -> Result<Rendered, ProviderError> {
        let (mut objects, mut definitions, mut hooks) = (Vec::new(), Vec::new(), Vec::new());
        let mut source = "";
        for document in documents(text) {
            // helm says it once for a file of `crds/` that has several.
            source = document.lines().find_map(|line| line.strip_prefix("# Source: ")).unwrap_or(source);
            for mut object in object::read(source, document)? {
                object::as_data(&object.id, &mut object.value);
                if object.id.kind.kind == "Namespace" {
                    return Err(invalid(format!("{}: namespaces are made by who owns the cluster", object.id)));
                }
                if object.id.kind.kind == DEFINITION && source.contains("/crds/") && !source.contains("/templates/") {
                    definitions.push(object);
                } else if object.value.pointer("/metadata/annotations/helm.sh~1hook").is_some() {
                    hooks.push(object);
                } else {
                    objects.push(object);
                }
            }
        }
        if objects.is_empty() {
            let why = "nothing would be deployed, and everything taken away";
            return Err(invalid(format!("the chart declares no object with these values: {why}")));
        }
        let objects = object::in_order(objects)?;
        let defined = |object: &&Object| objects.iter().any(|other| object::defines(other, &object.id));
        if let Some(object) = objects.iter().find(defined) {
            let message = format!(
                "{} is of a kind that a template of the same chart defines: helm needs the definition before, in the chart's `crds/`",
                object.id
            );
            return Err(invalid(message));
        }
        Ok(Rendered {
            objects,
            definitions: object::in_order(definitions)?,
            hooks,
            metadata: self.chart.metadata.clone(),
        })
    }
}

/// The documents of what helm prints.
fn documents(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n---").flat_map(|part| part.strip_prefix("---").or(Some(part)))
}

/// The first object that two renderings do not have alike.
fn unlike(one: &Rendered, other: &Rendered) -> Option<String> {
    let defined = || differs(one.definitions.iter(), other.definitions.iter());
    one.unlike(&other.objects, &other.hooks).or_else(defined)
}

/// What tells objects apart, and orders them: the namespace only where they name it.
type Key<'a> = (&'a str, &'a str, &'a str, &'a str);

fn key(object: &Object) -> Key<'_> {
    let namespace = object.value.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    (&object.id.kind.kind, &object.id.name, &object.id.kind.group, namespace)
}

/// The first object that two lists do not have alike, or not equally often.
fn differs<'a>(one: impl Iterator<Item = &'a Object>, other: impl Iterator<Item = &'a Object>) -> Option<String> {
    let (mut one, mut other) = (one.collect::<Vec<_>>(), other.collect::<Vec<_>>());
    // As a rule they are the same, in the same order.
    if one == other {
        return None;
    }
    for list in [&mut one, &mut other] {
        list.sort_by_cached_key(|object| (key(object), fingerprint::spelt(&object.value)));
    }
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    loop {
        match (one.next(), other.next()) {
            (None, None) => return None,
            (Some(a), Some(b)) if key(a) == key(b) && a.value == b.value => {}
            (Some(a), Some(b)) => return Some(if key(a) <= key(b) { a } else { b }.id.to_string()),
            (Some(only), None) | (None, Some(only)) => return Some(only.id.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(all: &[Value]) -> Vec<Object> {
        all.iter().map(|value| Object::try_from(value.clone()).unwrap()).collect()
    }

    fn one(api: &str, namespace: &str, data: &str) -> Value {
        json!({ "apiVersion": api, "kind": "Thing", "metadata": { "name": "a", "namespace": namespace }, "data": data })
    }

    #[test]
    fn two_objects_of_one_name_are_told_apart_by_group_and_namespace_and_by_how_many_there_are() {
        let both = objects(&[one("a.example/v1", "x", "1"), one("b.example/v1", "x", "2")]);
        let turned = objects(&[one("b.example/v1", "x", "2"), one("a.example/v1", "x", "1")]);
        assert_eq!(differs(both.iter(), turned.iter()), None);
        for other in [
            [one("a.example/v1", "x", "2"), one("b.example/v1", "x", "1")],
            [one("a.example/v1", "x", "1"), one("b.example/v1", "y", "2")],
            [one("b.example/v1", "x", "2"), one("b.example/v1", "x", "2")],
        ] {
            assert_eq!(differs(both.iter(), objects(&other).iter()).as_deref(), Some("Thing/a"), "{other:?}");
        }
        assert_eq!(differs(both.iter(), both[1..].iter()).as_deref(), Some("Thing/a"));
    }
}
