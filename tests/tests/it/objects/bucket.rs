//! A bucket of an S3 service in this process, of another's making, with its objects as files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

const NAME: &str = "suture-objects";
const SECRET: &str = "a-secret-that-is-shown-nowhere";
const PREFIX: &str = "hospitals/suture";

/// A service that goes on until the test's end.
pub(super) struct Bucket {
    dir: tempfile::TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Bucket {
    /// An empty bucket.
    pub(super) async fn serve() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("service");
        std::fs::create_dir_all(root.join(NAME)).unwrap();
        let mut builder = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(&root).unwrap());
        builder.set_auth(s3s::auth::SimpleAuth::from_single("AKIA", SECRET));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
                tokio::spawn(async move {
                    // A client that goes away is no fault.
                    let _ = connection.await;
                });
            }
        });
        let secret = dir.path().join("s3.key");
        std::fs::write(&secret, SECRET).unwrap();
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
        let settings = vec![
            ("s3_endpoint", endpoint),
            ("s3_bucket", NAME.to_owned()),
            ("s3_prefix", PREFIX.to_owned()),
            ("s3_access_key", "AKIA".to_owned()),
            ("s3_secret_key_file", secret.to_str().unwrap().to_owned()),
        ];
        Self { dir, settings }
    }

    /// What a server is told of it.
    pub(super) fn settings(&self) -> Vec<(&'static str, &str)> {
        self.settings.iter().map(|(key, value)| (*key, value.as_str())).collect()
    }

    /// Where its objects of a kind are.
    pub(super) fn folder(&self, kind: &str) -> PathBuf {
        self.dir.path().join("service").join(NAME).join(PREFIX).join(kind)
    }

    /// How many there are.
    pub(super) fn objects(&self, kind: &str) -> usize {
        fn count(dir: &Path) -> usize {
            let entries = std::fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().path());
            entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        count(&self.folder(kind))
    }
}
