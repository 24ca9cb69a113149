//! "Push".

use promo_core::Digest;
use reqwest::Method;
use serde_json::json;

use crate::client::{Broken, INDEX, Kept, MANIFEST, Reply, Subject, descriptor, must, rules, with};

rules![
    push_blob_in_two_requests,
    push_blob_in_one_request,
    push_blob_of_another_digest_is_refused,
    push_blob_with_a_malformed_digest_is_refused,
    push_blob_twice,
    push_session_is_named_by_a_uuid,
    push_session_tells_its_state,
    push_session_can_be_cancelled,
    push_session_that_is_not_there,
    push_chunks,
    push_last_chunk_with_the_closing_request,
    push_chunk_out_of_order_is_refused,
    push_chunk_twice_is_refused,
    push_last_chunk_out_of_order_is_refused,
    push_chunks_of_another_digest_are_refused,
    push_mount,
    push_mount_of_what_is_not_there_opens_a_session,
    push_mount_without_a_source,
    push_manifest_by_tag,
    push_manifest_by_digest,
    push_manifest_of_another_digest_is_refused,
    push_manifest_keeps_every_byte,
    push_manifest_type_parameters_are_ignored,
    push_manifest_without_layers,
    push_manifest_of_four_megabytes,
    push_manifest_that_is_too_large,
    push_manifest_that_is_no_manifest,
    push_manifest_of_missing_parts,
    push_manifest_of_an_artifact,
    push_manifest_before_its_subject,
    push_index,
    push_tag_moves,
    push_tag_twice,
    push_tag_that_is_no_tag,
    push_into_a_name_that_is_none,
];

/// A blob that is there now, under the address that was given for it.
async fn is_there(s: &Subject, reply: &Reply, bytes: &[u8]) -> Kept {
    reply.is(201)?;
    let there = s.get(reply.location()?).await?;
    there.is(200)?;
    must!(there.body == bytes, "other bytes at {:?}", reply.header("location"));
    let there = s.get(s.url(&format!("blobs/{}", Digest::of(bytes)))).await?;
    there.is(200)
}

async fn is_not_there(s: &Subject, digest: &Digest) -> Kept {
    s.head(s.url(&format!("blobs/{digest}"))).await?.is(404)
}

async fn push_blob_in_two_requests(s: Subject) -> Kept {
    let bytes = b"in two requests";
    let session = s.session().await?;
    let reply = s.close(session.location()?, Digest::of(bytes), bytes).await?;
    is_there(&s, &reply, bytes).await
}

async fn push_blob_in_one_request(s: Subject) -> Kept {
    let bytes = b"in one request";
    let digest = Digest::of(bytes);
    let url = with(s.url("blobs/uploads/"), "digest", digest);
    let reply = s.send(Method::POST, url, &[("content-type", "application/octet-stream")], bytes).await?;
    if reply.status == 201 {
        return is_there(&s, &reply, bytes).await;
    }
    reply.is(202)?;
    let reply = s.close(reply.location()?, digest, bytes).await?;
    is_there(&s, &reply, bytes).await
}

async fn push_blob_of_another_digest_is_refused(s: Subject) -> Kept {
    let other = Digest::of(b"something else");
    let session = s.session().await?;
    s.close(session.location()?, other, b"something").await?.is(400)?;
    is_not_there(&s, &other).await
}

async fn push_blob_with_a_malformed_digest_is_refused(s: Subject) -> Kept {
    for text in ["sha256:short", "md5:0123", "nonsense"] {
        let session = s.session().await?;
        s.close(session.location()?, text, b"something").await?.is(400)?;
    }
    Ok(())
}

async fn push_blob_twice(s: Subject) -> Kept {
    s.blob(b"twice").await?;
    s.blob(b"twice").await.map(drop)
}

async fn push_session_is_named_by_a_uuid(s: Subject) -> Kept {
    let location = s.session().await?.location()?;
    let is_uuid = |text: &str| {
        let groups: Vec<usize> = text.split('-').map(str::len).collect();
        groups == [8, 4, 4, 4, 12] && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
    };
    let parts = location.as_str().split(['/', '?', '=', '&']);
    must!(parts.into_iter().any(is_uuid), "no UUID in {location}");
    must!(s.session().await?.location()? != location, "two sessions have one address");
    Ok(())
}

async fn push_session_tells_its_state(s: Subject) -> Kept {
    let session = s.session().await?;
    let reply = s.patch(session.location()?, 0, b"0123").await?;
    let state = s.get(reply.location()?).await?;
    state.is(204)?;
    state.location()?;
    must!(state.header("range") == Some("0-3"), "Range is {:?}", state.header("range"));
    Ok(())
}

async fn push_session_can_be_cancelled(s: Subject) -> Kept {
    let location = s.session().await?.location()?;
    s.delete(location.clone()).await?.is(204)?;
    s.get(location).await?.is(404)
}

async fn push_session_that_is_not_there(s: Subject) -> Kept {
    let location = s.session().await?.location()?;
    s.delete(location.clone()).await?;
    s.patch(location.clone(), 0, b"0123").await?.is(404)?;
    s.close(location, Digest::of(b"0123"), b"0123").await?.is(404)
}

/// The chunks so far, in order; the answer to the last one.
async fn chunks(s: &Subject, parts: &[&[u8]]) -> Result<Reply, Broken> {
    let mut reply = s.session().await?;
    let mut first = 0;
    for part in parts {
        reply = s.patch(reply.location()?, first, part).await?;
        reply.is(202)?;
        first += part.len();
        let range = reply.header("range");
        must!(range == Some(&format!("0-{}", first - 1)), "Range is {range:?} after {first} bytes");
    }
    Ok(reply)
}

async fn push_chunks(s: Subject) -> Kept {
    let reply = chunks(&s, &[b"0123", b"4567", b"89"]).await?;
    let reply = s.close(reply.location()?, Digest::of(b"0123456789"), b"").await?;
    is_there(&s, &reply, b"0123456789").await
}

async fn push_last_chunk_with_the_closing_request(s: Subject) -> Kept {
    let reply = chunks(&s, &[b"0123", b"4567"]).await?;
    let url = with(reply.location()?, "digest", Digest::of(b"0123456789"));
    let headers = [("content-type", "application/octet-stream"), ("content-range", "8-9")];
    let reply = s.send(Method::PUT, url, &headers, b"89").await?;
    is_there(&s, &reply, b"0123456789").await
}

async fn push_chunk_out_of_order_is_refused(s: Subject) -> Kept {
    let reply = chunks(&s, &[b"0123"]).await?;
    let location = reply.location()?;
    s.patch(location.clone(), 8, b"89").await?.is(416)?;
    // And the session goes on from where it was.
    let state = s.get(location).await?;
    state.is(204)?;
    must!(state.header("range") == Some("0-3"), "Range is {:?}", state.header("range"));
    let reply = s.patch(state.location()?, 4, b"456789").await?;
    reply.is(202)?;
    let reply = s.close(reply.location()?, Digest::of(b"0123456789"), b"").await?;
    is_there(&s, &reply, b"0123456789").await
}

async fn push_chunk_twice_is_refused(s: Subject) -> Kept {
    let reply = chunks(&s, &[b"0123"]).await?;
    s.patch(reply.location()?, 0, b"0123").await?.is(416)
}

async fn push_last_chunk_out_of_order_is_refused(s: Subject) -> Kept {
    let reply = chunks(&s, &[b"0123"]).await?;
    let url = with(reply.location()?, "digest", Digest::of(b"012389"));
    let headers = [("content-type", "application/octet-stream"), ("content-range", "8-9")];
    s.send(Method::PUT, url, &headers, b"89").await?.is(416)
}

async fn push_chunks_of_another_digest_are_refused(s: Subject) -> Kept {
    let other = Digest::of(b"0123456780");
    let reply = chunks(&s, &[b"0123", b"456789"]).await?;
    let closed = s.close(reply.location()?, other, b"").await?;
    // A registry that believes anything breaks the rule of the same name about whole blobs already.
    must!(matches!(closed.status, 400 | 201), "{}", closed.status);
    Ok(())
}

async fn mounted(s: &Subject, from: Option<&str>, digest: &Digest) -> Result<(String, Reply), Broken> {
    let to = format!("{}/there", s.repository);
    let url = with(s.in_repository(&to, "blobs/uploads/"), "mount", digest);
    let url = match from {
        Some(from) => with(url, "from", from),
        None => url,
    };
    Ok((to, s.send(Method::POST, url, &[], b"").await?))
}

/// The blob is there, or there is a session for it that works.
async fn mounted_or_session(s: &Subject, from: Option<&str>, bytes: &[u8]) -> Kept {
    let digest = Digest::of(bytes);
    let (to, reply) = mounted(s, from, &digest).await?;
    let reply = match reply.status {
        202 => s.close(reply.location()?, digest, bytes).await?,
        _ => reply,
    };
    reply.is(201)?;
    must!(s.get(reply.location()?).await?.body == bytes, "other bytes");
    s.get(s.in_repository(&to, &format!("blobs/{digest}"))).await?.is(200)
}

async fn push_mount(s: Subject) -> Kept {
    s.blob(b"to be mounted").await?;
    mounted_or_session(&s, Some(&s.repository), b"to be mounted").await
}

async fn push_mount_of_what_is_not_there_opens_a_session(s: Subject) -> Kept {
    let bytes = b"nobody has this";
    let (_, reply) = mounted(&s, Some(&s.repository), &Digest::of(bytes)).await?;
    reply.is(202)?;
    s.close(reply.location()?, Digest::of(bytes), bytes).await?.is(201)
}

async fn push_mount_without_a_source(s: Subject) -> Kept {
    s.blob(b"somewhere").await?;
    mounted_or_session(&s, None, b"somewhere").await
}

async fn push_manifest_by_tag(s: Subject) -> Kept {
    let bytes = s.image("1").await?.to_string().into_bytes();
    let reply = s.put("v1", MANIFEST, &bytes).await?;
    reply.is(201)?;
    must!(s.get(reply.location()?).await?.body == bytes, "other bytes at {:?}", reply.header("location"));
    // The header may be left out here; if it is there it must be right.
    if reply.header("docker-content-digest").is_some() {
        reply.has_digest(&Digest::of(&bytes))?;
    }
    Ok(())
}

async fn push_manifest_by_digest(s: Subject) -> Kept {
    let bytes = s.image("1").await?.to_string().into_bytes();
    let digest = Digest::of(&bytes);
    let reply = s.put(&digest.to_string(), MANIFEST, &bytes).await?;
    reply.is(201)?;
    must!(s.get(reply.location()?).await?.body == bytes, "other bytes at {:?}", reply.header("location"));
    s.get(s.url(&format!("manifests/{digest}"))).await?.is(200)
}

async fn push_manifest_of_another_digest_is_refused(s: Subject) -> Kept {
    let bytes = s.image("1").await?.to_string().into_bytes();
    let other = Digest::of(b"something else").to_string();
    let reply = s.put(&other, MANIFEST, &bytes).await?;
    must!((400..500).contains(&reply.status), "{}", reply.status);
    s.head(s.url(&format!("manifests/{other}"))).await?.is(404)
}

async fn push_manifest_keeps_every_byte(s: Subject) -> Kept {
    let mut document = s.image("1").await?;
    document["org.example.unknown"] = json!({ "b": 1, "a": [1.50, "\u{e4}"] });
    let odd = format!("\n\t{}  \n", serde_json::to_string_pretty(&document).unwrap().replace("\": ", "\"  :\t"));
    s.put("odd", MANIFEST, odd.as_bytes()).await?.is(201)?;
    must!(s.get(s.url("manifests/odd")).await?.body == odd.as_bytes(), "other bytes");
    s.get(s.url(&format!("manifests/{}", Digest::of(odd.as_bytes())))).await?.is(200)
}

async fn push_manifest_type_parameters_are_ignored(s: Subject) -> Kept {
    let bytes = s.image("1").await?.to_string().into_bytes();
    s.put("v1", &format!("{MANIFEST}; charset=utf-8"), &bytes).await?.is(201)
}

async fn push_manifest_without_layers(s: Subject) -> Kept {
    let mut document = s.image("1").await?;
    document["layers"] = json!([]);
    let (digest, bytes) = s.manifest(&document).await?;
    must!(s.get(s.url(&format!("manifests/{digest}"))).await?.body == bytes, "other bytes");
    Ok(())
}

/// A manifest of so many bytes.
async fn large(s: &Subject, size: usize) -> Result<Vec<u8>, Broken> {
    let mut document = s.image("1").await?;
    document["annotations"] = json!({ "org.example.large": "" });
    let empty = document.to_string().len();
    document["annotations"] = json!({ "org.example.large": "x".repeat(size - empty) });
    Ok(document.to_string().into_bytes())
}

async fn push_manifest_of_four_megabytes(s: Subject) -> Kept {
    let bytes = large(&s, 4_000_000).await?;
    s.put("large", MANIFEST, &bytes).await?.is(201)?;
    must!(s.get(s.url("manifests/large")).await?.body == bytes, "other bytes");
    Ok(())
}

async fn push_manifest_that_is_too_large(s: Subject) -> Kept {
    let bytes = large(&s, 9 << 20).await?;
    s.put("huge", MANIFEST, &bytes).await?.is(413)
}

async fn push_manifest_that_is_no_manifest(s: Subject) -> Kept {
    for text in ["{", "not JSON", "[]"] {
        let reply = s.put("v1", MANIFEST, text.as_bytes()).await?;
        must!((400..500).contains(&reply.status), "{text}: {}", reply.status);
    }
    s.head(s.url("manifests/v1")).await?.is(404)
}

async fn push_manifest_of_missing_parts(s: Subject) -> Kept {
    let mut document = s.image("1").await?;
    document["layers"][0]["digest"] = Digest::of(b"nobody").to_string().into();
    let reply = s.put("v1", MANIFEST, document.to_string().as_bytes()).await?;
    if reply.status == 201 {
        return Ok(());
    }
    must!((400..500).contains(&reply.status), "{}", reply.status);
    let errors = reply.json()?;
    let codes: Vec<_> = errors["errors"].as_array().into_iter().flatten().map(|e| e["code"].clone()).collect();
    must!(codes.contains(&"MANIFEST_BLOB_UNKNOWN".into()), "{codes:?}");
    Ok(())
}

async fn push_manifest_of_an_artifact(s: Subject) -> Kept {
    s.blob(b"{}").await?;
    let empty = descriptor("application/vnd.oci.empty.v1+json", b"{}");
    let document = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example.release.v1",
        "config": empty, "layers": [empty],
    });
    let (digest, bytes) = s.manifest(&document).await?;
    must!(s.get(s.url(&format!("manifests/{digest}"))).await?.body == bytes, "other bytes");
    Ok(())
}

async fn push_manifest_before_its_subject(s: Subject) -> Kept {
    let mut document = s.image("1").await?;
    document["subject"] = descriptor(MANIFEST, b"not there yet");
    s.manifest(&document).await.map(drop)
}

async fn push_index(s: Subject) -> Kept {
    let (_, one) = s.manifest(&s.image("1").await?).await?;
    let (_, two) = s.manifest(&s.image("2").await?).await?;
    let manifests = [descriptor(MANIFEST, &one), descriptor(MANIFEST, &two)];
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let bytes = index.to_string().into_bytes();
    s.put("both", INDEX, &bytes).await?.is(201)?;
    let reply = s.get(s.url("manifests/both")).await?;
    reply.is(200)?;
    must!(reply.body == bytes && reply.header("content-type") == Some(INDEX), "{:?}", reply.header("content-type"));
    Ok(())
}

async fn push_tag_moves(s: Subject) -> Kept {
    s.put("v1", MANIFEST, s.image("1").await?.to_string().as_bytes()).await?.is(201)?;
    let second = s.image("2").await?.to_string().into_bytes();
    s.put("v1", MANIFEST, &second).await?.is(201)?;
    must!(s.get(s.url("manifests/v1")).await?.body == second, "the tag stayed where it was");
    Ok(())
}

async fn push_tag_twice(s: Subject) -> Kept {
    let bytes = s.image("1").await?.to_string().into_bytes();
    s.put("v1", MANIFEST, &bytes).await?.is(201)?;
    let reply = s.put("v1", MANIFEST, &bytes).await?;
    // Amazon's registry refuses even this; the specification does not say.
    must!(matches!(reply.status, 201 | 400), "{}", reply.status);
    must!(s.get(s.url("manifests/v1")).await?.body == bytes, "other bytes");
    Ok(())
}

async fn push_tag_that_is_no_tag(s: Subject) -> Kept {
    let bytes = s.image("1").await?.to_string().into_bytes();
    for tag in [".v1", "-v1", &"x".repeat(129)] {
        let reply = s.put(tag, MANIFEST, &bytes).await?;
        must!((400..500).contains(&reply.status), "{tag}: {}", reply.status);
    }
    Ok(())
}

async fn push_into_a_name_that_is_none(s: Subject) -> Kept {
    for name in ["Upper", "a//b", "-a", "a_-b", "a."] {
        let reply = s.send(Method::POST, s.in_repository(name, "blobs/uploads/"), &[], b"").await?;
        must!((300..500).contains(&reply.status), "{name}: {}", reply.status);
    }
    Ok(())
}
