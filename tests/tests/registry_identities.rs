//! Signatures without a key: the JavaScript client of Sigstore signs an image as somebody whom an issuer knows, promo lets in what they have
//! signed and nothing else, and at the destination that client finds the same. promo is a process of its own, the registries are real ones.

#[cfg(test)]
mod needs_docker_registry {
    mod needs_clients {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        use promo_sdk::Digest;
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
                assert_eq!(told.show.contains("signed by release"), holds, "{case}: {}", told.show);
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
    }
}
