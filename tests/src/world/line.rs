//! A network line that a test can cut: it forwards bytes to the server and counts those that come back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A line with a listener of its own.
#[derive(Debug)]
pub struct Line {
    port: u16,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    server: watch::Sender<Option<SocketAddr>>,
    /// Bytes that came from the server.
    down: AtomicU64,
    /// The line is cut once `down` reaches this.
    cut_at: watch::Sender<u64>,
    cut: watch::Sender<bool>,
    /// If not zero, a cut is mended at once, and the next comes after so many bytes.
    every: AtomicU64,
    /// How often a line was cut that was mended at once.
    cuts: AtomicU64,
}

impl Line {
    /// A line that leads nowhere yet.
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            server: watch::Sender::new(None),
            down: AtomicU64::new(0),
            cut_at: watch::Sender::new(u64::MAX),
            cut: watch::Sender::new(false),
            every: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, shared.clone()));
        Self { port, shared, _tasks: tasks }
    }

    /// Where clients connect.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Leads to a server from now on.
    pub fn lead_to(&self, server: SocketAddr) {
        self.shared.server.send_replace(Some(server));
    }

    /// Bytes that came from the server so far.
    pub fn down(&self) -> u64 {
        self.shared.down.load(Ordering::SeqCst)
    }

    /// Cuts every connection, and refuses new ones, once that many more bytes have come from the server.
    pub fn cut_after(&self, bytes: u64) {
        self.shared.cut_at.send_replace(self.down() + bytes);
    }

    /// Cuts the connection each time that many more bytes have come from the server; new ones are taken at once.
    pub fn cut_every(&self, bytes: u64) {
        self.shared.every.store(bytes, Ordering::SeqCst);
        self.cut_after(bytes);
    }

    /// How often [`Line::cut_every`] has cut.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// Waits until it is cut.
    pub async fn until_cut(&self) {
        let mut cut = self.shared.cut.subscribe();
        cut.wait_for(|cut| *cut).await.unwrap();
    }

    /// Mends the line.
    pub fn mend(&self) {
        self.shared.every.store(0, Ordering::SeqCst);
        self.shared.cut_at.send_replace(u64::MAX);
        self.shared.cut.send_replace(false);
    }
}

impl Shared {
    fn is_cut(&self) -> bool {
        self.down.load(Ordering::SeqCst) >= *self.cut_at.borrow()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let server = *shared.server.borrow();
        let Some(server) = server.filter(|_| !shared.is_cut()) else { continue };
        let Ok(server) = TcpStream::connect(server).await else { continue };
        // What is passed on in pieces must not wait for the other side's word on the piece before: 40 ms each time.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let shared = shared.clone();
        connections.spawn(async move {
            let (client_in, client_out) = client.into_split();
            let (server_in, server_out) = server.into_split();
            tokio::select! {
                () = up(client_in, server_out) => {}
                () = down(server_in, client_out, &shared) => {}
            }
        });
    }
}

async fn up(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    // Either side may go at any time; that is what a line is for.
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

async fn down(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) {
    let mut cut_at = shared.cut_at.subscribe();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let limit = *cut_at.borrow_and_update();
        let left = limit.saturating_sub(shared.down.load(Ordering::SeqCst));
        if left == 0 {
            match shared.every.load(Ordering::SeqCst) {
                0 => drop(shared.cut.send_replace(true)),
                every => {
                    shared.cuts.fetch_add(1, Ordering::SeqCst);
                    shared.cut_at.send_replace(limit + every);
                }
            }
            return;
        }
        let room = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = tokio::select! {
            read = from.read(&mut buffer[..room]) => read,
            _ = cut_at.changed() => continue,
        };
        let Ok(n @ 1..) = read else { return };
        shared.down.fetch_add(n as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
