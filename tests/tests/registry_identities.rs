//! Signatures without a key: the JavaScript client of Sigstore signs an image as somebody whom an issuer knows, promo lets in what they have
//! signed and nothing else, and at the destination that client finds the same. And keys that a log must bear out, or that end. promo is a
//! process of its own, the registries are real ones.

#[cfg(test)]
mod needs_docker_registry {
    mod needs_clients {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        use promo_engine::clock::SystemClock;
        use promo_sdk::{Clock as _, Digest};
        use promo_tests::beside::{Place, statement, tag};
        use promo_tests::clients::{BUNDLE, Clients};
        use promo_tests::copying::{FROM, PLAN, Project, TAG, TO};
        use promo_tests::registry::Registry;
        use serde_json::{Value, json};

        const WORKFLOW: &str = "https://git.test/acme/shop/.github/workflows/release.yml@refs/tags/1.0.0";
        const RELEASES: &str = "https://git.test/acme/shop/.github/workflows/release.yml@refs/tags/*";
        const ISSUER: &str = "https://token.git.test";
        const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";

        /// A gate over the signature of whom a trusted root knows as this.
        fn gate(clients: &Clients, authority: &str, (identity, issuer): (&str, &str)) -> String {
            let root = std::fs::read_to_string(clients.trusted_root(authority)).unwrap();
            format!(
                "gates = [\"signed\"]\n[gates]\nsigned = {{ signature = {{ by = [\"release\"] }} }}\n\
                 [signers.release]\nidentity = \"{identity}\"\nissuer = \"{issuer}\"\ntrusted_root = \"own\"\n\
                 [trusted_roots.own]\njson = '''{root}'''\n"
            )
        }

        /// What promo says of a release that was added: the plan, the judgement of its gate with its code, and the release itself.
        struct Told {
            plan: String,
            gate: (String, String),
            show: String,
        }

        fn told(project: &Project) -> Told {
            let run = |words: &[&str]| {
                let end = project.run(words);
                assert_eq!(end.code, Some(0), "{words:?}: {}", end.said);
                end.said
            };
            run(&["release", "add", "app=1.0.0"]);
            let plan = run(&["plan", "prod", "--out", PLAN]);
            let said = run(&["why", "prod", "--format", "json"]);
            let why = serde_json::Deserializer::from_str(&said).into_iter::<Value>().next().unwrap().unwrap();
            let gates = why["gates"].as_array().unwrap().iter().filter(|gate| gate["kind"] == "evidence");
            let reasons = gates.flat_map(|gate| gate["reason"].as_object().unwrap());
            let mut gates: Vec<_> = reasons.map(|(code, said)| (code.clone(), said.to_string())).collect();
            assert_eq!(gates.len(), 1, "{why:#}");
            Told { plan, gate: gates.remove(0), show: run(&["release", "show", "#1"]) }
        }

        /// The same bundle, where what stands in base64 has another byte.
        fn changed(bundle: &[u8], pointer: &str, at: impl Fn(&[u8]) -> usize) -> Vec<u8> {
            let mut bundle: Value = serde_json::from_slice(bundle).unwrap();
            let place = bundle.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}"));
            let mut bytes = STANDARD.decode(place.as_str().unwrap()).unwrap();
            let at = at(&bytes);
            bytes[at] ^= 1;
            *place = STANDARD.encode(bytes).into();
            bundle.to_string().into_bytes()
        }

        fn without(bundle: &[u8], pointer: &str) -> Vec<u8> {
            let mut bundle: Value = serde_json::from_slice(bundle).unwrap();
            *bundle.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = json!([]);
            bundle.to_string().into_bytes()
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn r8_what_an_identity_has_signed_goes_on_and_others_find_it_signed_at_the_destination() {
            let (Some(from), Some(to)) = (Registry::start(), Registry::start()) else { return };
            let clients = Clients::new();
            let source = Place::of(&from, FROM, TAG).await;
            let index = source.what.digest;
            let bundle = clients.signed_as("own", (WORKFLOW, ISSUER), &statement(index, SIGNED), &[]);
            source.attach(BUNDLE, &bundle, index).await;

            let project =
                Project::new(from.address(), to.address(), &[]).and(&gate(&clients, "own", (RELEASES, ISSUER)));
            let told = told(&project);
            assert_eq!(told.gate.0, "evidence-met", "{}", told.gate.1);
            let signed = format!("release ({WORKFLOW})");
            assert!(told.gate.1.contains(&signed), "{}", told.gate.1);
            assert!(told.show.contains(&format!("signed by {signed}")), "{}", told.show);
            let end = project.run(&["apply", PLAN]);
            assert_eq!(end.code, Some(0), "{}", end.said);

            let there = format!("{}/{TO}", to.address());
            assert_eq!(Digest::of(&clients.manifest(&format!("{there}:{TAG}"))), index);
            let list: Value = serde_json::from_slice(&clients.manifest(&format!("{there}:{}", tag(index)))).unwrap();
            let listed = list["manifests"].as_array().unwrap();
            assert_eq!((listed.len(), &listed[0]["artifactType"]), (1, &json!(BUNDLE)), "{list}");
            let (found, _) = clients.first_layer(&format!("{there}@{}", listed[0]["digest"].as_str().unwrap()));
            let opened = clients.opened_by_root(&clients.trusted_root("own"), &found).unwrap();
            assert_eq!(opened, (statement(index, SIGNED), WORKFLOW.to_owned()));
            // Another authority with the same names has signed nothing of it.
            _ = clients.signed_as("other", (WORKFLOW, ISSUER), &statement(index, SIGNED), &[]);
            clients.opened_by_root(&clients.trusted_root("other"), &found).unwrap_err();
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn r8_what_nobody_has_signed_who_is_asked_for_stays_where_it_is() {
            let (Some(from), Some(to)) = (Registry::start(), Registry::start()) else { return };
            let clients = Clients::new();
            let source = Place::of(&from, FROM, TAG).await;
            let (index, platform) = (source.what.digest, source.what.images[1].digest);
            let sign = |of: Digest| clients.signed_as("own", (WORKFLOW, ISSUER), &statement(of, SIGNED), &[]);
            let good = sign(index);
            let others_root = clients.signed_as("other", (WORKFLOW, ISSUER), &statement(index, SIGNED), &[]);
            let test_workflow = "https://git.test/acme/shop/.github/workflows/test.yml@refs/tags/1.0.0";
            let middle = |bytes: &[u8]| bytes.len() / 2;
            let last = |bytes: &[u8]| bytes.len() - 1;
            let entry = |field: &str| format!("/verificationMaterial/tlogEntries/0/{field}");
            // A letter of a name: what was signed can be read as before.
            let name = |bytes: &[u8]| bytes.windows(5).position(|part| part == b"\"app\"").unwrap() + 1;
            let (missing, broken) = ("not signed by release", "the signature of release does not hold");
            // Who it was is told, by a root that is believed.
            let other = format!(
                "{missing} (1 document has another signature or none: signed by {WORKFLOW}, whom {ISSUER} knows)"
            );
            let asked = (RELEASES, ISSUER);
            for (case, bundle, authority, signer, (code, says)) in [
                ("another workflow", good.clone(), "own", (test_workflow, ISSUER), ("evidence-missing", &*other)),
                (
                    "another issuer",
                    good.clone(),
                    "own",
                    (RELEASES, "https://token.git.test/"),
                    ("evidence-missing", &*other),
                ),
                ("another authority", others_root, "own", asked, ("evidence-bad", broken)),
                ("a root of others", good.clone(), "other", asked, ("evidence-bad", broken)),
                ("over one platform", sign(platform), "own", asked, ("evidence-missing", missing)),
                ("over another image", sign(Digest::of(b"another image")), "own", asked, ("evidence-missing", missing)),
                (
                    "in no log",
                    without(&good, "/verificationMaterial/tlogEntries"),
                    "own",
                    asked,
                    ("evidence-bad", broken),
                ),
                (
                    "of another text",
                    changed(&good, "/dsseEnvelope/payload", name),
                    "own",
                    asked,
                    ("evidence-bad", broken),
                ),
                (
                    "another signature",
                    changed(&good, "/dsseEnvelope/signatures/0/sig", last),
                    "own",
                    asked,
                    ("evidence-bad", broken),
                ),
                (
                    "another certificate",
                    changed(&good, "/verificationMaterial/certificate/rawBytes", last),
                    "own",
                    asked,
                    ("evidence-bad", broken),
                ),
                (
                    "another time stamp",
                    changed(
                        &good,
                        "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp",
                        last,
                    ),
                    "own",
                    asked,
                    ("evidence-bad", broken),
                ),
                (
                    "another entry",
                    changed(&good, &entry("canonicalizedBody"), middle),
                    "own",
                    asked,
                    ("evidence-bad", broken),
                ),
                (
                    "another promise of the log",
                    changed(&good, &entry("inclusionPromise/signedEntryTimestamp"), last),
                    "own",
                    asked,
                    ("evidence-bad", broken),
                ),
                (
                    "another proof of the log",
                    changed(&good, &entry("inclusionProof/rootHash"), middle),
                    "own",
                    asked,
                    ("evidence-bad", broken),
                ),
            ] {
                source.attach(BUNDLE, &bundle, index).await;
                let gate = gate(&clients, authority, signer);
                let told = told(&Project::new(from.address(), to.address(), &[]).and(&gate));
                assert_eq!(told.gate.0, code, "{case}: {}", told.gate.1);
                for said in [&told.plan, &told.gate.1] {
                    assert!(said.contains(says), "{case}: {said}");
                }
                // Over something else it holds as well, for that.
                let holds = case.starts_with("over ");
                assert_eq!(told.show.contains(", signed by release"), holds, "{case}: {}", told.show);
                // The client of others refuses it as well, where it is not a matter of whom this gate asks for; where a promise of the log is
                // there, it does not look at the proof.
                let opened = clients.opened_by_root(&clients.trusted_root(authority), &bundle);
                let refuses = code == "evidence-bad" && case != "another proof of the log";
                assert_eq!(opened.is_err(), refuses, "{case}: {opened:?}");
            }
            source.attach(BUNDLE, &good, index).await;
            let gate = gate(&clients, "own", asked);
            assert_eq!(told(&Project::new(from.address(), to.address(), &[]).and(&gate)).gate.0, "evidence-met");
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn r8_a_root_without_logs_goes_by_time_stamps_also_of_certificates_that_have_expired() {
            let (Some(from), Some(to)) = (Registry::start(), Registry::start()) else { return };
            let clients = Clients::new();
            let source = Place::of(&from, FROM, TAG).await;
            let index = source.what.digest;
            let sign = |options: &[&str]| {
                let options = [&["--private"], options].concat();
                clients.signed_as("private", (WORKFLOW, ISSUER), &statement(index, SIGNED), &options)
            };
            let stamps = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps";
            // Certificates are for ten minutes.
            let of_an_hour_ago = sign(&["--ago", "3600"]);
            for (case, bundle, holds) in [
                ("of now", sign(&[]), true),
                ("of now, and nobody says when", without(&sign(&[]), stamps), false),
                ("of an hour ago", of_an_hour_ago.clone(), true),
                ("of an hour ago, and nobody says when", without(&of_an_hour_ago, stamps), false),
                ("stamped when the certificate had expired", sign(&["--ago", "3600", "--late", "1800"]), false),
            ] {
                source.attach(BUNDLE, &bundle, index).await;
                let gate = gate(&clients, "private", (RELEASES, ISSUER));
                let told = told(&Project::new(from.address(), to.address(), &[]).and(&gate));
                let (code, says) = if holds { ("evidence-met", "release") } else { ("evidence-bad", "does not hold") };
                assert_eq!(told.gate.0, code, "{case}: {}", told.gate.1);
                assert!(told.gate.1.contains(says), "{case}: {}", told.gate.1);
                let opened = clients.opened_by_root(&clients.trusted_root("private"), &bundle);
                assert_eq!(opened.is_ok(), holds, "{case}: {opened:?}");
            }
        }

        /// A gate over the signature of whom a key is known by, under these terms, with more in it.
        fn by_key(clients: &Clients, public: &std::path::Path, (terms, more): (&str, &str)) -> String {
            let key = std::fs::read_to_string(public).unwrap();
            let root = if terms.contains("trusted_root") {
                let root = std::fs::read_to_string(clients.trusted_root("own")).unwrap();
                format!("[trusted_roots.own]\njson = '''{root}'''\n")
            } else {
                String::new()
            };
            format!(
                "gates = [\"signed\"]\n[gates]\nsigned = {{ signature = {{ by = [\"release\"]{more} }} }}\n\
                 [signers.release]\nkey = \"\"\"\n{key}\"\"\"\n{terms}\n{root}"
            )
        }

        fn in_seconds(seconds: i64) -> String {
            let at = SystemClock.now() + jiff::SignedDuration::from_secs(seconds);
            jiff::Timestamp::from_second(at.as_second()).unwrap().to_string()
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn r5_3_a_key_that_a_log_must_bear_out_lets_in_with_its_entry_and_nothing_without() {
            let (Some(from), Some(to)) = (Registry::start(), Registry::start()) else { return };
            let clients = Clients::new();
            let ((private, public), (stranger, _)) = (clients.key("release"), clients.key("stranger"));
            let source = Place::of(&from, FROM, TAG).await;
            let index = source.what.digest;
            let sign = |key: &std::path::Path, more: &[&str]| {
                let options = [&["--key", key.to_str().unwrap()], more].concat();
                clients.signed_as("own", (WORKFLOW, ISSUER), &statement(index, SIGNED), &options)
            };
            let good = sign(&private, &[]);
            let of_an_hour_ago = sign(&private, &["--ago", "3600"]);
            let middle = |bytes: &[u8]| bytes.len() / 2;
            let last = |bytes: &[u8]| bytes.len() - 1;
            let entry = |field: &str| format!("/verificationMaterial/tlogEntries/0/{field}");
            let logged = "trusted_root = \"own\"".to_owned();
            let ended = format!("{logged}\nnot_after = {}", in_seconds(-1800));
            let unproven = ("evidence-bad", "no log or time stamp of its trusted root bears it out");
            for (case, bundle, terms, (code, says)) in [
                ("in the log", good.clone(), &logged, ("evidence-met", "release")),
                ("by nobody but openssl", clients.bundle(&private, &statement(index, SIGNED)), &logged, unproven),
                ("in no log", without(&good, "/verificationMaterial/tlogEntries"), &logged, unproven),
                ("another entry", changed(&good, &entry("canonicalizedBody"), middle), &logged, unproven),
                (
                    "another promise",
                    changed(&good, &entry("inclusionPromise/signedEntryTimestamp"), last),
                    &logged,
                    unproven,
                ),
                ("another proof", changed(&good, &entry("inclusionProof/rootHash"), middle), &logged, unproven),
                ("another key", sign(&stranger, &[]), &logged, ("evidence-missing", "not signed by release")),
                ("while the key counted", of_an_hour_ago, &ended, ("evidence-met", "release")),
                ("after the key had ended", good.clone(), &ended, ("evidence-expired", "key-outside-window")),
            ] {
                source.attach(BUNDLE, &bundle, index).await;
                let gate = by_key(&clients, &public, (terms, ""));
                let told = told(&Project::new(from.address(), to.address(), &[]).and(&gate));
                assert_eq!(told.gate.0, code, "{case}: {}", told.gate.1);
                assert!(told.gate.1.contains(says), "{case}: {}", told.gate.1);
            }
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn r5_3_the_end_of_a_key_is_told_in_the_plan_and_bars_its_apply_once_it_has_come() {
            let (Some(from), Some(to)) = (Registry::start(), Registry::start()) else { return };
            let clients = Clients::new();
            let (private, public) = clients.key("release");
            let source = Place::of(&from, FROM, TAG).await;
            let index = source.what.digest;
            source.attach(BUNDLE, &clients.bundle(&private, &statement(index, SIGNED)), index).await;

            let end = in_seconds(60);
            let gate = by_key(&clients, &public, (&format!("not_after = {end}"), ""));
            let project = Project::new(from.address(), to.address(), &[]).and(&gate);
            let told = told(&project);
            assert_eq!(told.gate.0, "evidence-met", "{}", told.gate.1);
            let (day, time) = end.trim_end_matches('Z').split_once('T').unwrap();
            let until = format!("release, the key of release counts until {day} {time} UTC");
            for said in [&told.plan, &told.gate.1] {
                assert!(said.contains(&until), "{until}: {said}");
            }
            let warned = project.run(&["check"]);
            assert!(
                warned.said.contains(&format!("the key of the signer release counts until {day}")),
                "{}",
                warned.said
            );
            let left = end.parse::<jiff::Timestamp>().unwrap().duration_since(SystemClock.now());
            std::thread::sleep(std::time::Duration::try_from(left).unwrap_or_default());
            let applied = project.run(&["apply", PLAN]);
            assert_ne!(applied.code, Some(0), "{}", applied.said);
            assert!(applied.said.contains("the key of release counts until"), "{}", applied.said);
            assert!(applied.said.contains("which is over"), "{}", applied.said);
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn r1_3_where_each_platform_must_be_signed_the_one_that_is_not_is_named() {
            let (Some(from), Some(to)) = (Registry::start(), Registry::start()) else { return };
            let clients = Clients::new();
            let (private, public) = clients.key("release");
            let source = Place::of(&from, FROM, TAG).await;
            let index = source.what.digest;
            let platforms: Vec<Digest> = source.what.images.iter().map(|image| image.digest).collect();
            let gate = by_key(&clients, &public, ("", ", scope = \"each-platform\""));
            let told_now = || told(&Project::new(from.address(), to.address(), &[]).and(&gate));
            let signed = |of: Digest| clients.bundle(&private, &statement(of, SIGNED));
            source.attach(BUNDLE, &signed(index), index).await;
            let lacking = |told: &Told, of: &Digest| told.gate.1.contains(&format!("the platform {of}: not signed"));
            let told = told_now();
            assert_eq!(told.gate.0, "evidence-missing", "the index is none of them: {}", told.gate.1);
            assert!(platforms.iter().all(|one| lacking(&told, one)), "{}", told.gate.1);
            let (one, others) = platforms.split_last().unwrap();
            for other in others {
                source.attach(BUNDLE, &signed(*other), *other).await;
            }
            let told = told_now();
            assert_eq!(told.gate.0, "evidence-missing", "{}", told.gate.1);
            assert!(lacking(&told, one) && !others.iter().any(|other| lacking(&told, other)), "{}", told.gate.1);
            assert!(told.plan.contains(&format!("the platform {one}: not signed by release")), "{}", told.plan);
            source.attach(BUNDLE, &signed(*one), *one).await;
            assert_eq!(told_now().gate.0, "evidence-met");
        }
    }
}
