//! The three servers of a control plane: how they are started and stopped. Only `promo-kube` has any.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::connection::{CONTROLLER_MANAGER, Connection};
use super::owner::Owner;
use crate::binary::command;
use crate::certificates;

/// Seen here: 5 s alone, 20 s beside a build.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// etcd, kube-apiserver and kube-controller-manager, which end with the value.
pub(super) struct Servers {
    directory: PathBuf,
    owner: Option<Owner>,
    /// What etcd keeps, in memory.
    data: TempDir,
    programs: Programs,
    connection: Connection,
    port: u16,
    etcd_port: u16,
    etcd: Option<Child>,
    api_server: Option<Child>,
    controller_manager: Option<Child>,
}

/// Where they are.
struct Programs {
    etcd: PathBuf,
    api_server: PathBuf,
    controller_manager: PathBuf,
    /// The minor version of Kubernetes.
    minor: u32,
}

impl Programs {
    fn find() -> Result<Self, String> {
        let named =
            |variable: &str, program: &str| std::env::var_os(variable).map_or_else(|| program.into(), PathBuf::from);
        let api_server = named("PROMO_COMPONENT_KUBERNETES", "kube-apiserver");
        let controller_manager = api_server.with_file_name("kube-controller-manager");
        let says = command(&api_server).arg("--version").output();
        let says = says.map_err(|error| format!("{}: {error}", api_server.display()))?;
        let says = String::from_utf8_lossy(&says.stdout).into_owned();
        // `Kubernetes v1.20.2`
        let minor = says.trim().split('.').nth(1).and_then(|minor| minor.parse().ok());
        let minor = minor.ok_or_else(|| format!("{} says that it is {says:?}", api_server.display()))?;
        Ok(Self { etcd: named("PROMO_COMPONENT_ETCD", "etcd"), api_server, controller_manager, minor })
    }
}

impl Programs {
    /// What they offer only where they are told to, and later versions always do: finished Jobs go away by themselves.
    fn gates(&self) -> Option<&'static str> {
        (self.minor < 21).then_some("--feature-gates=TTLAfterFinished=true")
    }
}

impl Servers {
    /// Starts them with what they need in `directory`, and waits until the API server answers or the owner is gone.
    pub(super) fn start(directory: &Path, owner: Option<Owner>) -> Result<Self, String> {
        let programs = Programs::find()?;
        let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
        // In memory where that can be had: it writes every object several times.
        let data = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).map_err(failed)?;
        fs::write(directory.join("data"), data.path().as_os_str().as_encoded_bytes()).map_err(failed)?;
        certificates::certify(directory);
        let service_accounts = rcgen::KeyPair::generate().map_err(|error| error.to_string())?;
        fs::write(directory.join("service-accounts.key"), service_accounts.serialize_pem()).map_err(failed)?;
        fs::write(directory.join("service-accounts.pub"), service_accounts.public_key_pem()).map_err(failed)?;
        let [port, etcd_port] = free_ports().map_err(failed)?;
        let authority = fs::read_to_string(directory.join("ca.pem")).map_err(failed)?;
        let connection = Connection::new(port, authority, directory.join("audit.log"));
        fs::write(directory.join("audit.yaml"), super::audit::policy()).map_err(failed)?;
        fs::write(directory.join("tokens.csv"), connection.token_file()).map_err(failed)?;
        let kubeconfig = connection.kubeconfig(CONTROLLER_MANAGER, "default");
        fs::write(directory.join("controller-manager.kubeconfig"), kubeconfig).map_err(failed)?;
        let mut servers = Self {
            directory: directory.to_owned(),
            owner,
            data,
            programs,
            connection,
            port,
            etcd_port,
            etcd: None,
            api_server: None,
            controller_manager: None,
        };
        servers.start_etcd()?;
        servers.start_api_server()?;
        servers.start_controller_manager()?;
        Ok(servers)
    }

    /// How one talks to it.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    fn start_etcd(&mut self) -> Result<(), String> {
        let address = format!("http://127.0.0.1:{}", self.etcd_port);
        let mut etcd = self.server(&self.programs.etcd, "etcd")?;
        etcd.arg("--data-dir").arg(self.data.path().join("etcd"));
        etcd.args(["--listen-client-urls", &address, "--advertise-client-urls", &address]);
        // It is alone: nobody comes to this door, which it takes on any free port.
        etcd.args(["--listen-peer-urls", "http://127.0.0.1:0", "--unsafe-no-fsync", "--log-level", "warn"]);
        self.etcd = Some(etcd.spawn().map_err(|error| format!("{}: {error}", self.programs.etcd.display()))?);
        // The API server tries at once, and then again after a second.
        let deadline = Instant::now() + READY_WITHIN;
        while TcpStream::connect(("127.0.0.1", self.etcd_port)).is_err() {
            self.check_waiting()?;
            if Instant::now() > deadline {
                return Err(format!("etcd does not listen after {READY_WITHIN:?}: {}", self.log("etcd")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Starts the API server, where it was before if it was there, and waits until it answers.
    pub(super) fn start_api_server(&mut self) -> Result<(), String> {
        if self.api_server.is_some() {
            return Ok(());
        }
        let path = |name: &str| self.directory.join(name);
        let mut server = self.server(&self.programs.api_server, "kube-apiserver")?;
        server.arg(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port));
        server.arg(format!("--secure-port={}", self.port));
        server.args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"]);
        server.args([
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
        ]);
        server.args(self.programs.gates());
        // The node's name means nothing here.
        server.arg("--kubelet-preferred-address-types=InternalIP");
        server.arg("--service-account-issuer=https://kubernetes.test");
        for (flag, file) in [
            ("cert-dir", "."),
            ("tls-cert-file", "server.pem"),
            ("tls-private-key-file", "server.key"),
            ("client-ca-file", "ca.pem"),
            ("token-auth-file", "tokens.csv"),
            ("service-account-key-file", "service-accounts.pub"),
            ("service-account-signing-key-file", "service-accounts.key"),
            ("audit-policy-file", "audit.yaml"),
            ("audit-log-path", "audit.log"),
        ] {
            server.arg(format!("--{flag}={}", path(file).display()));
        }
        self.api_server =
            Some(server.spawn().map_err(|error| format!("{}: {error}", self.programs.api_server.display()))?);
        self.wait_for_api_server()
    }

    /// Kills the API server.
    pub(super) fn stop_api_server(&mut self) {
        end(&mut self.api_server);
    }

    fn start_controller_manager(&mut self) -> Result<(), String> {
        let path = |name: &str| self.directory.join(name);
        let mut manager = self.server(&self.programs.controller_manager, "kube-controller-manager")?;
        for (flag, file) in [
            ("kubeconfig", "controller-manager.kubeconfig"),
            ("service-account-private-key-file", "service-accounts.key"),
            ("root-ca-file", "ca.pem"),
        ] {
            manager.arg(format!("--{flag}={}", path(file).display()));
        }
        manager.args(["--leader-elect=false", "--use-service-account-credentials=true", "--secure-port=0"]);
        // It asks 20 times a second by itself, and takes 4 s to start its controllers.
        manager.args(["--kube-api-qps=1000", "--kube-api-burst=2000"]);
        if self.programs.minor < 22 {
            manager.arg("--port=0");
        }
        manager.args(self.programs.gates());
        let started = manager.spawn();
        let failed = |error| format!("{}: {error}", self.programs.controller_manager.display());
        self.controller_manager = Some(started.map_err(failed)?);
        Ok(())
    }

    /// A server of this directory, which the kernel kills when this process is gone.
    fn server(&self, program: &Path, name: &str) -> Result<Command, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.directory.display());
        let log = self.directory.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(log).map_err(failed)?;
        let mut server = command(std::env::current_exe().map_err(failed)?);
        server.args(super::server::tied()).arg(program).current_dir(&self.directory).stdin(Stdio::null());
        server.stdout(log.try_clone().map_err(failed)?).stderr(log);
        Ok(server)
    }

    fn wait_for_api_server(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + READY_WITHIN;
        let connection = self.connection.clone();
        while !super::server::block_on(ready(&connection)) {
            self.check_waiting()?;
            if Instant::now() > deadline {
                return Err(format!(
                    "kube-apiserver is not ready after {READY_WITHIN:?}: {}",
                    self.log("kube-apiserver")
                ));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Tells why there is nothing to wait for.
    fn check_waiting(&mut self) -> Result<(), String> {
        if self.owner.is_some_and(|owner| !owner.lives()) {
            return Err("the owner is gone".into());
        }
        self.check()
    }

    /// Tells of a server that ended by itself.
    pub(super) fn check(&mut self) -> Result<(), String> {
        let all = [
            ("etcd", &mut self.etcd),
            ("kube-apiserver", &mut self.api_server),
            ("kube-controller-manager", &mut self.controller_manager),
        ];
        let ended = all.into_iter().find_map(|(name, child)| Some((name, child.as_mut()?.try_wait().ok()??)));
        ended.map_or(Ok(()), |(name, status)| Err(format!("{name} ended ({status}): {}", self.log(name))))
    }

    /// The end of what a server said.
    fn log(&self, name: &str) -> String {
        let text = fs::read(self.directory.join(format!("{name}.log"))).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        end(&mut self.controller_manager);
        // Before etcd: without it the API server waits.
        end(&mut self.api_server);
        end(&mut self.etcd);
    }
}

fn end(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        // One that has ended already is what is wanted.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Ports that were free a moment ago. Somebody else may take one before its server does, which then ends and says so.
fn free_ports() -> std::io::Result<[u16; 2]> {
    let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    Ok([listeners[0].local_addr()?.port(), listeners[1].local_addr()?.port()])
}

async fn ready(connection: &Connection) -> bool {
    let client = connection.client(super::ADMIN).await;
    let request = axum::http::Request::get("/readyz").body(Vec::new()).expect("a path");
    let answer = tokio::time::timeout(Duration::from_secs(2), client.request_text(request)).await;
    answer.is_ok_and(|answer| answer.is_ok_and(|text| text == "ok"))
}
