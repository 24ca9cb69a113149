//! Real registries that let in only who proves who they are: passwords behind TLS, tokens, helpers.

#[cfg(test)]
mod needs_docker_registry {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;

    use base64::Engine as _;
    use promo_engine::process::Processes;
    use promo_providers::oci::build::{self, Image};
    use promo_providers::oci::{
        Copy, CopyReport, Layout, Limits, Network, OciError, RegistrySettings, Resolved, Settings, Store, copy,
        resolve_digest, verify,
    };
    use promo_sdk::{Context, Secrets};
    use promo_tests::copying::{FROM, PLAN, Project, TAG, TO};
    use promo_tests::registry::{Door, LOGIN, Registry};
    use promo_tests::token_server::{IDENTITY, TokenServer};
    use secrecy::SecretString;

    struct Variables(BTreeMap<String, String>);

    impl Secrets for Variables {
        fn get(&self, name: &str) -> Option<SecretString> {
            self.variable(&format!("PROMO_SECRET_{}", name.to_uppercase()))
        }

        fn variable(&self, name: &str) -> Option<SecretString> {
            self.0.get(name).map(|value| value.as_str().into())
        }
    }

    fn context(root: &Path, variables: &[(&str, &str)]) -> Context {
        let mut cx = promo_sdk::testing::context(root);
        cx.secrets = Arc::new(Variables(variables.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()));
        cx.processes = Arc::new(Processes::default());
        cx
    }

    fn basic(registry: &Registry, password: &str) -> String {
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{}:{password}", LOGIN.0));
        format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, registry.address())
    }

    fn trusting(registry: &Registry) -> Settings {
        let settings = RegistrySettings { ca: Some(registry.ca()), ..RegistrySettings::default() };
        [(registry.address().to_string(), settings)].into_iter().collect()
    }

    fn at(network: &Network, registry: &Registry, repository: &str) -> Store {
        Store::Registry(network.repository(registry.address(), repository).unwrap())
    }

    /// An image in a layout: two configurations and `layers` layers.
    async fn built(root: &Path, layers: usize) -> (Store, Resolved) {
        let layout = Store::Layout(Layout::new(root.join("images"), "oci-layout:images"));
        let layer = |n: usize| (0..100_000).map(|i| (i * 31 + n * 7 + i / 251) as u8).collect();
        let image = Image::new([("org.opencontainers.image.version", "1")], (0..layers).map(layer).collect());
        let digest = build::image(&layout, "1.0.0", &image).await.unwrap();
        let what = resolve_digest(&layout, &digest, &Limits::default()).await.unwrap();
        (layout, what)
    }

    async fn bring(source: &Store, destination: &Store, what: &Resolved) -> Result<CopyReport, OciError> {
        let limits = Limits::default();
        copy(Copy { source, source_tag: None, destination, resolved: what, tags: &["1.0.0"], limits }).await
    }

    #[tokio::test]
    async fn an_image_goes_behind_tls_and_a_password_and_comes_back_whole() {
        let Some(registry) = Registry::behind(Door::Password, true) else { return };
        let directory = tempfile::tempdir().unwrap();
        let auth = basic(&registry, LOGIN.1);
        let cx = context(directory.path(), &[("DOCKER_AUTH_CONFIG", &auth)]);
        let network = Network::of(&cx).unwrap().with_settings(trusting(&registry));
        let (layout, what) = built(directory.path(), 3).await;
        let there = at(&network, &registry, "team/app");
        let report = bring(&layout, &there, &what).await.unwrap();
        assert_eq!((report.blobs_copied, report.manifests, report.tags), (5, 2, 1));
        assert_eq!(verify(&there, &what.digest, &Limits::default()).await.unwrap(), what);
        // The first request asks what is wanted; every other one is let in.
        let refused = registry.requests().iter().filter(|r| r.status == 401).count();
        assert_eq!(refused, 1);
    }

    #[tokio::test]
    async fn who_is_not_trusted_or_not_known_is_named_and_nothing_is_written() {
        let Some(registry) = Registry::behind(Door::Password, true) else { return };
        let directory = tempfile::tempdir().unwrap();
        let (layout, what) = built(directory.path(), 1).await;
        // No certificate: loopback is spoken to in plain http then, so https is asked for.
        let cx = context(directory.path(), &[("DOCKER_AUTH_CONFIG", &basic(&registry, LOGIN.1))]);
        let https = RegistrySettings { plain_http: Some(false), ..RegistrySettings::default() };
        let settings: Settings = [(registry.address().to_string(), https)].into_iter().collect();
        let network = Network::of(&cx).unwrap().with_settings(settings);
        let error = bring(&layout, &at(&network, &registry, "app"), &what).await.unwrap_err();
        assert!(matches!(error, OciError::Certificate { .. }) && !error.is_transient(), "{error:?}");

        for (auth, source) in [(basic(&registry, "wrong"), "DOCKER_AUTH_CONFIG"), ("{}".into(), "no credentials")] {
            let cx = context(directory.path(), &[("DOCKER_AUTH_CONFIG", &auth)]);
            let network = Network::of(&cx).unwrap().with_settings(trusting(&registry));
            let error = bring(&layout, &at(&network, &registry, "app"), &what).await.unwrap_err();
            assert!(matches!(error, OciError::Unauthorized { .. }), "{error:?}");
            assert!(error.to_string().contains(source) && !error.to_string().contains("wrong"), "{error}");
        }
        assert!(registry.requests().iter().all(|r| r.status == 401 && !r.writes()));
    }

    #[tokio::test]
    async fn certificates_and_credentials_are_found_where_the_other_tools_keep_them() {
        let Some(registry) = Registry::behind(Door::Password, true) else { return };
        let home = tempfile::tempdir().unwrap();
        let certificates = home.path().join(".config/containers/certs.d").join(registry.address());
        std::fs::create_dir_all(&certificates).unwrap();
        std::fs::copy(registry.ca(), certificates.join("ca.crt")).unwrap();
        std::fs::create_dir_all(home.path().join(".docker")).unwrap();
        // A helper on the PATH of the run answers on its output, as docker's helpers do.
        let helper = home.path().join("docker-credential-promotest");
        let script = format!(
            "#!/bin/sh\nread -r server\n[ \"$1 $server\" = 'get {}' ] || exit 1\nprintf '%s' '{}'\n",
            registry.address(),
            format_args!(r#"{{"ServerURL":"x","Username":"{}","Secret":"{}"}}"#, LOGIN.0, LOGIN.1)
        );
        std::fs::write(&helper, script).unwrap();
        let mut mode = std::fs::metadata(&helper).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
        std::fs::set_permissions(&helper, mode).unwrap();
        let config = format!(r#"{{"credHelpers":{{"{}":"promotest"}}}}"#, registry.address());
        std::fs::write(home.path().join(".docker/config.json"), config).unwrap();

        let mut cx = context(home.path(), &[("HOME", &home.path().display().to_string())]);
        cx.processes = Arc::new(WithPath(home.path().display().to_string()));
        let network = Network::of(&cx).unwrap();
        let said = network.probe(registry.address(), "app").await.unwrap();
        assert!(said.contains("docker-credential-promotest") && !said.contains(LOGIN.1), "{said}");
        assert_eq!(at(&network, &registry, "app").head_tag("1.0.0").await.unwrap(), None);
    }

    /// The engine's runner with one more directory on the `PATH`.
    struct WithPath(String);

    #[async_trait::async_trait]
    impl promo_sdk::ProcessRunner for WithPath {
        async fn run(
            &self,
            mut request: promo_sdk::ProcessRequest,
        ) -> Result<promo_sdk::Output, promo_sdk::ProviderError> {
            let path = format!("{}:{}", self.0, std::env::var("PATH").unwrap_or_default());
            request.environment.insert("PATH".into(), path);
            Processes::default().run(request).await
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_copy_within_a_registry_with_tokens_is_mounted_and_asks_for_one_token_to_write() {
        let tokens = TokenServer::start(&[]).await;
        let Some(registry) = Registry::behind(Door::Token(&tokens), false) else { return };
        let directory = tempfile::tempdir().unwrap();
        let cx = context(directory.path(), &[("DOCKER_AUTH_CONFIG", &basic(&registry, LOGIN.1))]);
        let (layout, what) = built(directory.path(), 3).await;
        bring(&layout, &at(&Network::of(&cx).unwrap(), &registry, "dev/app"), &what).await.unwrap();

        // Another run knows nothing of the first.
        let (asked, seen) = (tokens.journal().len(), registry.requests().len());
        let network = Network::of(&cx).unwrap();
        let report =
            bring(&at(&network, &registry, "dev/app"), &at(&network, &registry, "prod/app"), &what).await.unwrap();
        assert_eq!((report.blobs_mounted, report.blobs_copied, report.bytes), (5, 0, 0));
        let scopes: Vec<_> = tokens.journal()[asked..].iter().map(|a| a.scopes.join(" ")).collect();
        assert!(scopes.contains(&"repository:dev/app:pull repository:prod/app:pull,push".to_string()), "{scopes:?}");
        assert!(scopes.len() <= 3, "{scopes:?}");
        let later = &registry.requests()[seen..];
        assert_eq!(later.iter().filter(|r| r.status == 401).count(), 1, "{later:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_mount_that_is_not_allowed_becomes_an_upload() {
        let tokens = TokenServer::start(&["secret/app"]).await;
        let Some(registry) = Registry::behind(Door::Token(&tokens), false) else { return };
        let directory = tempfile::tempdir().unwrap();
        let cx = context(directory.path(), &[("DOCKER_AUTH_CONFIG", &basic(&registry, LOGIN.1))]);
        let network = Network::of(&cx).unwrap();
        let (layout, what) = built(directory.path(), 1).await;
        let error = bring(&layout, &at(&network, &registry, "secret/app"), &what).await.unwrap_err();
        assert!(matches!(error, OciError::Unauthorized { .. }), "{error:?}");
        let report = bring(&layout, &at(&network, &registry, "open/app"), &what).await.unwrap();
        assert_eq!(report.blobs_copied, 3);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_identity_token_is_exchanged_for_tokens() {
        let tokens = TokenServer::start(&[]).await;
        let Some(registry) = Registry::behind(Door::Token(&tokens), false) else { return };
        let directory = tempfile::tempdir().unwrap();
        let auth = format!(r#"{{"auths":{{"{}":{{"identitytoken":"{IDENTITY}"}}}}}}"#, registry.address());
        let cx = context(directory.path(), &[("DOCKER_AUTH_CONFIG", &auth)]);
        let (layout, what) = built(directory.path(), 1).await;
        bring(&layout, &at(&Network::of(&cx).unwrap(), &registry, "app"), &what).await.unwrap();
        assert!(tokens.journal().iter().all(|asked| asked.method == "POST"));
        let auth = auth.replace(IDENTITY, "another");
        let cx = context(directory.path(), &[("DOCKER_AUTH_CONFIG", &auth)]);
        let error = at(&Network::of(&cx).unwrap(), &registry, "app").head_tag("1.0.0").await.unwrap_err();
        assert!(matches!(error, OciError::Unauthorized { .. }) && !error.to_string().contains("another"), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s13_5_a_registry_with_tls_may_not_name_a_token_server_without() {
        let tokens = TokenServer::start(&[]).await;
        let Some(registry) = Registry::behind(Door::Token(&tokens), true) else { return };
        let directory = tempfile::tempdir().unwrap();
        let cx = context(directory.path(), &[("DOCKER_AUTH_CONFIG", &basic(&registry, LOGIN.1))]);
        let network = Network::of(&cx).unwrap().with_settings(trusting(&registry));
        let error = at(&network, &registry, "app").head_tag("1.0.0").await.unwrap_err();
        assert!(matches!(error, OciError::ForeignAddress { .. }), "{error:?}");
        assert_eq!(tokens.journal(), []);
    }

    /// Trust belongs to an address: a token server with an authority of its own has an entry of its own.
    #[tokio::test(flavor = "multi_thread")]
    async fn tokens_are_had_behind_tls_from_a_server_with_an_authority_of_its_own() {
        let tokens = TokenServer::start(&[]).await.encrypted().await;
        let Some(registry) = Registry::behind(Door::Token(&tokens), true) else { return };
        let directory = tempfile::tempdir().unwrap();
        let cx = context(directory.path(), &[("DOCKER_AUTH_CONFIG", &basic(&registry, LOGIN.1))]);
        let (layout, what) = built(directory.path(), 1).await;
        // Whoever trusts the registry alone does not tell its password to a server that anybody could be.
        let network = Network::of(&cx).unwrap().with_settings(trusting(&registry));
        let error = bring(&layout, &at(&network, &registry, "app"), &what).await.unwrap_err();
        assert!(matches!(error, OciError::Certificate { .. }) && !error.is_transient(), "{error:?}");
        assert_eq!(tokens.journal(), []);

        let own = directory.path().join("tokens-ca.pem");
        std::fs::write(&own, tokens.ca().unwrap()).unwrap();
        let place = tokens.realm().trim_start_matches("https://").trim_end_matches("/token").to_string();
        let entries = [(registry.address().to_string(), registry.ca()), (place, own)];
        let with = |ca| RegistrySettings { ca: Some(ca), ..RegistrySettings::default() };
        let settings: Settings = entries.into_iter().map(|(place, ca)| (place, with(ca))).collect();
        let network = Network::of(&cx).unwrap().with_settings(settings);
        let there = at(&network, &registry, "app");
        assert_eq!(bring(&layout, &there, &what).await.unwrap().blobs_copied, 3);
        assert_eq!(verify(&there, &what.digest, &Limits::default()).await.unwrap(), what);
        assert!(!tokens.journal().is_empty());
    }

    /// promo as a process of its own promotes within a registry behind a door, and is refused with another password.
    async fn promoted_behind_a_door(registry: &Registry, plain_http: bool) {
        let directory = tempfile::tempdir().unwrap();
        let auth = basic(registry, LOGIN.1);
        let cx = context(directory.path(), &[("DOCKER_AUTH_CONFIG", &auth)]);
        let settings = if plain_http { Settings::default() } else { trusting(registry) };
        let network = Network::of(&cx).unwrap().with_settings(settings);
        let (layout, what) = built(directory.path(), 3).await;
        bring(&layout, &at(&network, registry, FROM), &what).await.unwrap();
        let (file, address) = (directory.path().join("registries.toml"), registry.address());
        let ca = if plain_http { String::new() } else { format!("ca = '{}'\n", registry.ca().display()) };
        std::fs::write(&file, format!("format = 1\n[registry.\"{address}\"]\n{ca}")).unwrap();
        let file = file.display().to_string();
        let login =
            |auth: &str| Project::new(address, address, &[("DOCKER_AUTH_CONFIG", auth), ("PROMO_REGISTRIES", &file)]);
        let project = login(&auth);
        tokio::task::block_in_place(|| project.prepare());

        // Who does not know the password is refused by name, at plan and at apply, and writes nothing.
        let before = registry.requests().len();
        let stranger = project.with(&[("DOCKER_AUTH_CONFIG", &basic(registry, "wrong"))]);
        for words in [&["plan", "prod"][..], &["apply", PLAN]] {
            let end = tokio::task::block_in_place(|| stranger.run(words));
            assert_eq!((end.code, end.error.as_deref()), (Some(1), Some("provider-denied")), "{}", end.said);
            assert!(end.said.contains("DOCKER_AUTH_CONFIG") && !end.said.contains("wrong"), "{}", end.said);
        }
        assert!(registry.requests()[before..].iter().all(|request| !request.writes()));

        // The machine trusts nobody by itself: what the settings name is enough, and plain http needs nothing.
        let known = stranger.with(&[("DOCKER_AUTH_CONFIG", &auth), ("SSL_CERT_FILE", "/dev/null")]);
        let end = tokio::task::block_in_place(|| known.run(&["apply", PLAN]));
        assert_eq!(end.code, Some(0), "{}", end.said);
        let there = at(&network, registry, TO);
        assert_eq!(there.head_tag(TAG).await.unwrap().unwrap().digest, what.digest);
        assert_eq!(verify(&there, &what.digest, &Limits::default()).await.unwrap(), what);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn promo_plans_and_applies_behind_tls_and_a_password() {
        let Some(registry) = Registry::behind(Door::Password, true) else { return };
        promoted_behind_a_door(&registry, false).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn promo_plans_and_applies_behind_a_token_server() {
        let server = TokenServer::start(&[]).await;
        let Some(registry) = Registry::behind(Door::Token(&server), false) else { return };
        promoted_behind_a_door(&registry, true).await;
        // One token allows what is mounted from where.
        let mounts = |scope: &String| scope.starts_with(&format!("repository:{FROM}:"));
        let both =
            |asked: &&promo_tests::token_server::Asked| asked.scopes.len() > 1 && asked.scopes.iter().any(mounts);
        assert!(server.journal().iter().any(|asked| both(&asked)), "{:?}", server.journal());
    }

    /// What promo says at a registry that demands a certificate, with these words in `registries.toml` beside `ca`.
    fn showing(registry: &Registry, words: &str, variables: &[(&str, &str)]) -> (tempfile::TempDir, Project) {
        with_authority(registry, &registry.ca(), words, variables)
    }

    /// The same with another file as `ca`.
    fn with_authority(
        registry: &Registry,
        authority: &std::path::Path,
        words: &str,
        variables: &[(&str, &str)],
    ) -> (tempfile::TempDir, Project) {
        let directory = tempfile::tempdir().unwrap();
        let (file, address) = (directory.path().join("registries.toml"), registry.address());
        let text = format!("format = 1\n[registry.\"{address}\"]\nca = '{}'\n{words}", authority.display());
        std::fs::write(&file, text).unwrap();
        let file = file.display().to_string();
        let project = Project::new(address, address, &[("PROMO_REGISTRIES", &file)]);
        (directory, project.with(variables))
    }

    fn shown([certificate, key]: &[std::path::PathBuf; 2]) -> String {
        format!("certificate = '{}'\nkey = '{}'\n", certificate.display(), key.display())
    }

    /// An image in a registry that demands a certificate.
    async fn filled(registry: &Registry) -> Resolved {
        let directory = tempfile::tempdir().unwrap();
        let [certificate, key] = registry.client().map(Some);
        let settings = RegistrySettings { ca: Some(registry.ca()), certificate, key, ..RegistrySettings::default() };
        let settings: Settings = [(registry.address().to_string(), settings)].into_iter().collect();
        let network = Network::of(&context(directory.path(), &[])).unwrap().with_settings(settings);
        let (layout, what) = built(directory.path(), 1).await;
        bring(&layout, &at(&network, registry, FROM), &what).await.unwrap();
        verify(&at(&network, registry, FROM), &what.digest, &Limits::default()).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_registry_that_demands_a_certificate_is_reached_with_it() {
        let Some(registry) = Registry::behind(Door::Certificate, true) else { return };
        let what = filled(&registry).await;
        let named = showing(&registry, &shown(&registry.client()), &[]);
        // The same where the other tools keep it, and what the file names comes first.
        let config = tempfile::tempdir().unwrap();
        let place = config.path().join("containers/certs.d").join(registry.address());
        std::fs::create_dir_all(&place).unwrap();
        let [certificate, key] = registry.client();
        std::fs::copy(certificate, place.join("promo.cert")).unwrap();
        std::fs::copy(key, place.join("promo.key")).unwrap();
        let config = config.path().display().to_string();
        let kept = showing(&registry, "", &[("XDG_CONFIG_HOME", &config)]);
        for (_directory, project) in [named, kept] {
            let _ = std::fs::remove_dir_all(registry.content().join("repositories").join(TO));
            tokio::task::block_in_place(|| {
                project.prepare();
                let end = project.run(&["apply", PLAN]);
                assert_eq!(end.code, Some(0), "{}", end.said);
            });
            assert_eq!(registry.held(TO), registry.held(FROM));
            assert_eq!(registry.held(TO).tags[TAG], what.digest.to_string());
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_registry_that_demands_a_certificate_refuses_who_has_none_or_that_of_a_stranger_at_once() {
        let Some(registry) = Registry::behind(Door::Certificate, true) else { return };
        filled(&registry).await;
        let directory = tempfile::tempdir().unwrap();
        let stranger = ["stranger.pem", "stranger.key"].map(|name| directory.path().join(name));
        let made = rcgen::generate_simple_self_signed(["client.test".to_string()]).unwrap();
        std::fs::write(&stranger[0], made.cert.pem()).unwrap();
        std::fs::write(&stranger[1], made.signing_key.serialize_pem()).unwrap();
        let before = registry.requests().len();
        for words in [String::new(), shown(&stranger)] {
            let (_directory, project) = showing(&registry, &words, &[]);
            let end = tokio::task::block_in_place(|| project.run(&["release", "add", &format!("app={TAG}")]));
            assert_eq!((end.code, end.error.as_deref()), (Some(1), Some("provider-denied")), "{words}: {}", end.said);
            assert!(end.said.contains("lets in only who shows a certificate"), "{}", end.said);
        }
        // A key that is not the certificate's is no way in, and says which file it is.
        let (_directory, project) =
            showing(&registry, &shown(&[registry.client()[0].clone(), stranger[1].clone()]), &[]);
        let end = tokio::task::block_in_place(|| project.run(&["release", "add", &format!("app={TAG}")]));
        assert_eq!(end.code, Some(1), "{}", end.said);
        assert!(end.said.contains("stranger.key"), "{}", end.said);
        // An authority that is PEM and no certificate is at fault itself, not what promo shows beside it.
        let nonsense = directory.path().join("nonsense.pem");
        std::fs::write(&nonsense, "-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n").unwrap();
        let (_directory, project) = with_authority(&registry, &nonsense, &shown(&registry.client()), &[]);
        let end = tokio::task::block_in_place(|| project.run(&["release", "add", &format!("app={TAG}")]));
        assert_eq!(end.code, Some(1), "{}", end.said);
        assert!(end.said.contains("an authority that cannot be used"), "{}", end.said);
        assert!(!end.said.contains("no key that fits"), "{}", end.said);
        assert_eq!(registry.requests().len(), before, "nobody got as far as a request");
    }
}
