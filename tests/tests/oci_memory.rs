//! How much memory a copy takes: as much for large blobs as for small ones (R31; registry.md 1.4). promo is a process of its
//! own, and the kernel says how large it ever was. What must not live here: times.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::sync::Arc;

use promo_providers::oci::build::{self, Image};
use promo_providers::oci::{Network, Store};
use promo_tests::copying::{FROM, PLAN, Project, TAG};
use promo_tests::oci_registry::{Behaviour, OciRegistry};

const MIB: usize = 1 << 20;
/// What a copy may take more than one of almost nothing: the buffers of its connections. How much the program itself takes
/// depends on how it was built; the bar of 40 MB in all is that of an optimised build, which `cargo xtask bench` measures.
const BUFFERS: usize = 24 * MIB;
/// What the same copy may take more where its blobs are larger: not one of them.
const SPREAD: usize = 16 * MIB;

/// The most that a process had in memory, in bytes: `VmHWM` of proc(5), as long as there is one.
fn peak(process: u32) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()? * 1024)
}

/// The peak of an apply that copies four layers of this size, in chunks of so many bytes or each in one request.
async fn copied(size: usize, chunk: Option<usize>) -> usize {
    let [source, destination] = [(); 2].map(|()| OciRegistry::start(Behaviour::default()));
    let (source, destination) = (source.await, destination.await);
    let http = promo_sdk::http_clients().no_proxy().build().unwrap();
    let network = Network::new(http, source.clock());
    let store = Store::Registry(network.repository(source.address(), FROM).unwrap());
    let layers = (0..4).map(|seed| vec![seed; size]).collect();
    let image = Image { platforms: vec!["linux/amd64".into()], ..Image::new([], layers) };
    build::image(&store, TAG, &image).await.unwrap();
    let settings = tempfile::tempdir().unwrap();
    let file = settings.path().join("registries.toml");
    let chunk = chunk.map_or_else(String::new, |chunk| format!("chunk = {chunk}\n"));
    std::fs::write(&file, format!("format = 1\n[registry.\"{}\"]\n{chunk}", destination.address())).unwrap();
    let variables = [("PROMO_REGISTRIES", file.to_str().unwrap()), ("PROMO_LEASE_TTL", "60s")];
    let project = Arc::new(Project::new(source.address(), destination.address(), &variables));
    tokio::task::spawn_blocking(move || {
        project.prepare();
        let mut child = project.command(&["apply", PLAN]).spawn().unwrap();
        let mut most = 0;
        let status = loop {
            // It only ever grows, and is gone with the process.
            most = peak(child.id()).unwrap_or(0).max(most);
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        };
        assert!(status.success(), "{:?}", child.wait_with_output());
        most
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn r31_a_copy_of_large_blobs_takes_no_more_memory_than_one_of_small_ones() {
    for chunk in [None, Some(8 * MIB)] {
        let nothing = copied(4096, chunk).await;
        let (small, large) = (copied(16 * MIB, chunk).await, copied(64 * MIB, chunk).await);
        assert!(nothing > MIB, "it was measured: {nothing}");
        let told =
            format!("chunk {chunk:?}: {nothing} bytes for next to nothing, {small}, and {large} for large blobs");
        assert!(large < small + SPREAD && large < nothing + BUFFERS, "{told}");
    }
}
