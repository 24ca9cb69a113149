//! What every store must do, as one suite: each backend runs it, so that none is a little different. It panics at the
//! first thing that is wrong. What must not live here: what only one backend can do.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::ids::{EnvironmentName, ReleaseId};
use promo_core::ledger::event::{Movement, RunOutcome};
use promo_core::ledger::record::{Actor, ActorKind};
use promo_core::ledger::{Draft, Event};

use crate::error::{AppendError, LeaseError};
use crate::store::{Expect, RawRecord, Store};
use crate::tree;
use crate::verify::{verify, verify_against};

/// Opens one ledger again and again.
pub type Opener = Box<dyn Fn() -> Box<dyn Store> + Send + Sync>;

const RACERS: usize = 16;
const LONG: Duration = Duration::from_secs(600);

/// Runs the whole suite. Every call of `make` begins a new, empty ledger; every call of what it returns opens that one.
///
/// # Panics
/// When the store does not do what it must.
pub fn run(make: impl Fn() -> Opener) {
    empty(&*make()());
    appends_chain_and_reopen(&make());
    a_lost_reply_is_recognised(&*make()());
    nothing_happens_by_halves(&*make()());
    generations_count_and_are_fenced(&*make()());
    plans_and_approvals_are_used_once(&*make()());
    invalid_drafts_are_refused(&*make()());
    races_have_one_winner(&make);
    leases_exclude_and_fence(&*make()());
    leases_expire(&*make()());
    blobs(&make());
    private_texts_can_be_erased(&make());
    proofs(&*make()());
}

/// A draft of `event` for pipeline `shop`, as the suite writes it; a kit for the tests of this crate and of those above.
///
/// # Panics
/// Never: its names are names.
#[must_use]
pub fn draft(rid: &str, event: Event) -> Draft {
    Draft {
        rid: rid.to_owned(),
        pipeline: "shop".parse().expect("invariant: a name"),
        environment: None,
        run: None,
        step: None,
        epoch: None,
        plan: None,
        policy: None,
        actor: Actor { name: "ana".to_owned(), kind: ActorKind::Human },
        claimed_at: Timestamp::UNIX_EPOCH,
        tool: "0.1.0".to_owned(),
        event,
        private: BTreeMap::new(),
    }
}

/// A record that moves `environment`: its run is `run-` and the record's id.
///
/// # Panics
/// When `environment` or `rid` are no names.
#[must_use]
pub fn moving(rid: &str, environment: &str) -> Draft {
    let environment: EnvironmentName = environment.parse().expect("invariant: a name");
    let event = Event::PromotionStarted {
        environment: environment.clone(),
        from: None,
        to: ReleaseId::from_digest(&Digest::of(b"release")),
        movement: Movement::Promotion,
    };
    let run = format!("run-{rid}").parse().expect("invariant: a name");
    Draft { environment: Some(environment), run: Some(run), ..draft(rid, event) }
}

/// A record that moves nothing.
#[must_use]
pub fn still(rid: &str) -> Draft {
    draft(rid, Event::RunFinished { outcome: RunOutcome::Done })
}

fn append(store: &dyn Store, drafts: &[Draft]) -> Vec<promo_core::ledger::Record> {
    store.append_if_head(&Expect::default(), drafts).expect("an append that expects nothing")
}

fn size(store: &dyn Store) -> u64 {
    store.head().expect("the head").size
}

fn green(store: &dyn Store) {
    if let Err(failure) = verify(store) {
        panic!("the ledger verifies: {failure:?}");
    }
}

fn generation(environment: &str, value: u64) -> Expect {
    let environment = environment.parse().expect("a name");
    Expect { generation: BTreeMap::from([(environment, value)]), ..Expect::default() }
}

fn resources(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn empty(store: &dyn Store) {
    let head = store.head().expect("the head");
    assert_eq!((head.size, head.root), (0, tree::empty_root()));
    assert_eq!(head.last, Digest::of(store.origin().as_bytes()), "the chain begins at the origin");
    assert_eq!(store.records(0, 10).expect("records"), []);
    assert_eq!(append(store, &[]), [], "appending nothing is allowed and does nothing");
    green(store);
}

fn appends_chain_and_reopen(open: &Opener) {
    let store = open();
    let mut written = append(&*store, &[still("a"), still("b")]);
    written.extend(append(&*store, &[still("c")]));
    drop(store);
    let store = open();
    written.extend(append(&*store, &[moving("d", "dev")]));

    assert_eq!(store.records(0, 10).expect("records"), written, "what is returned is what stands, in every handle");
    assert_eq!(store.records(1, 2).expect("records"), written[1..3]);
    assert_eq!(store.records(4, 2).expect("records"), []);
    let mut prev = Digest::of(store.origin().as_bytes());
    let mut frontier = tree::Frontier::new();
    for (seq, raw) in (0..).zip(store.raw(0, 10).expect("records")) {
        let record = raw.parse().expect("a canonical record");
        assert_eq!((raw.seq, record.seq, record.prev), (seq, seq, prev));
        assert_eq!(store.seq_of(&record.rid).expect("an index"), Some(seq));
        prev = Digest::of(&raw.bytes);
        frontier.push(tree::leaf_hash(&raw.bytes));
    }
    let head = store.head().expect("the head");
    assert_eq!((head.size, head.root, head.last), (4, frontier.root(), prev));
    let spread = written[3].recorded_at.duration_since(store.now().expect("time")).abs();
    assert!(spread.as_secs() < 60, "records carry the store's time");
    green(&*store);
}

fn a_lost_reply_is_recognised(store: &dyn Store) {
    let mut drafts = [moving("a", "dev"), still("b")];
    drafts[1].private.insert("reason".to_owned(), "because".to_owned());
    let expect = Expect { head: Some(0), consume: vec![Digest::of(b"plan")], ..generation("dev", 0) };
    let first = store.append_if_head(&expect, &drafts).expect("the first attempt");
    append(store, &[moving("c", "dev")]);
    let again = store.append_if_head(&expect, &drafts).expect("the same append, whose expectations no longer hold");
    assert_eq!(first, again);
    assert_eq!(size(store), 3);

    let mut other = drafts.clone();
    other[0].claimed_at = Timestamp::UNIX_EPOCH + Duration::from_secs(1);
    let mut text = drafts.clone();
    text[1].private.insert("reason".to_owned(), "other".to_owned());
    let swapped = [drafts[1].clone(), drafts[0].clone()];
    let longer = [drafts[1].clone(), still("new")];
    let before = [still("new"), drafts[0].clone()];
    let torn = [drafts[0].clone(), moving("c", "dev")];
    for wrong in [&other, &text, &swapped, &longer, &before, &torn] {
        let error = store.append_if_head(&Expect::default(), wrong).expect_err("a known id with another content");
        assert!(matches!(error, AppendError::RidTaken { .. }), "{error:?}");
    }
    assert_eq!(size(store), 3);
    green(store);
}

fn nothing_happens_by_halves(store: &dyn Store) {
    append(store, &[still("a")]);
    let before = store.head().expect("the head");
    let plan = Digest::of(b"plan");
    let expect = Expect { head: Some(0), consume: vec![plan], ..Expect::default() };
    let error = store.append_if_head(&expect, &[moving("b", "dev"), moving("c", "dev")]).expect_err("an old head");
    assert!(matches!(error, AppendError::HeadMoved { expected: 0, found: 1 }), "{error:?}");
    // The second draft is found to have no canonical form only when the first is prepared.
    let float = Event::ApprovalRecorded { envelope: serde_json::json!({"weight": 0.5}) };
    let error = store.append_if_head(&Expect::default(), &[moving("b", "dev"), draft("c", float)]);
    assert!(matches!(error, Err(AppendError::InvalidDraft { .. })), "{error:?}");

    assert_eq!(store.head().expect("the head"), before);
    assert_eq!(store.generations().expect("generations"), []);
    assert_eq!(store.consumed_by(&plan).expect("uses"), None);
    assert_eq!(store.seq_of("b").expect("an index"), None);
    green(store);
}

fn generations_count_and_are_fenced(store: &dyn Store) {
    let dev = "dev".parse().expect("a name");
    let shop = "shop".parse().expect("a name");
    append(store, &[moving("a", "dev"), moving("b", "qa"), moving("c", "dev"), still("d")]);
    let mut verdict = still("e");
    verdict.environment = Some("dev".parse().expect("a name"));
    append(store, &[verdict]);
    assert_eq!(store.generation(&shop, &dev).expect("a generation"), 2, "only records that move it are counted");
    let mut other = moving("f", "dev");
    other.pipeline = "other".parse().expect("a name");
    append(store, &[other]);
    assert_eq!(
        store.generation(&shop, &dev).expect("a generation"),
        2,
        "another pipeline's dev is another environment"
    );

    store.append_if_head(&generation("qa", 1), &[still("g")]).expect("qa stands at 1");
    match store.append_if_head(&generation("dev", 1), &[still("h")]).expect_err("dev stands at 2") {
        AppendError::GenerationMoved { environment, expected: 1, found: 2, by: Some(by) } => {
            assert_eq!((environment, by.seq, by.actor.as_str()), (dev, 2, "ana"));
            assert_eq!(by.run.expect("its run").as_str(), "run-c");
        }
        error => panic!("{error:?}"),
    }
    let never = store.append_if_head(&generation("perf", 3), &[still("i")]).expect_err("perf was never moved");
    assert!(matches!(never, AppendError::GenerationMoved { expected: 3, found: 0, by: None, .. }), "{never:?}");
    green(store);
}

fn plans_and_approvals_are_used_once(store: &dyn Store) {
    let [plan, approval, other] = [b"plan", b"appr", b"othr"].map(|text| Digest::of(text));
    let started = |rid: &str, plan: Digest, approvals: &[Digest]| {
        let event = Event::RunStarted {
            environments: BTreeMap::new(),
            approvals: approvals.to_vec(),
            applier: "ana".to_owned(),
        };
        let run = Some("run-1".parse().expect("a name"));
        Draft { plan: Some(plan), run, ..draft(rid, event) }
    };
    append(store, &[still("a"), started("b", plan, &[approval])]);
    for digest in [plan, approval] {
        assert_eq!(store.consumed_by(&digest).expect("uses"), Some(1), "a run that starts uses what it names (S6.6)");
    }
    let unconsumed = Expect { unconsumed: vec![other, approval], ..Expect::default() };
    let consume = Expect { consume: vec![other, plan], ..Expect::default() };
    for (expect, draft, used) in [
        (Expect::default(), started("c", plan, &[]), plan),
        (Expect::default(), started("d", other, &[approval]), approval),
        (unconsumed, still("e"), approval),
        (consume, still("f"), plan),
    ] {
        match store.append_if_head(&expect, &[draft]).expect_err("a second use") {
            AppendError::AlreadyConsumed { digest, by } => {
                assert_eq!((digest, by.seq), (used, 1));
                assert_eq!(by.run.expect("its run").as_str(), "run-1");
            }
            error => panic!("{error:?}"),
        }
    }
    assert_eq!(store.consumed_by(&other).expect("uses"), None);
    let expect = Expect { consume: vec![other, other], ..Expect::default() };
    store.append_if_head(&expect, &[still("g")]).expect("a first use, named twice");
    assert_eq!(store.consumed_by(&other).expect("uses"), Some(2));
    green(store);
}

fn invalid_drafts_are_refused(store: &dyn Store) {
    let mut elsewhere = still("b");
    elsewhere.pipeline = "other".parse().expect("a name");
    let big = Event::ApprovalRecorded { envelope: "x".repeat(crate::store::MAX_RECORD_BYTES).into() };
    let consume = Expect { consume: vec![Digest::of(b"plan")], ..Expect::default() };
    for (expect, drafts) in [
        (Expect::default(), vec![still("")]),
        (Expect::default(), vec![still(&"x".repeat(129))]),
        (Expect::default(), vec![still("a"), still("a")]),
        (Expect::default(), vec![still("a"), elsewhere]),
        (Expect::default(), vec![draft("a", Event::Unknown)]),
        (Expect::default(), vec![draft("a", big)]),
        (consume, vec![]),
        (generation("dev", 0), vec![]),
    ] {
        let error = store.append_if_head(&expect, &drafts).expect_err("an invalid append");
        assert!(matches!(error, AppendError::InvalidDraft { .. }), "{error:?}");
    }
    assert_eq!(size(store), 0);
}

/// Runs `attempt` on 16 handles at once and returns what it said, of those that did not win.
fn race(open: &Opener, attempt: impl Fn(&dyn Store, usize) -> Result<(), AppendError> + Sync) -> Vec<AppendError> {
    let barrier = Barrier::new(RACERS);
    let results: Vec<_> = thread::scope(|scope| {
        let racer = |id: usize| {
            let (barrier, attempt) = (&barrier, &attempt);
            scope.spawn(move || {
                let store = open();
                barrier.wait();
                attempt(&*store, id)
            })
        };
        let racers: Vec<_> = (0..RACERS).map(racer).collect();
        racers.into_iter().map(|racer| racer.join().expect("a racer that does not panic")).collect()
    });
    let losers: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert_eq!(losers.len(), RACERS - 1, "exactly one wins: {losers:?}");
    losers
}

fn races_have_one_winner(make: &impl Fn() -> Opener) {
    let open = make();
    let by_head = Expect { head: Some(0), ..Expect::default() };
    let losers = race(&open, |store, id| store.append_if_head(&by_head, &[still(&format!("r{id}"))]).map(drop));
    assert!(losers.iter().all(|e| matches!(e, AppendError::HeadMoved { expected: 0, found: 1 })), "{losers:?}");
    green(&*open());

    let open = make();
    let by_generation = generation("dev", 0);
    let losers =
        race(&open, |store, id| store.append_if_head(&by_generation, &[moving(&format!("r{id}"), "dev")]).map(drop));
    assert!(losers.iter().all(|e| matches!(e, AppendError::GenerationMoved { found: 1, .. })), "{losers:?}");
    green(&*open());

    let open = make();
    let by_use = Expect { consume: vec![Digest::of(b"plan")], ..Expect::default() };
    let losers = race(&open, |store, id| store.append_if_head(&by_use, &[still(&format!("r{id}"))]).map(drop));
    assert!(losers.iter().all(|e| matches!(e, AppendError::AlreadyConsumed { .. })), "{losers:?}");
    green(&*open());

    // Each takes the lease; only the one that really has it may write under it.
    let open = make();
    let losers = race(&open, |store, id| {
        let holder = format!("h{id}");
        let fence = match store.acquire(&resources(&["dev"]), &holder, LONG) {
            Ok(lease) => lease.fence(),
            Err(LeaseError::Held { .. }) => {
                crate::store::Fence { resources: resources(&["dev"]), holder: holder.clone(), epoch: 1 }
            }
            Err(error) => panic!("{error:?}"),
        };
        store.append_if_head(&Expect { fences: vec![fence], ..Expect::default() }, &[still(&holder)]).map(drop)
    });
    assert!(losers.iter().all(|e| matches!(e, AppendError::EpochLost { epoch: 1, .. })), "{losers:?}");

    // Without expectations nobody loses, and nothing is lost.
    let open = make();
    thread::scope(|scope| {
        for id in 0..RACERS {
            let open = &open;
            scope.spawn(move || {
                let store = open();
                for turn in 0..4 {
                    append(&*store, &[still(&format!("r{id}-{turn}a")), moving(&format!("r{id}-{turn}b"), "dev")]);
                }
            });
        }
    });
    let store = open();
    assert_eq!(size(&*store), RACERS as u64 * 8);
    assert_eq!(store.generations().expect("generations")[0].value, RACERS as u64 * 4);
    green(&*store);
}

fn leases_exclude_and_fence(store: &dyn Store) {
    let both = resources(&["dev", "cluster/a"]);
    let lease = store.acquire(&both, "one", LONG).expect("free resources");
    match store.acquire(&resources(&["qa", "cluster/a"]), "two", LONG).expect_err("a held resource") {
        LeaseError::Held { resource, holder, expires } => {
            assert_eq!((resource.as_str(), holder.as_str(), expires), ("cluster/a", "one", lease.expires));
        }
        error => panic!("{error:?}"),
    }
    let held: Vec<_> = store.leases().expect("leases").into_iter().flat_map(|lease| lease.resources).collect();
    assert_eq!(held, ["cluster/a", "dev"], "a refused lease takes nothing");
    let again = store.acquire(&both, "one", LONG).expect("the holder itself");
    assert_eq!(again.epoch, lease.epoch, "what is held already keeps its epoch");
    let renewed = store.renew(&lease, LONG * 2).expect("a live lease");
    assert!(renewed.expires > lease.expires && renewed.epoch == lease.epoch);

    let fenced = |lease: &crate::Lease| Expect { fences: vec![lease.fence()], ..Expect::default() };
    store.append_if_head(&fenced(&lease), &[still("a")]).expect("a live epoch");
    store.release(&lease).expect("a release");
    store.release(&lease).expect("a release can be repeated");
    let error = store.append_if_head(&fenced(&lease), &[still("b")]).expect_err("a released lease");
    assert!(matches!(error, AppendError::EpochLost { found: None, .. }), "{error:?}");

    let next = store.acquire(&both, "one", LONG).expect("free again");
    assert!(next.epoch > lease.epoch, "an epoch is never used twice, not even by the same holder");
    store.release(&lease).expect("a release of what was lost does nothing");
    store.append_if_head(&fenced(&next), &[still("c")]).expect("the newer lease is untouched");
    match store.append_if_head(&fenced(&lease), &[still("d")]).expect_err("a stale epoch") {
        AppendError::EpochLost { found: Some(found), epoch, .. } => {
            assert_eq!((epoch, found.epoch, found.holder.as_str()), (lease.epoch, next.epoch, "one"));
        }
        error => panic!("{error:?}"),
    }
    let error = store.renew(&lease, LONG).expect_err("a stale epoch");
    assert!(matches!(error, LeaseError::Lost { found: Some(_), .. }), "{error:?}");
    assert_eq!(size(store), 2);
}

fn leases_expire(store: &dyn Store) {
    let dev = resources(&["dev"]);
    let lease = store.acquire(&dev, "one", Duration::ZERO).expect("a free resource");
    let expect = Expect { fences: vec![lease.fence()], ..Expect::default() };
    let error = store.append_if_head(&expect, &[still("a")]).expect_err("an expired lease");
    assert!(matches!(error, AppendError::EpochLost { found: None, .. }), "{error:?}");
    assert!(matches!(store.renew(&lease, LONG), Err(LeaseError::Lost { found: None, .. })));
    assert_eq!(store.leases().expect("leases"), []);
    let next = store.acquire(&dev, "one", LONG).expect("an expired lease is free");
    assert!(next.epoch > lease.epoch, "also its last holder gets a higher epoch");
    let forever = store.renew(&next, Duration::MAX).expect("a lease longer than time");
    assert!(forever.expires > next.expires);
}

fn blobs(open: &Opener) {
    let store = open();
    let texts: [&[u8]; 3] = [b"one", b"", b"\0\xff"];
    let mut digests = texts.map(|text| store.put_blob(text).expect("a blob"));
    assert_eq!(store.put_blob(b"one").expect("the same again"), Digest::of(b"one"));
    let store = open();
    for (digest, text) in digests.iter().zip(texts) {
        assert_eq!(*digest, Digest::of(text));
        assert_eq!(store.get_blob(digest).expect("a blob").as_deref(), Some(text));
    }
    assert_eq!(store.get_blob(&Digest::of(b"none")).expect("no blob"), None);
    digests.sort_unstable();
    assert_eq!(store.blob_digests(None, 10).expect("blobs"), digests);
    assert_eq!(store.blob_digests(Some(&digests[0]), 1).expect("blobs"), digests[1..2]);
    green(&*store);
}

fn private_texts_can_be_erased(open: &Opener) {
    let store = open();
    let mut drafts = [still("a"), still("b")];
    for draft in &mut drafts {
        draft.private.insert("reason".to_owned(), "Kirsten asked".to_owned());
        draft.private.insert("name".to_owned(), "Kirsten".to_owned());
    }
    let records = append(&*store, &drafts);
    assert_ne!(records[0].commitments["name"], records[1].commitments["name"], "each text has a salt of its own");
    let leaf = store.raw(0, 1).expect("a record").remove(0).bytes;
    assert!(!String::from_utf8_lossy(&leaf).contains("Kirsten"), "the text is not in the leaf (S12.5)");
    let kept = |draft: &Draft| -> BTreeMap<String, Option<String>> {
        draft.private.iter().map(|(field, text)| (field.clone(), Some(text.clone()))).collect()
    };
    assert_eq!(store.texts(0).expect("texts"), kept(&drafts[0]));
    let root = store.head().expect("the head").root;

    assert!(store.erase(0, "name").expect("an erasure"));
    assert!(!store.erase(0, "name").expect("an erasure"), "there is nothing left to erase");
    let store = open();
    let left = [("name".to_owned(), None), ("reason".to_owned(), Some("Kirsten asked".to_owned()))];
    assert_eq!(store.texts(0).expect("texts"), left.into(), "an erased text is told as erased");
    assert_eq!(store.texts(1).expect("texts"), kept(&drafts[1]));
    assert_eq!(store.head().expect("the head").root, root);
    let again = store.append_if_head(&Expect::default(), &drafts).expect("a repeat after an erasure");
    assert_eq!(again, records);
    green(&*store);
}

fn proofs(store: &dyn Store) {
    let mut checkpoints = vec![store.checkpoint().expect("a checkpoint")];
    for turn in 0..11 {
        append(store, &[still(&format!("r{turn}"))]);
        checkpoints.push(store.checkpoint().expect("a checkpoint"));
    }
    for new in &checkpoints {
        for old in checkpoints.iter().filter(|old| old.size <= new.size) {
            let proof = store.consistency_proof(old.size, new.size).expect("a proof");
            assert!(tree::verify_consistency(old.size, &old.root, new.size, &new.root, &proof));
        }
        for RawRecord { seq, bytes, .. } in store.raw(0, usize::try_from(new.size).expect("small")).expect("records") {
            let proof = store.inclusion_proof(seq, new.size).expect("a proof");
            assert!(tree::verify_inclusion(&tree::leaf_hash(&bytes), seq, new.size, &proof, &new.root));
        }
    }
    let report = verify_against(store, &checkpoints).unwrap_or_else(|failure| panic!("{failure:?}"));
    assert_eq!(report.records, 11);
}
