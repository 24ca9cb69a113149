//! The stream of events: one JSON object a line, into the file of `--events` and, with `--format json`, to standard output.
//! The one place that numbers and times them. What must not live here: what happened, which the engine says.

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use promo_engine::clock::SystemClock;
use promo_sdk::Clock as _;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::CliError;
use crate::save::Kind;
use crate::ui::{Lost, lose};

/// Version of the stream.
const FORMAT: u32 = 1;

/// The first event.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Hello {
    /// What the stream is: `promo.events`.
    kind: &'static str,
    /// Its format.
    format: u32,
    /// Version of promo.
    tool: &'static str,
}

/// The last event.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Summary {
    /// The code of the process.
    exit: u8,
    /// The runs that events belonged to.
    runs: Vec<Value>,
    /// How long it took, since `hello`.
    milliseconds: u64,
}

/// A stream in a file: nobody keeps it but for its readers, and the next one takes its place.
const STREAM: Kind = Kind { what: "a stream of events", bytes: 4096, is: begins_with_hello };

fn begins_with_hello(bytes: &[u8]) -> bool {
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let hello = serde_json::from_slice::<Value>(first).unwrap_or_default();
    hello["event"] == "hello" && hello["kind"] == "promo.events"
}

/// A stream that was opened.
#[derive(Debug)]
pub(crate) struct Events(Mutex<State>);

#[derive(Debug)]
struct State {
    file: Option<File>,
    /// Whether events go to standard output too.
    streams: bool,
    /// Whether something went there: a verb that is refused before it begins answers with one document instead.
    begun: bool,
    sequence: u64,
    started: jiff::Timestamp,
    runs: Vec<Value>,
    lost: Lost,
}

impl Events {
    /// Opens the stream; a file begins with `hello` at once.
    pub(crate) fn open(file: Option<&Path>, streams: bool, lost: Lost) -> Result<Self, CliError> {
        let create = |path: &Path| {
            STREAM.may_be_at(path)?;
            File::create(path).map_err(|error| CliError::file("written", path, &error))
        };
        let file = file.map(create).transpose()?;
        let mut state =
            State { file, streams, begun: false, sequence: 0, started: SystemClock.now(), runs: Vec::new(), lost };
        if state.file.is_some() {
            let hello = state.hello();
            state.file(&hello);
        }
        Ok(Self(Mutex::new(state)))
    }

    /// Whether standard output has begun to be a stream.
    pub(crate) fn begun(&self) -> bool {
        self.lock().begun
    }

    /// Something that happened: an object with its name under `event`, or a view, which is given one. Standard output gets
    /// it where it is a stream and `anyway`, or has begun to be one.
    pub(crate) fn say(&self, name: Option<&str>, body: &impl Serialize, anyway: bool) {
        self.lock().write(event(name, body), anyway);
    }

    /// The last event: how the process ends.
    pub(crate) fn end(&self, exit: u8) {
        let mut state = self.lock();
        let took = SystemClock.now().duration_since(state.started).as_millis();
        let milliseconds = u64::try_from(took).unwrap_or_default();
        let summary = Summary { exit, runs: state.runs.clone(), milliseconds };
        state.write(event(Some("summary"), &summary), false);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn hello(&self) -> Map<String, Value> {
        let hello = Hello { kind: "promo.events", format: FORMAT, tool: promo_engine::TOOL };
        let mut hello = event(Some("hello"), &hello);
        hello.insert("sequence".to_owned(), 0.into());
        hello.insert("time".to_owned(), self.started.to_string().into());
        hello
    }

    /// Numbers it, and writes it wherever it belongs.
    fn write(&mut self, mut event: Map<String, Value>, anyway: bool) {
        self.sequence += 1;
        event.insert("sequence".to_owned(), self.sequence.into());
        event.insert("time".to_owned(), SystemClock.now().to_string().into());
        match event.get("run") {
            Some(run) if !self.runs.contains(run) => self.runs.push(run.clone()),
            Some(_) => {}
            None => {
                if let Some(run) = self.runs.last() {
                    event.insert("run".to_owned(), run.clone());
                }
            }
        }
        self.file(&event);
        if self.streams && (anyway || self.begun) {
            if !self.begun {
                self.begun = true;
                lose(&self.lost, line(&mut anstream::stdout().lock(), &self.hello()));
            }
            lose(&self.lost, line(&mut anstream::stdout().lock(), &event));
        }
    }

    /// Into the file. Events are talk, and the ledger is the evidence: a full disk stops nothing that is under way.
    fn file(&mut self, event: &Map<String, Value>) {
        if let Some(file) = &mut self.file {
            let _full = line(file, event);
        }
    }
}

/// The fields of an event: an object, which has its name already or gets this one.
fn event(name: Option<&str>, body: &impl Serialize) -> Map<String, Value> {
    let mut event = match serde_json::to_value(body) {
        Ok(Value::Object(event)) => event,
        other => unreachable!("invariant: events serialize to objects, and this to {other:?}"),
    };
    if let Some(name) = name {
        event.insert("event".to_owned(), name.into());
    }
    event
}

/// One event.
fn line(out: &mut impl std::io::Write, event: &Map<String, Value>) -> std::io::Result<()> {
    let mut text = serde_json::to_string(event).expect("invariant: events serialize");
    text.push('\n');
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}
