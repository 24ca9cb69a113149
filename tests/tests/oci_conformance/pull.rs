//! "Determining Support" and "Pull".

use promo_core::Digest;
use reqwest::Method;

use crate::client::{Kept, MANIFEST, Subject, must, rules};

rules![
    support_is_said,
    pull_manifest,
    pull_manifest_type_has_no_parameters,
    pull_manifest_head,
    pull_manifest_that_is_not_there,
    pull_from_a_repository_that_is_not_there,
    pull_blob,
    pull_blob_head,
    pull_blob_that_is_not_there,
    pull_blob_range,
    pull_blob_open_range,
    pull_blob_range_behind_the_end,
    pull_blob_of_another_repository,
];

async fn support_is_said(s: Subject) -> Kept {
    s.get(s.root()).await?.is(200)
}

async fn pull_manifest(s: Subject) -> Kept {
    let (digest, bytes) = s.tagged("v1").await?;
    for reference in ["v1".to_string(), digest.to_string()] {
        let reply = s.get(s.url(&format!("manifests/{reference}"))).await?;
        reply.is(200)?;
        reply.has_digest(&digest)?;
        must!(reply.body == bytes, "other bytes under {reference}");
        let media_type = reply.header("content-type").unwrap_or_default();
        must!(media_type.split(';').next() == Some(MANIFEST), "{reference} is served as `{media_type}`");
    }
    Ok(())
}

async fn pull_manifest_type_has_no_parameters(s: Subject) -> Kept {
    let bytes = s.image("1").await?.to_string().into_bytes();
    s.put("v1", MANIFEST, &bytes).await?.is(201)?;
    let reply = s.get(s.url("manifests/v1")).await?;
    must!(reply.header("content-type") == Some(MANIFEST), "{:?}", reply.header("content-type"));
    Ok(())
}

async fn pull_manifest_head(s: Subject) -> Kept {
    let (digest, bytes) = s.tagged("v1").await?;
    for reference in ["v1".to_string(), digest.to_string()] {
        let reply = s.head(s.url(&format!("manifests/{reference}"))).await?;
        reply.is(200)?;
        reply.has_digest(&digest)?;
        let length = reply.header("content-length");
        must!(length == Some(&bytes.len().to_string()), "Content-Length of {reference} is {length:?}");
    }
    Ok(())
}

async fn pull_manifest_that_is_not_there(s: Subject) -> Kept {
    s.tagged("v1").await?;
    for reference in ["v2".to_string(), Digest::of(b"nobody").to_string()] {
        s.get(s.url(&format!("manifests/{reference}"))).await?.is(404)?;
        s.head(s.url(&format!("manifests/{reference}"))).await?.is(404)?;
    }
    Ok(())
}

async fn pull_from_a_repository_that_is_not_there(s: Subject) -> Kept {
    s.get(s.url("manifests/v1")).await?.is(404)?;
    s.head(s.url("manifests/v1")).await?.is(404)?;
    s.get(s.url(&format!("blobs/{}", Digest::of(b"nobody")))).await?.is(404)
}

async fn pull_blob(s: Subject) -> Kept {
    for bytes in [&b"0123456789"[..], b""] {
        let digest = s.blob(bytes).await?;
        let reply = s.get(s.url(&format!("blobs/{digest}"))).await?;
        reply.is(200)?;
        reply.has_digest(&digest)?;
        must!(reply.body == bytes, "other bytes");
    }
    Ok(())
}

async fn pull_blob_head(s: Subject) -> Kept {
    let digest = s.blob(b"0123456789").await?;
    let reply = s.head(s.url(&format!("blobs/{digest}"))).await?;
    reply.is(200)?;
    reply.has_digest(&digest)?;
    must!(reply.header("content-length") == Some("10"), "{:?}", reply.header("content-length"));
    Ok(())
}

async fn pull_blob_that_is_not_there(s: Subject) -> Kept {
    s.blob(b"0123456789").await?;
    let url = s.url(&format!("blobs/{}", Digest::of(b"nobody")));
    s.get(url.clone()).await?.is(404)?;
    s.head(url).await?.is(404)
}

async fn ranged(s: &Subject, range: &str) -> Result<crate::client::Reply, crate::client::Broken> {
    let digest = s.blob(b"0123456789").await?;
    s.send(Method::GET, s.url(&format!("blobs/{digest}")), &[("range", range)], b"").await
}

async fn pull_blob_range(s: Subject) -> Kept {
    let reply = ranged(&s, "bytes=2-5").await?;
    reply.is(206)?;
    must!(reply.body == b"2345", "{:?}", String::from_utf8_lossy(&reply.body));
    must!(reply.header("content-range") == Some("bytes 2-5/10"), "{:?}", reply.header("content-range"));
    Ok(())
}

async fn pull_blob_open_range(s: Subject) -> Kept {
    for (range, part) in [("bytes=7-", &b"789"[..]), ("bytes=-2", b"89"), ("bytes=8-99", b"89")] {
        let reply = ranged(&s, range).await?;
        reply.is(206)?;
        must!(reply.body == part, "{range}: {:?}", String::from_utf8_lossy(&reply.body));
    }
    Ok(())
}

async fn pull_blob_range_behind_the_end(s: Subject) -> Kept {
    ranged(&s, "bytes=10-12").await?.is(416)
}

async fn pull_blob_of_another_repository(s: Subject) -> Kept {
    let digest = s.blob(b"only here").await?;
    let other = format!("{}/other", s.repository);
    s.get(s.in_repository(&other, &format!("blobs/{digest}"))).await?.is(404)
}
