//! `helm upgrade` as promo calls it: to see what it would make, and to have it made. What must not live here: what is looked at
//! before and after it.

use promo_sdk::{Context, ErrorKind, Inputs, Output, ProviderError};
use serde_json::Value;

use super::Helm;
use super::chart::Chart;
use super::release;
use super::render::{Job, Rendered};
use super::settings::Settings;
use super::tool::{self, Given, Tool};
use crate::kubernetes::cluster::Place;
use crate::kubernetes::settings::Settings as ClusterSettings;

/// How much longer than its own timeout helm may take before it is ended.
const LONGER: std::time::Duration = std::time::Duration::from_secs(60);

/// Words of helm that say that the server could not be asked, or not to the end.
const AWAY: [&str; 13] = [
    "connection refused",
    "connection reset",
    "connection timed out",
    "broken pipe",
    "no route to host",
    "no such host",
    "i/o timeout",
    "unexpected EOF",
    // After the address that was asked.
    "\": EOF",
    "TLS handshake timeout",
    "http2: ",
    "the server is currently unable to handle the request",
    "Client.Timeout exceeded",
];

/// Everything that helm is given, for one place.
pub(super) struct Call<'a> {
    cx: &'a Context,
    settings: &'a Settings,
    tool: Tool,
    given: Given,
    cluster: Vec<String>,
}

impl<'a> Call<'a> {
    pub(super) async fn new(
        helm: &Helm,
        cx: &'a Context,
        inputs: &Inputs,
        settings: &'a Settings,
        place: &Place,
        rendered: &Rendered,
    ) -> Result<Self, ProviderError> {
        let tool = helm.tools.find(cx).await?;
        let chart = Chart::of(cx, &helm.oci, inputs, settings).await?;
        let mut given = Job::new(cx, inputs, settings, &chart)?.give()?;
        given.masks = std::mem::take(&mut given.masks).but_shown(rendered.all());
        let clusters = ClusterSettings::of_user(cx)?;
        let cluster = clusters.named(inputs.target.0.get("cluster").map(String::as_str).unwrap_or_default())?;
        let cluster = tool::cluster(&cluster.kubeconfig, &cluster.context, &place.namespace);
        Ok(Self { cx, settings, tool, given, cluster })
    }

    /// Lets helm make the next revision, with these further options.
    pub(super) async fn upgrade(&self, also: Vec<String>) -> Result<Output, ProviderError> {
        let mut words = ["upgrade", "--install", "--reset-values", "--skip-crds"].map(String::from).to_vec();
        words.extend(self.cluster.iter().cloned());
        words.extend(self.given.values());
        words.push(format!("--timeout={}s", self.settings.timeout.as_secs()));
        words.push(format!("--history-max={}", self.settings.history));
        words.extend(also);
        if self.tool.major >= 4 {
            // What the plan did not show as somebody's by hand is nobody else's: it was tried, and refused otherwise.
            words.extend(["--server-side=true", "--force-conflicts"].map(String::from));
        }
        words.extend([self.settings.name.clone(), self.given.chart.display().to_string()]);
        self.tool.run(self.cx, self.given.directory.path(), words, self.settings.timeout + LONGER).await
    }

    /// Refuses a chart of which helm would make something else here than was rendered for the plan: it asks the cluster, and nobody
    /// has judged the answer. Changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming the first object that differs; what helm says otherwise.
    pub(super) async fn compare(&self, rendered: &Rendered) -> Result<(), ProviderError> {
        let output = self.upgrade(["--dry-run=server", "--output=json"].map(String::from).to_vec()).await?;
        if output.code != Some(0) {
            return Err(ProviderError {
                message: format!("helm: {}", self.given.masks.of_rendering(&output)),
                ..self.failed(&output)
            });
        }
        let invalid = |message: String| ProviderError::new(ErrorKind::Invalid, message);
        let release: Value = serde_json::from_slice(&output.stdout)
            .map_err(|_| invalid("helm says in no JSON what it would make of the chart in the cluster".into()))?;
        let of = "what helm renders in the cluster";
        match rendered.unlike(&release::objects(of, &release)?, &release::hooks(of, &release)?) {
            None => Ok(()),
            Some(id) => Err(invalid(format!(
                "{id} is rendered otherwise in the cluster than for the plan: a template asks the cluster (`lookup`, or `Capabilities` for what \
                 its API offers), and nobody could judge the answer; give the chart the value instead"
            ))),
        }
    }

    /// What helm failed with.
    pub(super) fn failed(&self, output: &Output) -> ProviderError {
        let raw = String::from_utf8_lossy(&output.stderr);
        let raw = raw.find("Error:").map_or(&*raw, |at| &raw[at..]);
        let kind = match raw {
            raw if AWAY.iter().any(|word| raw.contains(word)) => ErrorKind::Transient,
            raw if raw.contains("is forbidden") && !raw.contains("exceeded quota") => ErrorKind::Denied,
            _ => ErrorKind::Failed,
        };
        ProviderError::new(kind, format!("helm: {}", self.given.masks.of_cluster(output)))
    }
}
