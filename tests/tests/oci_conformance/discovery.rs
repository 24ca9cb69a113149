//! "Content Discovery" and "Content Management".

use std::collections::BTreeSet;

use promo_core::Digest;
use serde_json::{Value, json};

use crate::client::{Broken, CONFIG, INDEX, Kept, MANIFEST, Reply, Subject, descriptor, must, rules, with};

rules![
    tags_are_listed_in_order,
    tags_of_a_repository_that_is_not_there,
    tags_no_more_than_asked_for,
    tags_none_when_none_is_asked_for,
    tags_last_is_left_out,
    tags_links_lead_to_every_tag_once,
    referrers_are_listed,
    referrers_may_come_before_their_subject,
    referrers_of_nothing_are_none,
    referrers_of_a_malformed_digest,
    referrers_by_type,
    referrers_links_lead_to_every_one_once,
    referrers_are_confirmed_when_they_are_pushed,
    referrers_that_are_indexes,
    referrers_in_other_repositories_are_not_listed,
    delete_tag,
    delete_manifest,
    delete_manifest_that_is_not_there,
    delete_blob,
    delete_blob_that_is_not_there,
    referrers_that_are_deleted_are_not_listed,
];

const TAGS: [&str; 5] = ["a", "b", "c", "v1.0", "v2"];

async fn tagged(s: &Subject) -> Kept {
    let bytes = s.image("1").await?.to_string().into_bytes();
    for tag in ["v2", "a", "c", "v1.0", "b"] {
        s.put(tag, MANIFEST, &bytes).await?.is(201)?;
    }
    Ok(())
}

fn tags(reply: &Reply, s: &Subject) -> Result<Vec<String>, Broken> {
    reply.is(200)?;
    let document = reply.json()?;
    must!(document["name"] == s.repository.as_str(), "name is {}", document["name"]);
    // A list without anything is written as `null` by some.
    let all = document["tags"].as_array().cloned().unwrap_or_default();
    Ok(all.iter().map(|tag| tag.as_str().unwrap_or_default().to_owned()).collect())
}

async fn tags_are_listed_in_order(s: Subject) -> Kept {
    tagged(&s).await?;
    let reply = s.get(s.url("tags/list")).await?;
    let found = tags(&reply, &s)?;
    let is_start = TAGS.iter().zip(&found).all(|(wanted, found)| wanted == found) && !found.is_empty();
    must!(is_start && (found.len() == TAGS.len() || reply.next()?.is_some()), "{found:?}");
    Ok(())
}

async fn tags_of_a_repository_that_is_not_there(s: Subject) -> Kept {
    s.get(s.url("tags/list")).await?.is(404)
}

async fn tags_no_more_than_asked_for(s: Subject) -> Kept {
    tagged(&s).await?;
    for n in [1, 2, 3, 5, 100] {
        let reply = s.get(with(s.url("tags/list"), "n", n)).await?;
        let found = tags(&reply, &s)?;
        let all = found.len() == n.min(TAGS.len()) || (found.len() < n && reply.next()?.is_some());
        must!(all && TAGS[..found.len()] == found, "{n}: {found:?}");
    }
    Ok(())
}

async fn tags_none_when_none_is_asked_for(s: Subject) -> Kept {
    tagged(&s).await?;
    let reply = s.get(with(s.url("tags/list"), "n", 0)).await?;
    must!(tags(&reply, &s)?.is_empty(), "{:?}", reply.json()?);
    must!(reply.header("link").is_none(), "Link {:?}", reply.header("link"));
    Ok(())
}

async fn tags_last_is_left_out(s: Subject) -> Kept {
    tagged(&s).await?;
    for (last, first) in [("a", Some("b")), ("b", Some("c")), ("bb", Some("c")), ("v2", None)] {
        let reply = s.get(with(with(s.url("tags/list"), "n", 1), "last", last)).await?;
        let found = tags(&reply, &s)?;
        must!(found.first().map(String::as_str) == first, "after {last}: {found:?}");
    }
    Ok(())
}

async fn tags_links_lead_to_every_tag_once(s: Subject) -> Kept {
    tagged(&s).await?;
    let (mut all, mut url) = (Vec::new(), Some(with(s.url("tags/list"), "n", 2)));
    while let Some(here) = url {
        must!(all.len() <= TAGS.len(), "it does not end: {all:?}");
        let reply = s.get(here).await?;
        all.extend(tags(&reply, &s)?);
        url = reply.next()?;
    }
    must!(all == TAGS, "{all:?}");
    Ok(())
}

/// A manifest about `subject`.
async fn about(
    s: &Subject,
    subject: &[u8],
    artifact_type: Option<&str>,
    note: &str,
) -> Result<(Digest, Vec<u8>), Broken> {
    let mut document = s.image(note).await?;
    document["subject"] = descriptor(MANIFEST, subject);
    document["annotations"] = json!({ "org.example.note": note });
    if let Some(artifact_type) = artifact_type {
        document["artifactType"] = artifact_type.into();
    }
    s.manifest(&document).await
}

/// All referrers, over all pages.
async fn referrers(s: &Subject, subject: &[u8], artifact_type: Option<&str>) -> Result<Vec<Value>, Broken> {
    let url = s.url(&format!("referrers/{}", Digest::of(subject)));
    let mut url = Some(match artifact_type {
        Some(artifact_type) => with(url, "artifactType", artifact_type),
        None => url,
    });
    let mut all = Vec::new();
    while let Some(here) = url {
        must!(all.len() < 50, "it does not end");
        let reply = s.get(here).await?;
        reply.is(200)?;
        must!(reply.header("content-type") == Some(INDEX), "{:?}", reply.header("content-type"));
        if artifact_type.is_some() {
            let applied = reply.header("oci-filters-applied");
            must!(applied == Some("artifactType"), "OCI-Filters-Applied: {applied:?}");
        }
        let page = reply.json()?;
        must!(page["schemaVersion"] == 2 && page["mediaType"] == INDEX, "{page}");
        let Some(manifests) = page["manifests"].as_array() else { return Err(Broken(format!("no list: {page}"))) };
        all.extend(manifests.clone());
        url = reply.next()?;
    }
    Ok(all)
}

fn digests(found: &[Value]) -> BTreeSet<String> {
    found.iter().map(|descriptor| descriptor["digest"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn referrers_are_listed(s: Subject) -> Kept {
    let (_, subject) = s.tagged("v1").await?;
    let (one, bytes) = about(&s, &subject, Some("application/vnd.example.sbom"), "one").await?;
    let (two, _) = about(&s, &subject, None, "two").await?;
    let found = referrers(&s, &subject, None).await?;
    must!(digests(&found) == BTreeSet::from([one.to_string(), two.to_string()]), "{found:?}");
    let of = |digest: &Digest| {
        found.iter().find(|d| d["digest"] == digest.to_string().as_str()).cloned().unwrap_or_default()
    };
    let (first, second) = (of(&one), of(&two));
    must!(first["mediaType"] == MANIFEST && first["size"] == bytes.len(), "{first}");
    must!(first["artifactType"] == "application/vnd.example.sbom", "{first}");
    must!(first["annotations"] == json!({ "org.example.note": "one" }), "{first}");
    must!(second["artifactType"] == CONFIG, "the type of the configuration stands in: {second}");
    Ok(())
}

async fn referrers_may_come_before_their_subject(s: Subject) -> Kept {
    let image = s.image("late").await?;
    let subject = image.to_string().into_bytes();
    let (one, _) = about(&s, &subject, None, "one").await?;
    let early = referrers(&s, &subject, None).await?;
    must!(digests(&early) == BTreeSet::from([one.to_string()]), "{early:?}");
    s.manifest(&image).await?;
    let found = referrers(&s, &subject, None).await?;
    must!(digests(&found) == BTreeSet::from([one.to_string()]), "{found:?}");
    Ok(())
}

async fn referrers_of_nothing_are_none(s: Subject) -> Kept {
    let (_, subject) = s.tagged("v1").await?;
    for subject in [subject.as_slice(), b"nobody"] {
        must!(referrers(&s, subject, None).await?.is_empty(), "something");
    }
    Ok(())
}

async fn referrers_of_a_malformed_digest(s: Subject) -> Kept {
    s.tagged("v1").await?;
    s.get(s.url("referrers/sha256:short")).await?.is(400)
}

async fn referrers_by_type(s: Subject) -> Kept {
    let (_, subject) = s.tagged("v1").await?;
    let (one, _) = about(&s, &subject, Some("application/vnd.example.sbom+json"), "one").await?;
    about(&s, &subject, Some("application/vnd.example.signature"), "two").await?;
    let found = referrers(&s, &subject, Some("application/vnd.example.sbom+json")).await?;
    must!(digests(&found) == BTreeSet::from([one.to_string()]), "{found:?}");
    must!(referrers(&s, &subject, Some("application/vnd.example.other")).await?.is_empty(), "something");
    Ok(())
}

async fn referrers_links_lead_to_every_one_once(s: Subject) -> Kept {
    let (_, subject) = s.tagged("v1").await?;
    let mut wanted = BTreeSet::new();
    for note in ["one", "two", "three"] {
        wanted.insert(about(&s, &subject, None, note).await?.0.to_string());
    }
    let found = referrers(&s, &subject, None).await?;
    must!(found.len() == 3 && digests(&found) == wanted, "{found:?}");
    Ok(())
}

async fn referrers_are_confirmed_when_they_are_pushed(s: Subject) -> Kept {
    let (digest, subject) = s.tagged("v1").await?;
    let mut document = s.image("about").await?;
    let reply = s.put("plain", MANIFEST, document.to_string().as_bytes()).await?;
    must!(reply.header("oci-subject").is_none(), "a subject that is none: {:?}", reply.header("oci-subject"));
    document["subject"] = descriptor(MANIFEST, &subject);
    let reply = s.put("about", MANIFEST, document.to_string().as_bytes()).await?;
    reply.is(201)?;
    must!(reply.header("oci-subject") == Some(&digest.to_string()), "OCI-Subject: {:?}", reply.header("oci-subject"));
    Ok(())
}

async fn referrers_that_are_indexes(s: Subject) -> Kept {
    let (_, subject) = s.tagged("v1").await?;
    let (_, child) = s.manifest(&s.image("child").await?).await?;
    let mut index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(MANIFEST, &child)],
        "subject": descriptor(MANIFEST, &subject),
    });
    let (plain, _) = s.manifest(&index).await?;
    index["artifactType"] = "application/vnd.example.bundle".into();
    let (typed, _) = s.manifest(&index).await?;
    let found = referrers(&s, &subject, None).await?;
    let of = |digest: &Digest| {
        found.iter().find(|d| d["digest"] == digest.to_string().as_str()).cloned().unwrap_or_default()
    };
    must!(of(&plain)["mediaType"] == INDEX && of(&plain).get("artifactType").is_none(), "{}", of(&plain));
    must!(of(&typed)["artifactType"] == "application/vnd.example.bundle", "{}", of(&typed));
    Ok(())
}

async fn referrers_in_other_repositories_are_not_listed(s: Subject) -> Kept {
    let (digest, subject) = s.tagged("v1").await?;
    about(&s, &subject, None, "one").await?;
    let other = format!("{}/other", s.repository);
    let reply = s.get(s.in_repository(&other, &format!("referrers/{digest}"))).await?;
    reply.is(200)?;
    must!(reply.json()?["manifests"] == json!([]), "{:?}", reply.json()?);
    Ok(())
}

/// Whether something was deleted; a registry may refuse to delete anything.
fn deleted(reply: &Reply) -> Result<bool, Broken> {
    if matches!(reply.status, 400 | 405) {
        return Ok(false);
    }
    reply.is(202)?;
    Ok(true)
}

async fn delete_tag(s: Subject) -> Kept {
    let (digest, bytes) = s.tagged("v1").await?;
    s.put("v2", MANIFEST, &bytes).await?.is(201)?;
    if deleted(&s.delete(s.url("manifests/v1")).await?)? {
        s.get(s.url("manifests/v1")).await?.is(404)?;
    }
    s.get(s.url("manifests/v2")).await?.is(200)?;
    s.get(s.url(&format!("manifests/{digest}"))).await?.is(200)
}

async fn delete_manifest(s: Subject) -> Kept {
    let (digest, _) = s.tagged("v1").await?;
    if deleted(&s.delete(s.url(&format!("manifests/{digest}"))).await?)? {
        s.get(s.url(&format!("manifests/{digest}"))).await?.is(404)?;
        s.get(s.url("manifests/v1")).await?.is(404)?;
    }
    Ok(())
}

async fn delete_manifest_that_is_not_there(s: Subject) -> Kept {
    let reply = s.delete(s.url(&format!("manifests/{}", Digest::of(b"nobody")))).await?;
    must!(matches!(reply.status, 400 | 404 | 405), "{}", reply.status);
    Ok(())
}

async fn delete_blob(s: Subject) -> Kept {
    let digest = s.blob(b"to be deleted").await?;
    if deleted(&s.delete(s.url(&format!("blobs/{digest}"))).await?)? {
        s.get(s.url(&format!("blobs/{digest}"))).await?.is(404)?;
    }
    Ok(())
}

async fn delete_blob_that_is_not_there(s: Subject) -> Kept {
    s.blob(b"something").await?;
    let reply = s.delete(s.url(&format!("blobs/{}", Digest::of(b"nobody")))).await?;
    must!(matches!(reply.status, 400 | 404 | 405), "{}", reply.status);
    Ok(())
}

async fn referrers_that_are_deleted_are_not_listed(s: Subject) -> Kept {
    let (_, subject) = s.tagged("v1").await?;
    let (one, _) = about(&s, &subject, None, "one").await?;
    if deleted(&s.delete(s.url(&format!("manifests/{one}"))).await?)? {
        must!(referrers(&s, &subject, None).await?.is_empty(), "it is still listed");
    }
    Ok(())
}
