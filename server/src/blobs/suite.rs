//! The contract of [`Blobs`], as tests that any implementation must pass.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::s3::service;
use super::{BlobError, Blobs};

/// A store, where its objects are as files, and what keeps them.
struct Tried {
    blobs: Blobs,
    folder: PathBuf,
    root: tempfile::TempDir,
}

async fn in_directory() -> Tried {
    let root = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(root.path(), Timestamp::UNIX_EPOCH).await.unwrap();
    Tried { blobs, folder: root.path().to_owned(), root }
}

async fn in_bucket() -> Tried {
    let root = tempfile::tempdir().unwrap();
    let url = service::serve(root.path()).await;
    let place = service::place(&url, service::SECRET, "hospitals/suture/");
    let blobs = Blobs::open_s3(&place, &service::way(), service::clock()).await.unwrap();
    Tried { blobs, folder: root.path().join(service::BUCKET).join("hospitals/suture"), root }
}

/// Names of files in a store's folder and below, but for a service's own.
fn left(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => names.push(entry.file_name().into_string().unwrap()),
            }
        }
    }
    names
}

/// Each kind of store, empty.
async fn stores() -> [Tried; 2] {
    [in_directory().await, in_bucket().await]
}

#[tokio::test]
async fn what_was_put_is_read_back_in_any_range_and_no_further() {
    for store in stores().await {
        let blobs = &store.blobs;
        blobs.put("packs/abc", Bytes::from_static(b"0123456789")).await.unwrap();
        for (offset, length, want) in [(0, 10, &b"0123456789"[..]), (3, 4, b"3456"), (10, 0, b""), (0, 0, b"")] {
            assert_eq!(blobs.get_range("packs/abc", offset, length).await.unwrap(), want);
        }
        for (offset, length) in [(0, 11), (10, 1), (u64::MAX, 1), (1, u64::MAX)] {
            let refused = blobs.get_range("packs/abc", offset, length).await;
            assert!(matches!(refused, Err(BlobError::Range { length: 10, .. })), "{offset} {length}");
        }
        for (offset, length, want) in
            [(0, 10, &b"0123456789"[..]), (0, 4, b"0123"), (8, 4, b"89"), (10, 4, b""), (0, 0, b"")]
        {
            assert_eq!(blobs.get_up_to("packs/abc", offset, length, ()).await.unwrap(), want);
        }
        assert_eq!(blobs.length("packs/abc").await.unwrap(), Some(10));
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_not_to_be() {
    for store in stores().await {
        let blobs = &store.blobs;
        assert!(
            matches!(blobs.get_range("packs/abc", 0, 0).await, Err(BlobError::NotFound(name)) if name == "packs/abc")
        );
        assert!(
            matches!(blobs.get_up_to("packs/abc", 0, 1, ()).await, Err(BlobError::NotFound(name)) if name == "packs/abc")
        );
        assert_eq!(blobs.length("packs/abc").await.unwrap(), None);
        blobs.delete("packs/abc").await.unwrap();
        blobs.put("packs/abc", Bytes::new()).await.unwrap();
        blobs.delete("packs/abc").await.unwrap();
        assert_eq!(blobs.length("packs/abc").await.unwrap(), None);
    }
}

#[tokio::test]
async fn nothing_but_a_name_is_taken_for_one() {
    for store in stores().await {
        let blobs = &store.blobs;
        for bad in
            ["abc", "packs/", "packs/ab", "packs/../x", "packs/a/b", "/abc", "Packs/abc", "packs/ABC", "packs/a.b"]
        {
            assert!(matches!(blobs.put(bad, Bytes::new()).await, Err(BlobError::Name(_))), "{bad}");
            assert!(matches!(blobs.get_range(bad, 0, 0).await, Err(BlobError::Name(_))), "{bad}");
        }
    }
}

#[tokio::test]
async fn many_at_once_leave_one_whole_object() {
    for store in stores().await {
        let Tried { blobs, folder, .. } = &store;
        let content = Bytes::from(vec![7; 100_000]);
        let puts = (0..16).map(|_| {
            let (blobs, content) = (blobs.clone(), content.clone());
            tokio::spawn(async move { blobs.put("packs/same", content).await })
        });
        for put in futures::future::join_all(puts).await {
            put.unwrap().unwrap();
        }
        assert_eq!(blobs.get_range("packs/same", 0, 100_000).await.unwrap(), content);
        assert_eq!(left(folder), ["same"]);
    }
}

#[tokio::test]
async fn names_are_listed_in_order_page_by_page() {
    for store in stores().await {
        let Tried { blobs, folder, .. } = &store;
        let mut want: Vec<String> = ["ab1", "ab2", "aa9", "zz0", "b00"].map(|id| format!("packs/{id}")).into();
        for name in &want {
            blobs.put(name, Bytes::new()).await.unwrap();
        }
        blobs.put("documents/abc", Bytes::new()).await.unwrap();
        std::fs::write(folder.join("packs/ab/ab1.copy"), b"by hand").unwrap();
        want.sort();
        assert_eq!(blobs.list("packs", None, 100).await.unwrap(), want);
        let mut pages = Vec::new();
        while let page = blobs.list("packs", pages.last().map(String::as_str), 2).await.unwrap()
            && !page.is_empty()
        {
            pages.extend(page);
        }
        assert_eq!(pages, want);
    }
}

#[tokio::test]
async fn opening_clears_what_an_interrupted_put_left_and_nothing_that_may_be_anothers() {
    let Tried { blobs, root, .. } = in_directory().await;
    blobs.put("packs/abc", Bytes::from_static(b"x")).await.unwrap();
    let half = root.path().join(".unfinished/half");
    std::fs::write(&half, b"x").unwrap();
    let written = Timestamp::try_from(std::fs::metadata(&half).unwrap().modified().unwrap()).unwrap();
    for (secs, left) in [(0, true), (3_600, true), (3_601, false), (3_601, false)] {
        let again = Blobs::open(root.path(), written + SignedDuration::from_secs(secs)).await.unwrap();
        assert_eq!(half.exists(), left, "after {secs} seconds");
        assert_eq!(again.length("packs/abc").await.unwrap(), Some(1));
    }
}

/// `/dev/full` answers every write as a full disk does.
#[tokio::test]
async fn a_full_disk_is_named_and_leaves_nothing() {
    let error = std::fs::write(Path::new("/dev/full"), b"x").unwrap_err();
    let name = super::Name::parse("packs/abc").unwrap();
    let full = super::directory::failed("put", &name, error);
    assert!(matches!(&full, BlobError::DiskFull { .. }));
    assert!(full.to_string().contains("packs/abc"));
}
