//! What the tests of verbs run in: the binary, a copy of the example with a history, servers, and runs that are under way.
//! What must not live here: what must be true.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::ledger::{Event, Record};
use promo_ledger::tree::{Frontier, leaf_hash};
use promo_ledger::{SqliteStore, Store as _};
use serde_json::Value;
use tempfile::TempDir;

use crate::{outcomes, schemas};

/// A command line of `promo` in a directory, without anything of this machine's environment that could change the outcome.
#[expect(clippy::disallowed_methods, reason = "the binary under test is run from outside, as a user runs it")]
pub(crate) fn command(directory: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_promo"));
    command.args(words).current_dir(directory).env_clear().stdin(Stdio::null());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", directory.join("nobody's-home"));
    command.env("PROMO_POLICY", "policy.toml").env("PROMO_ACTOR", "dana");
    command.env("PROMO_ACTOR_KIND", "human");
    command
}

/// Runs it to its end, as [`outcomes`] judges.
pub(crate) fn end(mut command: Command, words: &[&str]) -> Output {
    let output = command.output().expect("the binary runs");
    outcomes::judge(words, &output);
    published(words, &output);
    output
}

/// JSON is as the published schemas say, whatever was asked.
fn published(words: &[&str], output: &Output) {
    let json = words.windows(2).any(|pair| pair == ["--format", "json"]);
    if !json || outcomes::verb(words).is_some_and(|verb| verb == "schema") {
        return;
    }
    let all = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    all.map_while(Result::ok).for_each(|value| schemas::check_answer(&words.join(" "), &value));
}

/// Runs `promo` in a directory.
pub(crate) fn promo(directory: &Path, words: &[&str]) -> Output {
    end(command(directory, words), words)
}

/// Runs `promo` to its end, and hands over each line of standard error as it comes. Gives all of them.
pub(crate) fn watch(directory: &Path, words: &[&str], mut line: impl FnMut(&str)) -> String {
    let mut child = command(directory, words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<String> = lines.inspect(|text| line(text)).collect();
    child.wait().unwrap();
    said.join("\n")
}

pub(crate) fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (text(&output.stdout), text(&output.stderr))
}

/// What a verb says as text.
pub(crate) fn said(world: &World, words: &[&str]) -> String {
    let (out, err) = texts(&promo(&world.at, words));
    out + &err
}

/// The row of an environment in `promo status`.
pub(crate) fn row(world: &World, environment: &str) -> Value {
    let status = world.run(0, &["status"]);
    let rows = status["environments"].as_array().unwrap();
    rows.iter().find(|row| row["environment"] == environment).unwrap().clone()
}

/// The next command, without the flags of this call.
pub(crate) fn next(value: &Value) -> String {
    value["next"].as_str().unwrap().replace(" --policy policy.toml", "")
}

/// What the quickstart leaves behind, made once.
fn example() -> &'static Path {
    static EXAMPLE: OnceLock<TempDir> = OnceLock::new();
    let made = EXAMPLE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let output = promo(directory.path(), &["quickstart", "example"]);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(0), "quickstart\n{out}\n{err}");
        directory
    });
    made.path()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, target) = entry.map(|e| (e.path(), to.join(e.file_name()))).unwrap();
        let kind = std::fs::symlink_metadata(&entry).unwrap().file_type();
        if kind.is_dir() {
            copy(&entry, &target);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&entry).unwrap(), &target).unwrap();
        } else {
            std::fs::copy(&entry, &target).unwrap();
        }
    }
}

/// A copy of the example.
pub(crate) struct World {
    _keep: TempDir,
    pub(crate) at: PathBuf,
}

impl World {
    pub(crate) fn new() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let at = keep.path().join("example");
        copy(&example().join("example"), &at);
        Self { _keep: keep, at }
    }

    /// A directory with nothing in it.
    pub(crate) fn empty() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let at = keep.path().to_path_buf();
        Self { _keep: keep, at }
    }

    /// Runs a verb that ends with a code. Returns the answer as JSON where it is one document, and of several the error.
    pub(crate) fn run(&self, expected: i32, words: &[&str]) -> Value {
        let json: Vec<&str> = words.iter().copied().chain(["--format", "json"]).collect();
        let output = promo(&self.at, &json);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(expected), "promo {}\n{out}\n{err}", words.join(" "));
        let mut all: Vec<Value> =
            serde_json::Deserializer::from_str(&out).into_iter().collect::<Result<_, _>>().unwrap_or_default();
        if all.len() != 1 {
            all.retain(|value| value["kind"] == "promo.error");
        }
        all.pop().unwrap_or(Value::Null)
    }

    /// As [`World::run`], and it is an error with this code, as text and as JSON.
    pub(crate) fn refuses(&self, expected: i32, code: &str, words: &[&str]) -> Value {
        let output = promo(&self.at, words);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(expected), "promo {}\n{out}\n{err}", words.join(" "));
        assert!(err.contains(&format!("error[{code}]")), "promo {}: {err}", words.join(" "));
        let value = self.run(expected, words);
        assert_eq!(value["code"], code);
        value
    }

    /// Where there is no `ssh-keygen`, what has to be signed with it is not: nothing is refused, and nothing recorded.
    pub(crate) fn cannot_sign(&self, words: &[&str]) {
        let words = [words, &["--key", "keys/riley", "--format", "json"]].concat();
        let mut command = command(&self.at, &words);
        command.env("PATH", &self.at);
        let output = end(command, &words);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(1), "promo {}\n{out}\n{err}", words.join(" "));
        let error: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&error["code"], next(&error).as_str()), (&"signing-failed".into(), "promo doctor"), "{error}");
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        std::fs::write(self.at.join(path), text).unwrap();
    }

    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.at.join(path)).unwrap();
        assert!(text.contains(from), "{path} contains {from}: {text}");
        self.write(path, &text.replace(from, to));
    }

    /// A release that needs so many workers, taken as far as staging.
    pub(crate) fn release(&self, alias: &str, workers: u32) {
        self.write("config/common.env", &format!("NEEDS_WORKERS={workers}\n# {alias}\n"));
        self.run(0, &["release", "add", "shop=1.0.0", "--alias", alias]);
        self.run(0, &["advance"]);
    }

    pub(crate) fn plan(&self, file: &str) {
        self.run(0, &["plan", "production", "--out", file]);
    }

    /// Dana asks for the approval of a plan, with her key.
    pub(crate) fn ask(&self, file: &str) {
        let asked = self.run(0, &["request", file, "--key", "keys/dana", "--signer", "built-in"]);
        assert_eq!(asked["identity"], "dana", "{asked}");
    }

    pub(crate) fn approve(&self, file: &str) {
        self.ask(file);
        self.run(0, &["approve", file, "--key", "keys/riley", "--signer", "built-in"]);
    }

    /// The id of the newest run.
    pub(crate) fn newest_run(&self) -> String {
        self.run(0, &["runs"])["runs"][0]["run"].as_str().unwrap().to_owned()
    }

    /// Writes a record as a machine does whose clock is a year ahead. A ledger in a file goes by the clock of the machine, so
    /// no command line can.
    pub(crate) fn write_next_year(&self) {
        self.write_record(|record, now| record.recorded_at = now + Duration::from_secs(365 * 86_400));
    }

    /// Writes a freeze of everything that no command line writes: whole in chain and tree, and otherwise as `edit` makes it.
    pub(crate) fn write_record(&self, edit: impl FnOnce(&mut Record, Timestamp)) {
        let path = self.at.join(".promo/ledger.db");
        let store = SqliteStore::open(&path).unwrap();
        let head = store.head().unwrap();
        let mut record = store.records(head.size - 1, 1).unwrap().remove(0);
        (record.kind, record.body) = Event::Frozen { environments: [].into(), automatic: false }.to_parts();
        (record.seq, record.prev, record.rid) = (head.size, head.last, "written by hand".into());
        (record.run, record.step, record.epoch, record.plan) = (None, None, None, None);
        (record.environment, record.commitments) = (None, [].into());
        edit(&mut record, store.now().unwrap());
        let bytes = promo_core::canonical::to_vec(&record).unwrap();
        let leaves = store.records(0, usize::MAX).unwrap();
        let mut tree = Frontier::new();
        for leaf in &leaves {
            tree.push(leaf_hash(&promo_core::canonical::to_vec(leaf).unwrap()));
        }
        let nodes = tree.push(leaf_hash(&bytes));
        let file = rusqlite::Connection::open(path).unwrap();
        let int = |number: u64| i64::try_from(number).unwrap();
        let (last, root) = (Digest::of(&bytes), tree.root());
        file.execute("INSERT INTO records VALUES (?1, ?2, ?3)", (int(head.size), record.rid, bytes)).unwrap();
        for node in nodes {
            let row = (node.level, int(node.index), node.hash.as_bytes());
            file.execute("INSERT INTO nodes VALUES (?1, ?2, ?3)", row).unwrap();
        }
        let row = (int(head.size + 1), root.as_bytes(), last.as_bytes());
        file.execute("UPDATE ledger SET size = ?1, root = ?2, last = ?3", row).unwrap();
    }

    /// The ledger's file for whoever edits it behind promo's back: not held up by what promo wrote into it against mistakes.
    pub(crate) fn opened_ledger(&self) -> rusqlite::Connection {
        let file = rusqlite::Connection::open(self.at.join(".promo/ledger.db")).unwrap();
        let mut triggers = file.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").unwrap();
        let names: Vec<String> = triggers.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        drop(triggers);
        names.iter().for_each(|name| file.execute_batch(&format!("DROP TRIGGER {name}")).unwrap());
        file
    }

    /// Changes records of the ledger behind promo's back.
    pub(crate) fn damage_ledger(&self) {
        let path = self.at.join(".promo/ledger.db");
        let mut bytes = std::fs::read(&path).unwrap();
        // Everywhere: the database keeps stale copies in pages that it has split.
        let needle = b"release.added";
        let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(needle)).collect();
        assert!(!places.is_empty(), "records of releases");
        for place in places {
            bytes[place] = b'R';
        }
        std::fs::write(&path, bytes).unwrap();
    }

    /// From the next release on the smoke check stops in `environment` until [`Held::go_on`], and fails as long as there is
    /// a file `broken`.
    pub(crate) fn hold_check(&self, environment: &str) {
        let root = self.at.display();
        let wait = format!(
            "set -eu\nif [ $PROMO_ENVIRONMENT = {environment} ] && mkdir '{root}/reached' 2>/dev/null; then\n\
             while [ ! -e '{root}/go' ]; do sleep 0.02; done\nfi\n\
             if [ -e '{root}/broken' ]; then exit 1; fi\n"
        );
        self.edit("checks/smoke.sh", "set -eu\n", &wait);
    }

    /// Starts a command whose check is held, and returns once it is there.
    pub(crate) fn start(&self, words: &[&str]) -> Held<'_> {
        let mut command = command(&self.at, words);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while !self.at.join("reached").exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the check was never reached");
            std::thread::sleep(Duration::from_millis(10));
        }
        Held { world: self, child, words: words.iter().map(ToString::to_string).collect() }
    }

    /// The check stops once more.
    pub(crate) fn hold_again(&self) {
        std::fs::remove_file(self.at.join("go")).unwrap();
        std::fs::remove_dir(self.at.join("reached")).unwrap();
    }
}

/// A command that waits in a check.
pub(crate) struct Held<'w> {
    world: &'w World,
    child: Child,
    words: Vec<String>,
}

impl Held<'_> {
    /// Lets it come to its end.
    pub(crate) fn go_on(self, expected: i32) {
        self.gone_on(expected);
    }

    /// The same, and gives what it said.
    pub(crate) fn gone_on(self, expected: i32) -> (String, String) {
        self.world.write("go", "");
        let output = self.child.wait_with_output().unwrap();
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        outcomes::judge(&words, &output);
        assert_eq!(output.status.code(), Some(expected), "{words:?}: {:?}", texts(&output));
        texts(&output)
    }

    /// Interrupts it as Ctrl-C does that is pressed twice: the check is not waited for.
    pub(crate) fn interrupt(self, expected: i32) {
        self.interrupted(expected);
    }

    /// The same, and gives what it said.
    pub(crate) fn interrupted(self, expected: i32) -> (String, String) {
        for _ in 0..2 {
            #[expect(clippy::disallowed_methods, reason = "a signal is sent as a user sends it")]
            let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
            assert!(sent.success());
            std::thread::sleep(Duration::from_millis(300));
        }
        let output = self.child.wait_with_output().unwrap();
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        outcomes::judge(&words, &output);
        assert_eq!(output.status.code(), Some(expected), "{words:?}: {:?}", texts(&output));
        self.world.write("go", "");
        texts(&output)
    }

    /// Kills it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.world.write("go", "");
    }
}

/// A server that answers every request with the status that `answer` gives for its number, from 0, and wants no pause.
pub(crate) struct Server {
    pub(crate) address: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn new(answer: impl Fn(usize) -> u16 + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(AtomicUsize::new(0));
        let seen = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head = BufReader::new(stream.try_clone().unwrap()).lines();
                let _head = head.map_while(Result::ok).take_while(|line| !line.is_empty()).count();
                let status = answer(seen.fetch_add(1, SeqCst));
                let end = "content-length: 0\r\nretry-after: 0\r\nconnection: close\r\n\r\n";
                let _gone = stream.write_all(format!("HTTP/1.1 {status} it\r\n{end}").as_bytes());
            }
        });
        Self { address, requests }
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }
}

/// A release that can enter staging, which has a mirror on the server.
pub(crate) fn mirrored(server: &Server) -> World {
    let world = World::new();
    let mirror = format!("tier   = \"staging\"\nmirror = {{ \"oci-layout:registry\" = \"{}/m\" }}", server.address);
    world.release("1.2.0", 3);
    world.write("config/staging.env", "WORKERS=5\n");
    world.edit("promo.toml", "tier   = \"staging\"", &mirror);
    world
}

/// A world whose staging has a mirror, on a server that goes by a script: it answers with 404 and does nothing more until
/// it is told otherwise.
pub(crate) struct Scripted {
    pub(crate) world: World,
    /// How many requests a plan of staging makes.
    pub(crate) looked: usize,
    server: Server,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    /// From this request on.
    from: usize,
    status: Option<u16>,
    act: Option<Box<dyn FnOnce() + Send>>,
}

impl Scripted {
    /// The plan of staging is in `p.json`.
    pub(crate) fn new() -> Self {
        let script: Arc<Mutex<Script>> = Arc::default();
        let read = script.clone();
        let server = Server::new(move |request| {
            let mut script = read.lock().unwrap();
            if request < script.from {
                return 404;
            }
            if let Some(act) = script.act.take() {
                act();
            }
            script.status.unwrap_or(404)
        });
        let world = mirrored(&server);
        let before = server.requests();
        world.run(0, &["plan", "staging", "--out", "p.json"]);
        let looked = server.requests() - before;
        assert!(looked > 0, "the mirror was looked at");
        Self { world, looked, server, script }
    }

    /// Where the server is.
    pub(crate) fn address(&self) -> &str {
        &self.server.address
    }

    /// After so many more requests the server answers with this.
    pub(crate) fn then(&self, more: usize, status: u16) {
        *self.script.lock().unwrap() = Script { from: self.server.requests() + more, status: Some(status), act: None };
    }

    /// After so many more requests something happens before the next one is answered.
    pub(crate) fn meanwhile(&self, more: usize, act: impl FnOnce() + Send + 'static) {
        let from = self.server.requests() + more;
        *self.script.lock().unwrap() = Script { from, status: None, act: Some(Box::new(act)) };
    }
}
