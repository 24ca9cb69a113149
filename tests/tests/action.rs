//! The GitHub action and the GitLab template, run: the action by `act` on this machine, against a repository and an API
//! that exist for one test only; the template's script by bash, against the same kind of API.

#[cfg(test)]
mod needs_act {
    use std::path::{Path, PathBuf};
    use std::process::Output;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::Bytes;
    use axum::extract::State;
    use axum::http::{HeaderMap, Method, StatusCode, Uri};
    use promo_tests::binary::{command, promo, root};
    use serde_json::{Value, json};

    /// A comment, and everything that was asked.
    #[derive(Default)]
    struct Forge {
        comments: Vec<Value>,
        asked: Vec<String>,
        tokens: Vec<String>,
    }

    type Shared = Arc<Mutex<Forge>>;

    async fn answer(
        State(forge): State<Shared>,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> (StatusCode, String) {
        let mut forge = forge.lock().unwrap();
        forge.asked.push(format!("{method} {}", uri.path()));
        for name in ["authorization", "private-token"] {
            forge.tokens.extend(headers.get(name).map(|v| v.to_str().unwrap().to_owned()));
        }
        let parsed: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let last = uri.path().rsplit('/').next().unwrap_or_default();
        match method {
            _ if last == "user" => (StatusCode::OK, json!({"id": 7}).to_string()),
            Method::GET => (StatusCode::OK, Value::from(forge.comments.clone()).to_string()),
            Method::POST => {
                let id = 100 + forge.comments.len();
                let (user, author) = (json!({"login": "github-actions[bot]"}), json!({"id": 7}));
                forge.comments.push(json!({"id": id, "user": user, "author": author, "body": parsed["body"]}));
                (StatusCode::CREATED, "{}".into())
            }
            _ => match forge.comments.iter_mut().find(|c| c["id"].as_u64() == last.parse().ok()) {
                Some(comment) => {
                    comment["body"] = parsed["body"].clone();
                    (StatusCode::OK, "{}".into())
                }
                None => (StatusCode::NOT_FOUND, "{}".into()),
            },
        }
    }

    /// A repository with the quickstart's pipeline and this action, a ledger outside of it, and a forge.
    struct World {
        directory: tempfile::TempDir,
        forge: Shared,
        api: String,
    }

    fn copy(from: &Path, to: &Path) {
        for entry in walkdir::WalkDir::new(from) {
            let entry = entry.unwrap();
            let target = to.join(entry.path().strip_prefix(from).unwrap());
            if entry.file_type().is_dir() {
                std::fs::create_dir_all(&target).unwrap();
            } else {
                std::fs::copy(entry.path(), &target).unwrap();
            }
        }
    }

    #[track_caller]
    fn good(output: &Output) -> String {
        let text = said(output);
        assert!(output.status.success(), "{text}");
        text
    }

    fn said(output: &Output) -> String {
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    impl World {
        async fn start() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let forge = Shared::default();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let api = format!("http://{}", listener.local_addr().unwrap());
            let router = Router::new().fallback(answer).with_state(forge.clone());
            tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
            let world = Self { directory, forge, api };
            let example = world.path("example");
            good(&command(promo()).arg("quickstart").arg(&example).output().unwrap());
            let repository = world.path("repository");
            for name in ["promo.toml", "policy.toml"] {
                std::fs::create_dir_all(&repository).unwrap();
                std::fs::copy(example.join(name), repository.join(name)).unwrap();
            }
            for name in ["checks", "config", "templates", "registry"] {
                copy(&example.join(name), &repository.join(name));
            }
            // A release that production can take, too.
            std::fs::write(repository.join("config/common.env"), "NEEDS_WORKERS=2\n").unwrap();
            std::fs::copy(root().join("action.yml"), repository.join("action.yml")).unwrap();
            copy(&root().join("ci"), &repository.join("ci"));
            // What promo deploys stays where it is while the runner's copy of the repository comes and goes.
            let text = std::fs::read_to_string(repository.join("promo.toml")).unwrap();
            let live = world.path("live");
            let text = text.replace("\"environments/", &format!("\"{}/", live.display()));
            let mirror = format!("oci-layout:{}", world.path("registry-production").display());
            let text = text.replace("oci-layout:registry-production", &mirror);
            std::fs::write(repository.join("promo.toml"), text).unwrap();
            good(&world.promo(&["release", "add", "shop=1.0.0"]));
            world
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn promo(&self, arguments: &[&str]) -> Output {
            let mut command = command(promo());
            command.current_dir(self.path("repository")).args(arguments);
            for (name, value) in self.environment() {
                command.env(name, value);
            }
            command.output().unwrap()
        }

        fn environment(&self) -> Vec<(&'static str, String)> {
            let policy = self.path("repository/policy.toml");
            vec![
                ("PROMO_LEDGER", self.path("ledger/ledger.db").display().to_string()),
                ("PROMO_POLICY", policy.display().to_string()),
                ("PROMO_ACTOR", "dana".to_owned()),
            ]
        }

        fn git(&self, arguments: &[&str]) {
            let mut git = command("git");
            git.current_dir(self.path("repository")).env("HOME", self.directory.path());
            git.args(["-c", "user.name=t", "-c", "user.email=t@example.org"]).args(arguments);
            good(&git.output().unwrap());
        }

        /// Runs a workflow of one job with one use of the action.
        fn act(&self, event: &str, with: &str, payload: &Value) -> Output {
            let environment: String =
                self.environment().iter().map(|(name, value)| format!("      {name}: '{value}'\n")).collect();
            let workflow = format!(
                "on: [push, pull_request]\njobs:\n  promo:\n    runs-on: ubuntu-latest\n    env:\n{environment}    steps:\n      \
                 - uses: actions/checkout@v4\n      - uses: ./\n        with:\n          promo: '{}'\n          api-url: '{}'\n          \
                 token: s3cret-token\n{with}",
                promo().display(),
                self.api,
            );
            self.workflow("promo.yml", &workflow);
            self.event(event, payload, "ubuntu-latest", &[])
        }

        fn workflow(&self, name: &str, text: &str) {
            let file = self.path("repository/.github/workflows").join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }

        /// Commits what there is, and runs what the workflows have for an event on this machine, which has this label.
        fn event(&self, event: &str, payload: &Value, label: &str, more: &[String]) -> Output {
            if !self.path("repository/.git").exists() {
                self.git(&["init", "-q", "-b", "main"]);
                self.git(&["remote", "add", "origin", "https://github.com/example/shop.git"]);
            }
            self.git(&["add", "-A"]);
            self.git(&["commit", "-q", "--allow-empty", "-m", "work"]);
            let event_file = self.path("event.json");
            std::fs::write(&event_file, payload.to_string()).unwrap();
            let act = std::env::var("PROMO_COMPONENT_ACT").unwrap();
            let mut run = command(act);
            run.current_dir(self.path("repository")).env_clear();
            run.env("PATH", std::env::var("PATH").unwrap()).env("HOME", self.path("home"));
            run.args([event, "--platform", &format!("{label}=-self-hosted"), "--eventpath"]).arg(&event_file);
            run.arg("--action-offline-mode").args(more).output().unwrap()
        }

        /// The same with the workflows of the guide, on a runner that has promo, the ledger and the policy.
        fn of_guide(&self, event: &str, payload: &Value) -> Output {
            for (name, text) in workflows() {
                self.workflow(&name, &text.replace("OWNER/promo@VERSION", "./"));
            }
            let own = [("GITHUB_API_URL", self.api.clone()), ("PATH", with_promo())];
            let variables = self.environment().into_iter().chain(own);
            let mut more: Vec<String> =
                variables.flat_map(|(name, value)| ["--env".to_owned(), format!("{name}={value}")]).collect();
            more.extend(["--secret".to_owned(), "GITHUB_TOKEN=s3cret-token".to_owned()]);
            self.event(event, payload, "self-hosted", &more)
        }

        /// Signs with a key that the quickstart made.
        fn signed(&self, verb: &str, plan: &str, who: &str) {
            let key = self.path("example/keys").join(who).display().to_string();
            good(&self.promo(&[verb, plan, "--key", &key, "--signer", "built-in"]));
        }

        /// A plan of production, as somebody commits it for review. Gives its digest.
        fn plan_of_production(&self, plan: &str) -> String {
            std::fs::create_dir_all(self.path("repository/promotions")).unwrap();
            good(&self.promo(&["plan", "production", "--out", plan]));
            let shown = self.promo(&["show", plan, "--format", "json"]);
            let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
            shown["digest"].as_str().unwrap().to_owned()
        }
    }

    /// The path of this machine, and promo on it.
    fn with_promo() -> String {
        format!("{}:{}", promo().parent().unwrap().display(), std::env::var("PATH").unwrap())
    }

    /// The workflows of the guide, as whoever follows it puts them into files: name and text.
    fn workflows() -> Vec<(String, String)> {
        let guide = std::fs::read_to_string(root().join("docs/guide/pull-requests.md")).unwrap();
        let blocks = guide.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next());
        let named = blocks.filter_map(|block| {
            let name = block.lines().next()?.strip_prefix("# .github/workflows/")?;
            Some((name.to_owned(), block.to_owned()))
        });
        let all: Vec<_> = named.collect();
        assert_eq!(all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["promo.yml", "promo-apply.yml"]);
        all
    }

    fn from_repository(head: &str) -> Value {
        json!({
            "repository": {"full_name": "example/shop"},
            "pull_request": {"number": 12, "head": {"repo": {"full_name": head}}},
        })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pull_request_has_one_comment_with_the_plan_and_it_is_kept_up_to_date() {
        let world = World::start().await;
        // Somebody else has planted the marker.
        let planted =
            json!({"id": 1, "user": {"login": "mallory"}, "body": "<!-- promo:action directory=. -->\nhello"});
        world.forge.lock().unwrap().comments.push(planted.clone());
        let plan = "          command: plan\n";
        good(&world.act("pull_request", plan, &from_repository("example/shop")));
        {
            let forge = world.forge.lock().unwrap();
            assert_eq!(forge.comments.len(), 2, "{:?}", forge.asked);
            let body = forge.comments[1]["body"].as_str().unwrap();
            assert!(body.starts_with("<!-- promo:action directory=. -->\n"), "{body}");
            assert!(body.contains("<!-- promo:plan pipeline=quickstart -->") && body.contains("`dev`"), "{body}");
            assert!(forge.tokens.iter().all(|token| token == "Bearer s3cret-token"));
        }
        // The pipeline breaks: the same comment says so, with the code.
        let file = world.path("repository/promo.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("tier   = \"testing\"", "tier   = \"tseting\"")).unwrap();
        let output = world.act("pull_request", plan, &from_repository("example/shop"));
        assert!(!output.status.success(), "{}", said(&output));
        let forge = world.forge.lock().unwrap();
        assert_eq!(forge.comments.len(), 2, "updated in place: {:?}", forge.asked);
        assert_eq!(forge.comments[0], planted, "what others wrote is left alone");
        let body = forge.comments[1]["body"].as_str().unwrap();
        assert!(body.contains("config-wrong-value") && body.contains("tseting"), "{body}");
        assert_eq!(forge.asked.iter().filter(|asked| asked.starts_with("PATCH")).count(), 1, "{:?}", forge.asked);
        assert!(!world.path("live").exists(), "a pull request deploys nothing");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pull_request_from_elsewhere_is_planned_and_nothing_is_asked_of_the_api() {
        let world = World::start().await;
        let text = good(&world.act("pull_request", "          command: plan\n", &from_repository("mallory/shop")));
        assert!(text.contains("promo plan"), "{text}");
        assert_eq!(world.forge.lock().unwrap().asked, Vec::<String>::new());
        assert!(!text.contains("s3cret-token"), "{text}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pull_request_cannot_write() {
        let world = World::start().await;
        for with in ["          command: advance\n", "          command: apply\n"] {
            let output = world.act("pull_request", with, &from_repository("example/shop"));
            assert!(!output.status.success(), "{}", said(&output));
            assert!(said(&output).contains("exit status 64"), "{}", said(&output));
        }
        assert!(!world.path("live").exists());
        let smuggled = "          command: plan\n          environments: --out=x\n";
        let output = world.act("pull_request", smuggled, &from_repository("example/shop"));
        assert!(said(&output).contains("exit status 64"), "{}", said(&output));
        // act can lose the last words of a step that ends at once, so what is said is read from the script itself.
        for (verb, environments, why) in [
            ("advance", "", "run it after the merge"),
            ("apply", "", "run it after the merge"),
            ("plan", "--out=x", "an environment cannot be called --out=x"),
        ] {
            let mut script = command("bash");
            script.arg(root().join("ci/github/promo.sh")).env("GITHUB_EVENT_NAME", "pull_request");
            for name in ["API_URL", "ARGUMENTS", "COMMENT", "COMMENT_AUTHOR", "DIGEST", "PLAN", "TOKEN"] {
                script.env(format!("INPUT_{name}"), "");
            }
            script.env("INPUT_COMMAND", verb).env("INPUT_ENVIRONMENTS", environments).env("INPUT_DIRECTORY", ".");
            let output = script.env("INPUT_PROMO", promo()).current_dir(world.path("repository")).output().unwrap();
            assert_eq!(output.status.code(), Some(64), "{}", said(&output));
            assert!(said(&output).contains(why), "{}", said(&output));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn after_the_merge_what_may_start_by_itself_starts_and_a_reviewed_plan_is_applied() {
        let world = World::start().await;
        let nothing = json!({});
        good(&world.act("push", "          command: plan\n          environments: dev\n", &nothing));
        assert!(!world.path("live").exists(), "planning deploys nothing");
        good(&world.promo(&["plan", "dev", "--out", "promo.plan.json"]));
        let wrong = format!("          command: apply\n          digest: sha256:{}\n", "0".repeat(64));
        let output = world.act("push", &wrong, &nothing);
        assert!(said(&output).contains("plan-other-digest"), "{}", said(&output));
        good(&world.act("push", "          command: apply\n", &nothing));
        assert!(world.path("live/dev/current").exists());
        good(&world.act("push", "          command: advance\n", &nothing));
        assert!(world.path("live/staging/current").exists());
        assert!(!world.path("live/production").exists(), "production never starts by itself (R21)");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_guide_s_own_workflows_plan_on_a_pull_request_and_advance_from_a_timer() {
        let world = World::start().await;
        good(&world.of_guide("pull_request", &from_repository("example/shop")));
        {
            let forge = world.forge.lock().unwrap();
            let [comment] = forge.comments.as_slice() else { panic!("{:?}", forge.asked) };
            assert!(comment["body"].as_str().unwrap().contains("<!-- promo:plan pipeline=quickstart -->"), "{comment}");
            assert!(forge.tokens.iter().all(|token| token == "Bearer s3cret-token"));
        }
        assert!(!world.path("live").exists(), "a pull request deploys nothing");
        good(&world.of_guide("schedule", &json!({"schedule": "*/10 * * * *"})));
        assert!(world.path("live/staging/current").exists());
        assert!(!world.path("live/production").exists(), "production never starts by itself (R21)");
        // What waits for a person is no failure of a timer.
        good(&world.promo(&["release", "add", "shop=1.1.0"]));
        good(&world.promo(&["freeze", "dev", "--reason", "a test"]));
        let text = good(&world.of_guide("schedule", &json!({"schedule": "*/10 * * * *"})));
        assert!(text.contains("something waits"), "{text}");
        assert_eq!(world.forge.lock().unwrap().comments.len(), 1, "a timer comments nothing");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_guide_s_protected_job_applies_a_plan_of_production_once_it_is_approved_and_not_before() {
        let world = World::start().await;
        good(&world.of_guide("push", &json!({"ref": "refs/heads/main"})));
        assert!(world.path("live/staging/current").exists(), "a merge advances too");
        let plan = "promotions/production.plan.json";
        let digest = world.plan_of_production(plan);
        let dispatch = |digest: &str| {
            let inputs = json!({"plan": "production.plan.json", "digest": digest});
            world.of_guide("workflow_dispatch", &json!({"inputs": inputs}))
        };
        world.signed("request", plan, "dana");
        let waits = dispatch(&digest);
        assert!(!waits.status.success() && said(&waits).contains("approval 0 of 1"), "{}", said(&waits));
        world.signed("approve", plan, "riley");
        let other = dispatch(&format!("sha256:{}", "0".repeat(64)));
        assert!(!other.status.success() && said(&other).contains("plan-other-digest"), "{}", said(&other));
        assert!(!world.path("live/production").exists());
        good(&dispatch(&digest));
        assert!(world.path("live/production/current").exists());
        assert!(world.path("registry-production/shop").exists(), "copied there first");
    }

    /// The lines of a block of the template that stand deeper than `head`, which begins it.
    fn below<'t>(text: &'t str, head: &str) -> impl Iterator<Item = &'t str> {
        let depth = head.len() - head.trim_start().len();
        let deeper = move |line: &&str| line.is_empty() || line.len() - line.trim_start().len() > depth;
        let (_, rest) = text.split_once(&format!("\n{head}\n")).unwrap_or_else(|| panic!("the template has {head}"));
        rest.lines().take_while(deeper)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_gitlab_template_s_writing_jobs_advance_and_apply_what_is_approved() {
        let world = World::start().await;
        let text = std::fs::read_to_string(root().join("ci/gitlab/promo.gitlab-ci.yml")).unwrap();
        let variable = |line: &str| {
            let (name, value) = line.trim().split_once(": ").unwrap();
            (name.to_owned(), value.trim_matches('"').to_owned())
        };
        let variables: Vec<(String, String)> =
            below(&text, "variables:").filter(|l| !l.is_empty()).map(variable).collect();
        assert_eq!(variables.len(), 3, "{variables:?}");
        let job = |name: &str| -> (i32, String) {
            let job: String = below(&text, &format!("{name}:")).map(|line| format!("{line}\n")).collect();
            let job = format!("\n{job}");
            let script: String =
                below(&job, "  script:").map(|l| format!("{}\n", l.trim().trim_start_matches("- "))).collect();
            assert!(script.starts_with("promo "), "{script}");
            let mut bash = command("bash");
            bash.args(["-e", "-c", &script]).current_dir(world.path("repository")).env_clear();
            bash.env("PATH", with_promo()).env("CI", "true").envs(world.environment()).envs(variables.clone());
            let output = bash.output().unwrap();
            (output.status.code().unwrap(), said(&output))
        };
        let (code, said) = job("promo-advance");
        assert!(code == 0 && world.path("live/staging/current").exists(), "{said}");
        let plan = &variables.iter().find(|(name, _)| name == "PROMO_PLAN").unwrap().1;
        world.plan_of_production(plan);
        world.signed("request", plan, "dana");
        assert_eq!(job("promo-apply").0, 20);
        world.signed("approve", plan, "riley");
        let (code, said) = job("promo-apply");
        assert!(code == 0 && world.path("live/production/current").exists(), "{said}");
        // What waits for a person is let through by the template itself.
        good(&world.promo(&["release", "add", "shop=1.1.0"]));
        good(&world.promo(&["freeze", "dev", "--reason", "a test"]));
        let (code, said) = job("promo-advance");
        let allowed: Vec<&str> = below(&text, "  allow_failure:").map(str::trim).collect();
        assert_eq!((code, allowed[0]), (20, "exit_codes: [20]"), "{said}");
    }

    /// The script of the template's job `promo-plan`, as a runner would be given it.
    fn template_script() -> String {
        let text = std::fs::read_to_string(root().join("ci/gitlab/promo.gitlab-ci.yml")).unwrap();
        let job = text.split("\npromo-plan:\n").nth(1).unwrap();
        let script = job.split("    - |\n").nth(1).unwrap();
        let lines = script.lines().take_while(|line| line.is_empty() || line.starts_with("      "));
        lines.map(|line| line.strip_prefix("      ").unwrap_or_default().to_owned() + "\n").collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_gitlab_template_keeps_one_note_up_to_date() {
        let world = World::start().await;
        let script = template_script();
        assert!(script.contains("--if-merged"), "{script}");
        let path = format!("{}:{}", promo().parent().unwrap().display(), std::env::var("PATH").unwrap());
        let run = |token: Option<&str>| {
            let mut bash = command("bash");
            bash.arg("-c").arg(&script).current_dir(world.path("repository")).env_clear().env("PATH", &path);
            bash.envs(world.environment()).env("PROMO_DIRECTORY", ".").env("CI_API_V4_URL", &world.api);
            bash.env("CI_PROJECT_ID", "3").env("CI_MERGE_REQUEST_IID", "12");
            bash.envs(token.map(|token| ("PROMO_NOTE_TOKEN", token)));
            bash.output().unwrap()
        };
        // From a fork there is no token.
        assert!(good(&run(None)).contains("promo plan"));
        assert_eq!(world.forge.lock().unwrap().asked, Vec::<String>::new());
        let planted = json!({"id": 1, "author": {"id": 8}, "body": "<!-- promo:gitlab directory=. -->\nhello"});
        world.forge.lock().unwrap().comments.push(planted.clone());
        good(&run(Some("s3cret-token")));
        std::fs::write(world.path("repository/promo.toml"), "format = 1\n").unwrap();
        assert_eq!(run(Some("s3cret-token")).status.code(), Some(65));
        let forge = world.forge.lock().unwrap();
        assert_eq!(forge.comments.len(), 2, "{:?}", forge.asked);
        assert_eq!(forge.comments[0], planted);
        assert!(forge.comments[1]["body"].as_str().unwrap().contains("config-missing-key"), "{:?}", forge.comments);
        assert!(forge.tokens.iter().all(|token| token == "s3cret-token"), "{:?}", forge.tokens);
        assert_eq!(forge.asked.last().map(String::as_str), Some("PUT /projects/3/merge_requests/12/notes/101"));
    }
}
