//! A thin line for `tests/load/link.sh`: so many bits a second from server to client, a round trip that takes its time, and
//! a cut of every connection each so often. It reads ahead by what is on its way and no more, so what was not sent before a
//! cut was never sent.
//!
//! `GET /counts` answers how many bytes have arrived at clients, and how often it was cut while they were connected.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// What travels as one, as in an Ethernet frame.
const PACKET_BYTES: usize = 1448;
/// Packets on their way at most, each way: 200 ms of 58 Mbit/s.
const MAX_PACKETS: usize = 1000;
/// What the line makes up for if this program was not run in time.
const SLACK: Duration = Duration::from_millis(50);
/// A question for the counts; TLS begins otherwise.
const QUESTION: &[u8; 11] = b"GET /counts";

/// A slow line on loopback that breaks.
#[derive(Parser)]
struct Args {
    /// Where the port is written once it listens.
    #[arg(long)]
    port_file: PathBuf,
    /// Where the server is.
    #[arg(long)]
    to: SocketAddr,
    /// From server to client.
    #[arg(long)]
    bits_per_sec: u64,
    /// There and back.
    #[arg(long)]
    round_trip_ms: u64,
    /// Every connection is cut each time so much has passed; 0 for never.
    #[arg(long, default_value_t = 0)]
    cut_every_ms: u64,
}

struct Line {
    args: Args,
    /// When the line is free for the next packet down: there is one, for all connections.
    free: Mutex<Instant>,
    /// Bytes that have arrived at clients.
    arrived: AtomicU64,
    /// Cuts that met a connection.
    cuts: AtomicU64,
    cut: watch::Sender<()>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(args.bits_per_sec > 0, "--bits-per-sec 0: nothing would ever arrive");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("binding a port on loopback")?;
    let draft = args.port_file.with_extension("new");
    std::fs::write(&draft, format!("{}\n", listener.local_addr()?.port()))?;
    std::fs::rename(&draft, &args.port_file).with_context(|| format!("writing {}", args.port_file.display()))?;
    let line = Arc::new(Line::new(args));
    if line.args.cut_every_ms > 0 {
        tokio::spawn(line.clone().cut());
    }
    loop {
        let (client, _) = listener.accept().await.context("accepting")?;
        // A connection that fails is its client's loss only, and shown to it.
        tokio::spawn(line.clone().serve(client));
    }
}

impl Line {
    fn new(args: Args) -> Self {
        Self {
            args,
            free: Mutex::new(Instant::now()),
            arrived: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            cut: watch::Sender::new(()),
        }
    }

    async fn cut(self: Arc<Self>) {
        loop {
            sleep(Duration::from_millis(self.args.cut_every_ms)).await;
            self.cut_now();
        }
    }

    fn cut_now(&self) {
        if self.cut.send(()).is_ok() {
            self.cuts.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn serve(self: Arc<Self>, client: TcpStream) -> io::Result<()> {
        let mut start = [0; QUESTION.len()];
        let seen = client.peek(&mut start).await?;
        if start.get(..seen) == Some(QUESTION.as_slice()) {
            return self.tell(client).await;
        }
        let mut cut = self.cut.subscribe();
        tokio::select! {
            carried = self.carry(client) => carried,
            _ = cut.changed() => Ok(()),
        }
    }

    async fn tell(&self, mut client: TcpStream) -> io::Result<()> {
        let body = format!("{} {}\n", self.arrived.load(Ordering::SeqCst), self.cuts.load(Ordering::SeqCst));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        client.write_all((head + &body).as_bytes()).await
    }

    /// Both ways, until either ends.
    async fn carry(&self, client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let server = TcpStream::connect(self.args.to).await?;
        server.set_nodelay(true)?;
        let there_and_back = Duration::from_millis(self.args.round_trip_ms);
        // The client's kernel has ended TCP's greeting at once, which takes a round trip.
        sleep(there_and_back).await;
        let (client_in, client_out) = client.into_split();
        let (server_in, server_out) = server.into_split();
        tokio::select! {
            ended = self.forward(client_in, server_out, there_and_back / 2, Way::Up) => ended,
            ended = self.forward(server_in, client_out, there_and_back / 2, Way::Down) => ended,
        }
    }

    /// Carries one direction until it ends and everything has arrived.
    async fn forward(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        takes: Duration,
        way: Way,
    ) -> io::Result<()> {
        let (sender, mut packets) = mpsc::channel::<(Instant, Vec<u8>)>(MAX_PACKETS);
        let leave = async move {
            loop {
                let mut packet = vec![0; PACKET_BYTES];
                let length = from.read(&mut packet).await?;
                if length == 0 {
                    return Ok::<_, io::Error>(());
                }
                packet.truncate(length);
                let left = match way {
                    Way::Up => Instant::now(),
                    Way::Down => self.place(length as u64, Instant::now()),
                };
                sleep_until(left).await;
                if sender.send((left + takes, packet)).await.is_err() {
                    return Ok(());
                }
            }
        };
        let arrive = async {
            while let Some((at, packet)) = packets.recv().await {
                sleep_until(at).await;
                to.write_all(&packet).await?;
                if matches!(way, Way::Down) {
                    self.arrived.fetch_add(packet.len() as u64, Ordering::SeqCst);
                }
            }
            Ok(())
        };
        tokio::try_join!(leave, arrive).map(|_| ())
    }

    /// When a packet of so many bytes has left that comes `now`, behind all others.
    fn place(&self, bytes: u64, now: Instant) -> Instant {
        let takes = Duration::from_nanos(bytes.saturating_mul(8_000_000_000) / self.args.bits_per_sec);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = (*free).max(now.checked_sub(SLACK).unwrap_or(now));
        *free = begin + takes;
        *free
    }
}

#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(to: SocketAddr) -> Arc<Line> {
        let args = Args { port_file: PathBuf::new(), to, bits_per_sec: 2_000_000, round_trip_ms: 2, cut_every_ms: 0 };
        Arc::new(Line::new(args))
    }

    /// A client of `source`, over a line.
    async fn client(source: Vec<u8>) -> (Arc<Line>, TcpStream) {
        let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let line = line(server.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            // The line may be cut; that is what it is for.
            let _ = stream.write_all(&source).await;
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(b"anything but the question").await.unwrap();
        tokio::spawn(line.clone().serve(listener.accept().await.unwrap().0));
        (line, client)
    }

    #[test]
    fn packets_leave_one_behind_another_at_the_line_s_rate() {
        let line = line(([127, 0, 0, 1], 1).into());
        let start = Instant::now() + Duration::from_secs(60);
        let left = |bytes, now| line.place(bytes, now).duration_since(start);
        // 250,000 bytes a second; what was not carried in the last 50 ms is made up for.
        assert_eq!(left(25_000, start), Duration::from_millis(50));
        assert_eq!(left(25_000, start), Duration::from_millis(150));
        assert_eq!(left(25_000, start + Duration::from_secs(10)), Duration::from_millis(10_050));
    }

    #[tokio::test]
    async fn everything_arrives_in_order() {
        let source: Vec<u8> = (0..20_000_u32).map(|n| (n % 251) as u8).collect();
        let (line, mut client) = client(source.clone()).await;
        let mut came = Vec::new();
        client.read_to_end(&mut came).await.unwrap();
        assert_eq!(came, source);
        assert_eq!((line.arrived.load(Ordering::SeqCst), line.cuts.load(Ordering::SeqCst)), (20_000, 0));
    }

    #[tokio::test]
    async fn a_cut_loses_what_was_not_sent() {
        let (line, mut client) = client(vec![7; 16 << 20]).await;
        let mut came = vec![0; 10_000];
        client.read_exact(&mut came).await.unwrap();
        line.cut_now();
        // Ended or reset, as it meets it.
        let _ = client.read_to_end(&mut came).await;
        assert!(came.len() < 16 << 20, "{} bytes came through a line that was cut", came.len());
        line.cut_now();
        assert_eq!(line.cuts.load(Ordering::SeqCst), 1, "nobody was connected the second time");
    }
}
