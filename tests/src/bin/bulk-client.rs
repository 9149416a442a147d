//! The receiving side of the bulk benchmark (`tests/load/bulk.sh`): one payload over mutual TLS with the connection code that
//! the agent and suturectl share, either counted and dropped, or verified chunk by chunk into a file.
//!
//! Who it is comes from a home of suturectl's, what there is from the payload's chunk index.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use clap::Parser;
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use suture_core::chunk::{self, Index};
use suture_core::clock::Clock;
use suture_core::digest::Digest;
use suture_proto::connect::{self, Identity, ProxyRules, Settings, Trust};
use suture_proto::v1::{ChunkRange, FetchChunksRequest, FetchChunksResponse};
use tokio::sync::mpsc;

/// As in the programs.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Messages between the thread that receives and the one that verifies and writes: 8 MiB of frames.
const QUEUE: usize = 32;

/// Fetches one payload.
#[derive(Parser)]
struct Args {
    /// A home of suturectl's that has joined the server.
    #[arg(long)]
    home: PathBuf,
    /// The payload's chunk index.
    #[arg(long)]
    index: PathBuf,
    /// Verify every chunk into this file; without it the bytes are counted and dropped.
    #[arg(long)]
    output: Option<PathBuf>,
}

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where this program asks for the time")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

// One thread receives: two workers only pass the connection to and fro.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let index_bytes = std::fs::read(&args.index).with_context(|| format!("reading {}", args.index.display()))?;
    let index = Index::parse(&index_bytes).with_context(|| format!("{} is no index", args.index.display()))?;
    let request = FetchChunksRequest {
        index_sha256: Digest::of(&index_bytes).as_bytes().to_vec().into(),
        ranges: vec![ChunkRange { first: 0, count: u32::try_from(index.entries().len())? }],
    };
    let mut client = connect::operator_client(connect::connect(&settings(&args.home)?).await?);
    let mut stream = client.fetch_chunks(request).await.context("asking for the chunks")?.into_inner();
    let total = index.total_length();

    let received = match args.output {
        None => {
            let mut received = 0;
            while let Some(message) = stream.message().await.context("receiving")? {
                received += message.data.len() as u64;
            }
            received
        }
        Some(path) => {
            let (sender, receiver) = mpsc::channel(QUEUE);
            // Hashing and writing cost more than receiving; they have a thread of their own.
            let writer = tokio::task::spawn_blocking(move || write(&path, &index, receiver));
            while let Some(message) = stream.message().await.context("receiving")? {
                if sender.send(message).await.is_err() {
                    break;
                }
            }
            drop(sender);
            writer.await.context("the writing thread")??
        }
    };
    ensure!(received == total, "{received} bytes came of {total}");
    Ok(())
}

/// Verifies what is received and writes it; the bytes written.
fn write(path: &Path, index: &Index, mut messages: mpsc::Receiver<FetchChunksResponse>) -> anyhow::Result<u64> {
    let mut file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
    let mut written = 0;
    let mut entries = index.entries().iter().enumerate();
    while let Some(message) = messages.blocking_recv() {
        let mut data = &message.data[..];
        for fetched in &message.chunks {
            let Some((ordinal, entry)) = entries.next() else { bail!("more chunks came than the index lists") };
            ensure!(fetched.ordinal as usize == ordinal, "chunk {} came for {ordinal}", fetched.ordinal);
            let (stored, rest) =
                data.split_at_checked(fetched.stored_length as usize).context("a message is too short")?;
            let raw = chunk::decode(stored, entry).with_context(|| format!("chunk {ordinal}"))?;
            file.write_all(&raw).with_context(|| format!("writing {}", path.display()))?;
            written += raw.len() as u64;
            data = rest;
        }
        ensure!(data.is_empty(), "a message is too long");
    }
    Ok(written)
}

fn settings(home: &Path) -> anyhow::Result<Settings> {
    let file = home.join("server.json");
    let text = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    let server: serde_json::Value = serde_json::from_slice(&text).context("server.json is not JSON")?;
    let field = |name: &str| {
        server.get(name).and_then(serde_json::Value::as_str).with_context(|| format!("server.json has no {name}"))
    };
    let ca = base64::engine::general_purpose::STANDARD.decode(field("ca")?).context("the CA certificate")?;
    let chain = CertificateDer::pem_file_iter(home.join("identity/chain.pem"))
        .and_then(Iterator::collect)
        .context("reading identity/chain.pem")?;
    let key = PrivateKeyDer::from_pem_file(home.join("identity/tls.key")).context("reading identity/tls.key")?;
    Ok(Settings {
        address: field("address")?.to_owned(),
        trust: Trust::Cas(vec![ca.into()]),
        identity: Some(Identity { chain, key: Arc::new(key) }),
        proxy: ProxyRules::none(),
        clock: Arc::new(SystemClock),
    })
}
