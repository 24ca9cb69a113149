//! What people and checks say stays out of what is hashed (S12.5): it is told from beside the records, and can be erased.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use promo_core::approval::{Decision, Person};
use promo_engine::authors::AUTHORS_NAMESPACE;
use promo_engine::{ERASED, NewRelease, PLAN_LIFETIME, Session};
use promo_tests::world::{Setup, World};

/// Position, field and text of everything that stands beside a record.
fn beside(session: &Session) -> Vec<(u64, String, String)> {
    let store = session.store();
    let size = store.head().unwrap().size;
    let of = |seq| store.sides(seq).unwrap().into_iter().map(move |side| (seq, side.field, side.text));
    (0..size).flat_map(of).collect()
}

fn leaves(session: &Session) -> String {
    let raw = session.store().raw(0, 10_000).unwrap();
    raw.iter().map(|raw| String::from_utf8(raw.bytes.clone()).unwrap() + "\n").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_and_checks_say_stays_out_of_the_leaf_and_is_told_until_it_is_erased_s12_5() {
    let excluding = ("exclude = [\"initiator\"]".into(), "exclude = [\"initiator\", \"author\"]".into());
    let world = World::with("quickstart", Setup { replace: vec![excluding], ..Setup::default() });
    let session = &world.session;
    let metadata = [("authors", "dana, Kirsten <kirsten@shop.example>"), ("ticket", "for Kirsten's birthday")];
    let metadata: std::collections::BTreeMap<_, _> =
        metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    world.build("1.0.0").await;
    let new = NewRelease { metadata: metadata.clone(), ..world.new_release("1.0.0") };
    let release = session.add_release(new).await.unwrap().0.release.id;
    session.advance(world.options()).await.unwrap();
    session.reject(&release, None, "Kirsten's mistake").unwrap();
    session.freeze([].into(), "Kirsten is on holiday").unwrap();

    let texts = beside(session);
    let fields: Vec<&str> = texts.iter().map(|(_, field, _)| field.as_str()).collect();
    for field in ["metadata.authors", "metadata.ticket", "reason", "detail", "evidence"] {
        assert!(fields.contains(&field), "{field} of {fields:?}");
    }
    let leaves = leaves(session);
    assert!(!leaves.contains("irsten"), "{leaves}");
    for (seq, field, text) in &texts {
        assert!(text.len() < 8 || !leaves.contains(text.as_str()), "{field} of record {seq}: {text}");
    }

    let view = session.view().unwrap();
    let (entry, freeze) = (view.release(&release).unwrap(), view.freezes[&None].note.seq);
    let verdict = view.environments.values().flat_map(|e| e.verdicts.values()).flat_map(|v| v.values()).flatten();
    let verdict = verdict.map(|verdict| verdict.seq).next().unwrap();
    let told = session.metadata(entry).unwrap();
    assert!(metadata.iter().all(|(key, value)| told[key] == *value), "{told:?}");
    assert_eq!(session.reason_given(freeze).unwrap().unwrap(), "Kirsten is on holiday");
    assert!(!session.detail_seen(verdict).unwrap().unwrap().is_empty());
    assert_eq!(session.reason_given(verdict).unwrap(), None, "none was given");
    let before = session.store().checkpoint().unwrap();

    for (seq, field, _) in &texts {
        assert!(session.store().erase(*seq, field).unwrap());
    }
    let report = session.verify().unwrap();
    assert_eq!((report.texts, report.erased), (0, texts.len() as u64));
    assert_eq!(session.store().checkpoint().unwrap(), before);
    assert_eq!(session.view().unwrap(), view, "nothing is where it is by a text");
    let told = session.metadata(entry).unwrap();
    assert!(metadata.keys().all(|key| told[key] == ERASED), "{told:?}");
    assert_eq!(session.reason_given(freeze).unwrap().as_deref(), Some(ERASED));
    assert_eq!(session.detail_seen(verdict).unwrap().as_deref(), Some(ERASED));
}

/// A missing text must not open what a rule closes, nor let somebody be named in the place of those who were.
#[tokio::test(flavor = "multi_thread")]
async fn whose_names_were_erased_is_known_by_nobody_and_is_not_named_anew_s6_4() {
    let excluding = ("exclude = [\"initiator\"]".into(), "exclude = [\"initiator\", \"author\"]".into());
    let world = World::with("quickstart", Setup { replace: vec![excluding], ..Setup::default() });
    let session = &world.session;
    world.build("1.0.0").await;
    let add = || {
        let metadata = [("authors".to_owned(), "dana".to_owned())].into();
        session.add_release(NewRelease { metadata, ..world.new_release("1.0.0") })
    };
    let release = add().await.unwrap().0;
    session.advance(world.options()).await.unwrap();
    let plan = session.plan(world.request("production"), PLAN_LIFETIME).await.unwrap();
    let digest = plan.digest().unwrap();
    world.ask(&plan).await;
    let yes = world.sign(&plan, Decision::Approve);
    let satisfied = || {
        let (now, view) = (session.now().unwrap(), session.view().unwrap());
        let standings = session.standings(&plan, &digest, &view, std::slice::from_ref(&yes), None, now).unwrap();
        standings.values().all(promo_core::approval::Evaluation::satisfied)
    };
    assert!(satisfied());
    assert!(session.store().erase(release.seq, "metadata.authors").unwrap());
    assert!(!satisfied());
    let unwritten = session.unwritten(&session.view().unwrap(), &plan.body.moves[0]).unwrap();
    assert_eq!(unwritten.iter().map(|one| one.author.as_deref()).collect::<Vec<_>>(), [Some(ERASED)]);
    let key = world.key.public_key().fingerprint().clone();
    let anew = session.authors_statement(&release.release.id, ["riley".to_owned()].into(), key).await;
    assert!(anew.unwrap_err().to_string().contains("came with its authors"));
    // A build that is run again says what it said: that contradicts nothing, and brings nothing back.
    let (same, new) = add().await.unwrap();
    assert_eq!((same.release.id, new), (release.release.id.clone(), false));
    assert!(!satisfied());
}

#[tokio::test(flavor = "multi_thread")]
async fn authors_are_signed_for_as_identities_and_their_addresses_stay_out_of_the_ledger_s12_5() {
    let mapped = ("[identities.dana]".into(), "[identities.dana]\nemails = [\"dana@shop.example\"]".into());
    let world = World::with("quickstart", Setup { replace: vec![mapped], ..Setup::default() });
    let release = world.release("1.0.0").await;
    let roster = &world.session.governance().roster;
    let address = "dana@shop.example";
    let Person::Known(dana) = roster.by_email(address) else { panic!("the policy maps {address}") };
    let key = &world.key;
    let fingerprint = key.public_key().fingerprint().clone();
    let statement = world.session.authors_statement(&release, [address.to_owned()].into(), fingerprint).await.unwrap();
    assert_eq!(statement.authors, [dana.clone()].into());
    let signature = key.sign_bytes(&statement.to_bytes().unwrap(), AUTHORS_NAMESPACE).unwrap();
    world.session.name_authors(&statement, &signature).unwrap();
    assert!(world.session.view().unwrap().release(&release).unwrap().authors.contains(&dana));
    assert!(!leaves(&world.session).contains("shop.example"));
}
