//! The receiving side of `tests/load/bulk.sh` and `crowd.sh`: one payload over mutual TLS, by the code that the agent
//! fetches with; either verified chunk by chunk into a file, or counted and dropped.
//!
//! Who it is comes from a home of suturectl's, what there is from the payload's chunk index.

use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use clap::Parser;
use futures::StreamExt as _;
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use suture_agent::backoff::{Backoff, Random};
use suture_agent::client::{Chunks, ClientError, Pieces, Wire, bulk};
use suture_agent::fetch::{Part, complete};
use suture_core::chunk::Index;
use suture_core::clock::Clock;
use suture_core::digest::Digest;
use suture_core::limits::MAX_CHUNKS_PER_CALL;
use suture_ctl::home::Server;
use suture_proto::connect::{Identity, ProxyRules, Settings, Trust};
use suture_proto::v1;

/// As in the programs.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Fetches one payload.
#[derive(Parser)]
struct Args {
    /// A home of suturectl's that has joined the server.
    #[arg(long)]
    home: PathBuf,
    /// The payload's chunk index.
    #[arg(long)]
    index: PathBuf,
    /// Verify every chunk into this file, as the agent does; without it the bytes are counted and dropped.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Make the file durable before the end.
    #[arg(long, requires = "output")]
    sync: bool,
    /// So many clients at once, each on a connection of its own. Prints a line for each: bytes a second, seconds.
    #[arg(long, conflicts_with = "output")]
    clients: Option<usize>,
}

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where this program asks for the time")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A source of chunks that needs no device to be enrolled.
struct Operator(Wire);

impl Chunks for Operator {
    async fn chunks(&mut self, index: &Digest, ranges: &[Range<u32>], held: u32) -> Result<Pieces, ClientError> {
        let range = |r: &Range<u32>| v1::ChunkRange { first: r.start, count: r.end.saturating_sub(r.start) };
        let request = v1::FetchChunksRequest {
            index_sha256: index.as_bytes().to_vec().into(),
            ranges: ranges.iter().map(range).collect(),
            held_bytes: held,
        };
        bulk::chunks(&self.0, "/suture.v1.OperatorService/FetchChunks", &request).await
    }
}

// One thread receives: two workers only pass the connection to and fro.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let bytes = std::fs::read(&args.index).with_context(|| format!("reading {}", args.index.display()))?;
    let index = Index::parse(&bytes).with_context(|| format!("{} is no index", args.index.display()))?;
    let digest = Digest::of(&bytes);
    let settings = settings(&args.home)?;
    match (args.output, args.clients) {
        (Some(path), _) => {
            let part = Arc::new(Part::open(path, index, Arc::default())?);
            let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(2)).context("the delays")?;
            let retry: (Backoff, Random) = (backoff, Arc::new(|| 0));
            complete(&mut client(&settings)?, &digest, &part, &retry).await?;
            if args.sync {
                tokio::task::spawn_blocking(move || part.sync()).await??;
            }
        }
        (None, None) => drop(discard(&settings, &digest, &index).await?),
        (None, Some(clients)) => {
            let all = futures::future::try_join_all((0..clients).map(|_| discard(&settings, &digest, &index)));
            for took in all.await? {
                let rate = index.total_length() as f64 / took.as_secs_f64();
                writeln!(std::io::stdout(), "{rate:.0} {:.3}", took.as_secs_f64())?;
            }
        }
    }
    Ok(())
}

fn client(settings: &Settings) -> anyhow::Result<Operator> {
    Ok(Operator(Wire::new(settings)?))
}

/// Counts and drops the whole payload. How long that took, connection and all.
async fn discard(settings: &Settings, digest: &Digest, index: &Index) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut client = client(settings)?;
    let chunks = u32::try_from(index.entries().len())?;
    let mut bytes = 0;
    for first in (0..chunks).step_by(MAX_CHUNKS_PER_CALL) {
        let end = chunks.min(first.saturating_add(u32::try_from(MAX_CHUNKS_PER_CALL)?));
        let mut pieces = client.chunks(digest, std::slice::from_ref(&(first..end)), 0).await?;
        while let Some(frame) = pieces.next().await {
            bytes += frame?.iter().map(|piece| piece.stored.len() as u64).sum::<u64>();
        }
    }
    // Nothing can compress it, so it travels as it is.
    let total = index.total_length();
    ensure!(bytes == total, "{bytes} bytes came of {total}");
    Ok(start.elapsed())
}

fn settings(home: &Path) -> anyhow::Result<Settings> {
    let file = home.join("server.json");
    let text = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    let server: Server = serde_json::from_slice(&text).with_context(|| format!("reading {}", file.display()))?;
    let chain = CertificateDer::pem_file_iter(home.join("identity/chain.pem"))
        .and_then(Iterator::collect)
        .context("reading identity/chain.pem")?;
    let key = PrivateKeyDer::from_pem_file(home.join("identity/tls.key")).context("reading identity/tls.key")?;
    let authorities = server.certificates().map_err(|failure| anyhow!(failure.to_text()))?;
    Ok(Settings {
        address: server.address,
        trust: Trust::Cas(authorities.into_iter().map(Into::into).collect()),
        identity: Some(Identity { chain, key: Arc::new(key) }),
        proxy: ProxyRules::none(),
        clock: Arc::new(SystemClock),
    })
}
