//! The command line: verbs, global flags, help. What must not live here: what a verb does, and its own flags, which stand
//! beside it in `commands`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, ColorChoice, CommandFactory, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::commands;
use crate::error::{CliError, command_line};
use crate::examples;
use crate::exit::{DONE, Exit};
use crate::ui::{Lost, Ui, lose};
use crate::wiring::Wiring;

/// promo: plan and apply for promotions.
#[derive(Debug, Parser)]
#[command(name = "promo", version, about, propagate_version = true, disable_help_subcommand = false)]
#[command(subcommand_required = true, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
    /// The words of the verb, as `ledger verify`
    #[arg(skip)]
    pub(crate) verb: String,
}

/// Flags of every verb. They go before environment variables, and those before files.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Work as if started in this directory
    #[arg(short = 'C', long = "directory", global = true, value_name = "DIR", env = "PROMO_DIRECTORY")]
    pub(crate) directory: Option<PathBuf>,
    /// How to answer: standard output is data in this format, standard error is talk
    #[arg(long, global = true, value_enum, default_value_t, env = "PROMO_FORMAT")]
    pub(crate) format: Format,
    /// When to use colour; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", env = "PROMO_COLOR")]
    pub(crate) color: Color,
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How to write log lines
    #[arg(long, global = true, value_enum, default_value_t, env = "PROMO_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
    /// Reach no server: what would have to be asked for is shown as not known, and what has to act is refused
    #[arg(long, global = true, env = "PROMO_OFFLINE", value_parser = FalseyValueParser::new())]
    pub(crate) offline: bool,
    /// Write what happens into this file too, as events: one JSON object a line
    #[arg(long, global = true, value_name = "FILE", env = "PROMO_EVENTS")]
    pub(crate) events: Option<PathBuf>,
    /// The ledger, in local mode; a relative path is from the working directory. A trust file names its own
    #[arg(long, global = true, value_name = "PATH", env = "PROMO_LEDGER")]
    pub(crate) ledger: Option<PathBuf>,
    /// The policy, in local mode; a relative path is from the working directory. A trust file names its own
    #[arg(long, global = true, value_name = "PATH", env = "PROMO_POLICY")]
    pub(crate) policy: Option<PathBuf>,
    /// The trust file; never read from the pipeline's repository
    #[arg(long, global = true, value_name = "PATH", env = "PROMO_TRUST")]
    pub(crate) trust: Option<PathBuf>,
    /// Who acts: a claim, recorded as one; evidence is a signature
    #[arg(long = "as", global = true, value_name = "NAME", env = "PROMO_ACTOR")]
    pub(crate) actor: Option<String>,
    /// Whether a person or automation acts; when left out, automation where CI is set or standard input is no terminal
    #[arg(long, global = true, value_enum, value_name = "KIND", env = "PROMO_ACTOR_KIND")]
    pub(crate) actor_kind: Option<Kind>,
    /// Show times in this IANA time zone
    #[arg(long, global = true, value_name = "ZONE", default_value = "UTC", env = "PROMO_TIMEZONE")]
    pub(crate) timezone: String,
    /// Whether the example of the quickstart is at work, for which no trust file of the user speaks.
    #[arg(skip)]
    pub(crate) example: bool,
    /// What this binary is made of: no flag, and here because every verb is given this
    #[arg(skip)]
    pub(crate) wiring: Wiring,
}

impl Global {
    /// A command that promo suggests, as it can be pasted: with the flags of this call that say which project, rules and
    /// ledger are meant. Without them it would mean others, or fail. The one place that adds them.
    pub(crate) fn to_paste(&self, command: &str) -> String {
        // One of another program has none of these flags.
        let Some(words) = command.strip_prefix("promo ") else { return command.to_owned() };
        let elsewhere =
            ["explain", "quickstart", "completions"].iter().any(|verb| words.split(' ').next() == Some(verb));
        if elsewhere || words.ends_with("--help") {
            return command.to_owned();
        }
        let flags =
            [("-C", &self.directory), ("--policy", &self.policy), ("--ledger", &self.ledger), ("--trust", &self.trust)];
        let given = flags.iter().filter_map(|(flag, path)| Some((*flag, path.as_ref()?.to_string_lossy())));
        // The keys of the example have no passphrase, and nothing else has to be installed for it.
        let words = if self.example && !words.contains(" --signer ") {
            words.replace("--key KEY", "--key KEY --signer built-in")
        } else {
            words.to_owned()
        };
        let given: String = given.map(|(flag, path)| command_line([flag, &path]) + " ").collect();
        format!("promo {given}{words}")
    }

    /// The same from words.
    pub(crate) fn suggest(&self, words: &[&str]) -> String {
        self.to_paste(&command_line(["promo"].iter().chain(words).copied()))
    }
}

/// Formats of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people at a terminal
    #[default]
    Text,
    /// For a comment on a pull request
    Markdown,
    /// For programs: frozen views, and events as lines
    Json,
    /// One page to keep or to print; of plans only
    Html,
}

/// Who can act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A person
    Human,
    /// A CI job or a timer
    Automation,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal that can show it
    #[default]
    Auto,
    /// Also into files and pipes
    Always,
    /// Not at all
    Never,
}

/// Formats of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// Defines the verbs: the group in which help shows each, its name in the code, and the module that runs it.
macro_rules! verbs {
    ($($group:literal { $($(#[$attribute:meta])* $variant:ident => $module:ident,)+ })+) => {
        /// Every verb that works.
        #[derive(Debug, Subcommand)]
        pub(crate) enum Command {
            $($($(#[$attribute])* $variant(commands::$module::Arguments),)+)+
        }

        impl Command {
            /// Runs the verb.
            pub(crate) fn run(&self, ui: &Ui, global: &Global) -> Result<Exit, CliError> {
                match self {
                    $($(Self::$variant(arguments) => commands::$module::run(ui, global, arguments),)+)+
                }
            }
        }

        /// The verbs by group, as help shows them.
        pub(crate) const GROUPS: &[(&str, &[&str])] = &[$(($group, &[$(stringify!($module)),+])),+];
    };
}

verbs! {
    "Begin" {
        /// Try it: a working example, from dev to production and back
        Quickstart => quickstart,
        /// Write a pipeline and an example policy for this repository
        Init => init,
        /// Put pipeline and policy files into one form
        Fmt => fmt,
        /// Say everything that is wrong with pipeline and policy
        Check => check,
        /// Draw the environments and the ways between them
        Graph => graph,
        /// Say which files, tools and servers there are, and what is missing
        Doctor => doctor,
    }
    "Plan and apply" {
        /// Show which release would move where, why, and what holds back the rest
        Plan => plan,
        /// Render a saved plan or a run again
        Show => show,
        /// Ask for approval of a saved plan
        Request => request,
        /// Sign a saved plan
        Approve => approve,
        /// Execute exactly a saved plan
        Apply => apply,
        /// Promote everything that starts by itself and may
        Advance => advance,
        /// Plan the way back to a release known good
        Rollback => rollback,
        /// Take over what runs already, or keep what was changed by hand
        Adopt => adopt,
    }
    "Releases and verdicts" {
        /// Add, list, show, reject and lift releases
        Release => release,
        /// Bring scans, bills of materials and reports of tests
        Evidence => evidence,
        /// Run the checks of an environment again
        Verify => verify,
        /// Give or withdraw a person's verdict
        Verdict => verdict,
        /// Stop promotion into environments
        Freeze => freeze,
        /// Lift a freeze, or the pause after a rollback
        Unfreeze => unfreeze,
    }
    "Unfinished work" {
        /// List runs
        Runs => runs,
        /// Go on with a run that was interrupted
        Resume => resume,
        /// End a run that was interrupted
        Cancel => cancel,
    }
    "Look" {
        /// What is where, since when
        Status => status,
        /// Why a release is, or is not, in an environment
        Why => why,
        /// Every promotion, newest first
        History => history,
        /// How what is live differs from what was deployed
        Drift => drift,
        /// How two environments differ, in what is declared and in what is not
        Diff => diff,
        /// Check the ledger, and print its checkpoint
        Ledger => ledger,
    }
    "Help" {
        /// Say what a code means and what to do about it
        Explain => explain,
        /// Print the JSON schema of a file, for editors
        Schema => schema,
        /// Print completions for a shell
        Completions => completions,
    }
}

impl Command {
    /// Whether it asks providers to act, or records what they say: then it cannot be done without servers.
    pub(crate) fn acts_outside(&self) -> bool {
        match self {
            Self::Apply(_) | Self::Advance(_) | Self::Resume(_) | Self::Verify(_) => true,
            Self::Release(arguments) => arguments.adds(),
            Self::Evidence(arguments) => arguments.collects(),
            _ => false,
        }
    }
}

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// The command line as a value, with the verbs of its help in groups.
pub(crate) fn command() -> clap::Command {
    let command = examples::attach(Cli::command().styles(STYLES), &STYLES);
    let mut help = String::new();
    for (group, verbs) in GROUPS {
        help.push_str(&format!("{}{group}:{}\n", STYLES.get_header(), STYLES.get_header().render_reset()));
        for verb in *verbs {
            let about = command.find_subcommand(verb).and_then(|c| c.get_about().map(ToString::to_string));
            let literal = STYLES.get_literal();
            let name = format!("{literal}{verb:<12}{}", literal.render_reset());
            help.push_str(&format!("  {name} {}\n", about.unwrap_or_default()));
        }
        help.push('\n');
    }
    let first = "Start with `promo quickstart`, or with `promo init` in your repository.\n";
    let first = if command.find_subcommand("quickstart").is_some() { first } else { "" };
    command.help_template(format!("{{about}}\n\n{{usage-heading}} {{usage}}\n\n{help}Options:\n{{options}}\n{first}"))
}

/// Parses the words of a command line.
pub(crate) fn parse(words: &[OsString]) -> Result<Cli, Stopped> {
    let json =
        words.windows(2).any(|w| w[0] == "--format" && w[1] == "json") || words.iter().any(|w| w == "--format=json");
    let command = without_empty_variables(command());
    let verb = verb(&command, words);
    let parsed = command.try_get_matches_from(words).and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(parsed) => Ok(Cli { verb, ..parsed }),
        Err(error) => Err(Stopped { error, json, verb }),
    }
}

/// A variable that is set to nothing is as one that is not set: in most shells and in CI that is how one is taken back.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let empty = |name: &std::ffi::OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let heeded = |argument: clap::Arg| match argument.get_env().is_some_and(empty) {
        true => argument.env(None::<&'static str>),
        false => argument,
    };
    command.mut_args(heeded).mut_subcommands(without_empty_variables)
}

/// How a verb is used, in a line.
pub(crate) fn usage(verb: &str) -> String {
    let mut command = command();
    command.build();
    let found = verb.split_whitespace().try_fold(&command, |at, word| at.find_subcommand(word));
    found.unwrap_or(&command).clone().render_usage().to_string()
}

/// The words of the verb that is named, also where the rest of the line is wrong.
fn verb(command: &clap::Command, words: &[OsString]) -> String {
    let (mut at, mut verb) = (command, Vec::new());
    for word in words.iter().skip(1).filter_map(|word| word.to_str()) {
        if let Some(next) = at.find_subcommand(word) {
            at = next;
            verb.push(word);
        }
    }
    verb.join(" ")
}

/// A command line that runs no verb: help and version, or a mistake.
#[derive(Debug)]
pub(crate) struct Stopped {
    error: clap::Error,
    json: bool,
    verb: String,
}

impl Stopped {
    /// As an error: for a command line that promo itself wrote.
    pub(crate) fn into_error(self) -> CliError {
        CliError::usage(&self.error, &self.verb)
    }

    /// Prints it.
    pub(crate) fn report(self) -> Exit {
        if !self.error.use_stderr() {
            // A closed pipe is not worth an error: the reader has what it wanted.
            let lost = Lost::default();
            lose(&lost, self.error.print());
            return lost.get().map_or(DONE, |_| Exit(65));
        }
        let global = Global {
            directory: None,
            format: if self.json { Format::Json } else { Format::Text },
            color: Color::Auto,
            verbose: 0,
            log_format: LogFormat::Text,
            offline: false,
            events: None,
            ledger: None,
            policy: None,
            trust: None,
            actor: None,
            actor_kind: None,
            timezone: "UTC".to_owned(),
            example: false,
            wiring: Wiring::default(),
        };
        CliError::usage(&self.error, &self.verb).report(&Ui::new(&global))
    }
}

impl From<Color> for ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_verb_stands_in_exactly_one_group_of_the_help() {
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, verbs)| verbs.iter().copied()).collect();
        let command = command();
        let mut verbs: Vec<&str> =
            command.get_subcommands().map(clap::Command::get_name).filter(|n| *n != "help").collect();
        let mut sorted = grouped.clone();
        sorted.sort_unstable();
        verbs.sort_unstable();
        assert_eq!(sorted, verbs);
        let help = command.clone().render_help().to_string();
        for verb in grouped {
            assert!(help.contains(&format!("  {verb} ")), "{verb} is not in\n{help}");
        }
    }

    #[test]
    fn every_flag_of_every_verb_says_what_it_is_for() {
        for verb in command().get_subcommands() {
            for argument in verb.get_arguments().filter(|a| a.get_id() != "help") {
                assert!(argument.get_help().is_some(), "{} {}", verb.get_name(), argument.get_id());
            }
        }
    }
}
