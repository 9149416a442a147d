//! What a hostile server can cost a device: each row is suffered by an agent of its own, the real program, whose highest
//! memory is the kernel's word, and then by one in this process, which says how long it waits before it asks again.
//!
//! Bounded is: a reason that names what came; memory, calls and bytes for each check-in within bounds that have nothing to
//! do with how much the server sends; and waits that grow, each with jitter. The attacks of the other tables are played
//! here where their burden is the point.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use suture_proto::v1::{FetchChunksResponse, FetchedChunk, GetTargetResponse};
use suture_tests::hostile::{Act, Answers};
use tonic::{Code, Status};

use super::metadata::ENDLESS;
use super::stage::{LOOK, PATIENCE, Row, Stage, row, state, tell};
use super::transfer::BYTES;

/// Above what the same program takes at rest: half of what a fetch may.
const MOST_MEMORY: u64 = 16 << 20;
/// Bytes from the server for each check-in: what is on its way before the device has said that it wants no more.
const MOST_BYTES: u64 = 4 << 20;
/// Calls for each check-in: an honest look makes some twenty, and a transfer is tried five times more.
const MOST_CALLS: u64 = 64;
/// Cycles in which waits are looked at: they grow until four times the configured second.
const CYCLES: usize = 3;

/// As long as it should be, and far longer, and never whole.
const ROWS: &[Row] = &[
    row("endless data", "a manifest of 1 GiB", "fetching(endless-data)", |act, _| {
        target(act, "bundles/pump/2/", || {
            let piece = Bytes::from(vec![b' '; 256 << 10]);
            futures::stream::repeat_with(move || Ok(GetTargetResponse { content: piece.clone() })).take(4 << 10).boxed()
        });
    }),
    row("endless data", "a manifest in pieces of a byte, without end", "fetching(endless-data)", |act, _| {
        target(act, "bundles/pump/2/", || {
            futures::stream::repeat_with(|| Ok(GetTargetResponse { content: Bytes::from_static(b"{") })).boxed()
        });
    }),
    row("wrong size", "a manifest one byte shorter than it was signed", "fetching(wrong-bytes)", |act, _| {
        act.loot.catalog.replace_targets("bundles/pump/2/", |content| content.truncate(content.len() - 1));
    }),
    row("a million chunks", "a chunk index with a million entries more", "fetching(endless-data)", |act, _| {
        act.loot.catalog.replace_targets("documents/", |content| content.resize(content.len() + 36_000_000, 7));
    }),
    row("a million chunks", "a frame that lists a million of them", "fetching(endless-data)", |act, _| {
        act.chunks = Some(Arc::new(|_| {
            let chunks = vec![FetchedChunk { ordinal: 0, stored_length: 0 }; 1_000_000];
            Some(once(FetchChunksResponse { chunks, data: Bytes::new() }))
        }));
    }),
    row("a million chunks", "a million of a byte, none of them asked for", "fetching(wrong-bytes)", |act, _| {
        act.chunks = Some(Arc::new(|_| {
            let part = FetchedChunk { ordinal: 1_000_000, stored_length: 1 };
            let frame = FetchChunksResponse { chunks: vec![part], data: Bytes::from_static(b"x") };
            Some(futures::stream::repeat_with(move || Ok(frame.clone())).take(1_000_000).boxed())
        }));
    }),
    row("withholding", "each transfer ends before its first byte", "fetching(transfer)", |act, _| {
        act.chunks = Some(Arc::new(|_| Some(futures::stream::empty().boxed())));
    }),
    row(
        "metadata that flaps",
        "a timestamp twice, then the one before it twice, and again",
        "fetching(rollback)",
        |act, _| {
            let before = act.loot.approvals.metadata["timestamp.json"].clone();
            let now = act.loot.now;
            let targets = act.loot.approvals.bytes(suture_core::trust::Role::Targets).to_vec();
            act.loot.approvals.seal(&targets, now);
            act.loot.payloads.clear();
            let asked = AtomicU32::new(0);
            act.metadata = Some(Arc::new(move |(of, name)| {
                let old =
                    of == "approvals" && name == "timestamp.json" && asked.fetch_add(1, Ordering::SeqCst) % 4 >= 2;
                old.then(|| Ok(before.clone()))
            }));
        },
    ),
];

/// Answers for the targets of the catalog whose names begin so.
fn target(act: &mut Act, begins: &'static str, answer: fn() -> Answers<GetTargetResponse>) {
    act.target = Some(Arc::new(move |(of, name)| (of == "catalog" && name.starts_with(begins)).then(answer)));
}

fn once(frame: FetchChunksResponse) -> Answers<FetchChunksResponse> {
    futures::stream::iter([Ok(frame)]).boxed()
}

/// What one row came to.
struct Burden {
    attack: &'static str,
    server: &'static str,
    says: String,
    memory: u64,
    bytes: u64,
    calls: u64,
    took: Duration,
    waits: Vec<Duration>,
}

impl Burden {
    fn faults(&self, rest: u64) -> Vec<String> {
        let mut faults = Vec::new();
        let mut over = |what: &str, is: u64, most: u64| {
            if is > most {
                faults.push(format!("{}, {}: {what} {is}, at most {most}", self.attack, self.server));
            }
        };
        over("bytes of memory above rest:", self.memory.saturating_sub(rest), MOST_MEMORY);
        over("bytes for each check-in:", self.bytes, MOST_BYTES);
        over("calls for each check-in:", self.calls, MOST_CALLS);
        if !self.waits.is_sorted_by(|a, b| a < b) {
            faults
                .push(format!("{}, {}: it does not wait longer each time: {:?}", self.attack, self.server, self.waits));
        }
        if self.says.ends_with("()") {
            faults.push(format!("{}, {}: it gives no reason", self.attack, self.server));
        }
        faults
    }
}

fn print(rest: u64, burdens: &[Burden]) {
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let mut lines = format!(
        "\nWhat a hostile server costs the agent (debug build; at rest, with an honest server, {} MiB)\n\n\
         | attack | what the server does | what the agent says | memory, MiB | a check-in: MiB | calls | s | waits, s |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        mib(rest)
    );
    for b in burdens {
        let waits: Vec<String> = b.waits.iter().map(|w| format!("{:.1}", w.as_secs_f64())).collect();
        lines.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} | {:.1} | {} |\n",
            b.attack,
            b.server,
            b.says,
            mib(b.memory),
            mib(b.bytes),
            b.calls,
            b.took.as_secs_f64(),
            waits.join(", ")
        ));
    }
    tell(&lines);
}

/// Half of it, then a little less each time, so that jitter alone makes no wait longer.
fn falling() -> suture_agent::backoff::Random {
    let next = AtomicU32::new(u32::MAX / 2);
    Arc::new(move || next.fetch_sub(u32::MAX / 1_000, Ordering::SeqCst))
}

impl Stage {
    /// What the agent takes where nothing is wrong and nothing to be done.
    async fn rest(&mut self) -> u64 {
        let device = self.device();
        let mut act = Act::honest(&self.loot);
        act.check_in = Arc::new(|answer| answer.confirmed = false);
        self.hostile.play(act);
        let agent = device.spawn();
        self.hostile.check_ins(3).await;
        let highest = agent.highest_memory().unwrap();
        agent.kill();
        highest
    }

    /// Plays a row to an agent, and once more to another one that says how long it waits.
    async fn burdens(&mut self, row: &Row) -> Burden {
        let play = |stage: &Self| {
            let mut act = Act::honest(&stage.loot);
            (row.play)(&mut act, &stage.keys);
            stage.hostile.play(act);
        };
        let device = self.device();
        play(self);
        let before = self.hospital.world.line.down();
        let begun = Instant::now();
        let mut agent = device.spawn();
        let wrong = self.comes_to(row.agent, &device, &mut agent).await;
        let wrong = wrong.or_else(|| super::stage::touched(&device));
        assert_eq!(wrong, None, "{}, {}", row.attack, row.server);
        let (took, memory) = (begun.elapsed(), agent.highest_memory().unwrap());
        let check_ins = self.hostile.said().len() as u64;
        let (bytes, calls) = ((self.hospital.world.line.down() - before) / check_ins, self.hostile.calls() / check_ins);
        let says = state(&device);
        agent.kill();
        let mut device = self.device();
        device.with_random(falling());
        play(self);
        let mut waits = Vec::new();
        for _ in 0..CYCLES {
            waits.push(device.agent().cycle().await.unwrap().next);
        }
        Burden { attack: row.attack, server: row.server, says, memory, bytes, calls, took, waits }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hostile_server_costs() {
    let mut stage = Stage::open().await;
    let rest = stage.rest().await;
    let others = ENDLESS
        .iter()
        .chain(BYTES)
        .filter(|row| ["endless data", "decompression bomb", "a frame that lies"].contains(&row.attack));
    let mut burdens = Vec::new();
    for row in ROWS.iter().chain(others) {
        burdens.push(stage.burdens(row).await);
    }
    print(rest, &burdens);
    let faults: Vec<String> = burdens.iter().flat_map(|b| b.faults(rest)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

const CODES: [Code; 16] = [
    Code::Cancelled,
    Code::Unknown,
    Code::InvalidArgument,
    Code::DeadlineExceeded,
    Code::NotFound,
    Code::AlreadyExists,
    Code::PermissionDenied,
    Code::ResourceExhausted,
    Code::FailedPrecondition,
    Code::Aborted,
    Code::OutOfRange,
    Code::Unimplemented,
    Code::Internal,
    Code::Unavailable,
    Code::DataLoss,
    Code::Unauthenticated,
];

/// Every call is refused with one code after another, and with one that no program knows. The agent says so by the code's
/// own text, keeps to what it has, and waits longer from one to the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_code_of_grpc_to_every_call() {
    let mut stage = Stage::open().await;
    let rest = stage.rest().await;
    let refusing = |stage: &Stage, code: Code| {
        let mut act = Act::honest(&stage.loot);
        act.refusal = Some(Status::new(code, format!("refused as {code:?}")));
        stage.hostile.play(act);
    };
    let device = stage.device();
    refusing(&stage, CODES[0]);
    let mut agent = device.spawn();
    let (mut lines, mut before) = (String::new(), rest);
    for code in CODES {
        refusing(&stage, code);
        let (begun, words) = (Instant::now(), format!("refused as {code:?}"));
        let trouble = loop {
            let trouble = device.status().live.and_then(|live| live.server_trouble).unwrap_or_default();
            if trouble.contains(&words) {
                break trouble;
            }
            assert!(agent.is_alive() && begun.elapsed() < PATIENCE, "{code:?}: {trouble:?}\n{}", device.log());
            tokio::time::sleep(LOOK).await;
        };
        let (calls, memory) = (stage.hostile.calls(), agent.highest_memory().unwrap());
        assert!(
            calls <= MOST_CALLS && memory.saturating_sub(rest) <= MOST_MEMORY,
            "{code:?}: {calls} calls, {memory} bytes"
        );
        assert_eq!(super::stage::touched(&device), None);
        lines.push_str(&format!("| {code:?} | {trouble} | {calls} | {} |\n", memory.saturating_sub(before) >> 10));
        before = memory;
    }
    agent.kill();
    tell(&format!(
        "\n| every call refused as | what the agent says | calls | memory more than before, KiB |\n| --- | --- | --- | --- |\n{lines}"
    ));

    let mut device = stage.device();
    device.with_random(falling());
    let mut waits = Vec::new();
    for code in &CODES[..CYCLES] {
        refusing(&stage, *code);
        waits.push(device.agent().cycle().await.unwrap().next);
    }
    assert!(waits.is_sorted_by(|a, b| a < b), "{waits:?}");
    // And a useful server is asked as ever.
    stage.hostile.play(Act::honest(&stage.loot));
    assert_eq!(device.agent().cycle().await.unwrap().next, Duration::from_secs(1));
}

/// Nothing comes, or a byte now and then: the agent gives each call up by its own clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_does_not_come_and_one_that_drips() {
    const ROWS: &[Row] = &[
        row("slow retrieval", "a manifest, a byte every five seconds", "fetching(server-unreachable)", |act, _| {
            target(act, "bundles/pump/2/", || {
                let drip = async |()| {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    Some((Ok(GetTargetResponse { content: Bytes::from_static(b"{") }), ()))
                };
                futures::stream::unfold((), drip).boxed()
            });
        }),
        row("slow retrieval", "a manifest that never comes", "fetching(server-unreachable)", |act, _| {
            target(act, "bundles/pump/2/", || futures::stream::pending().boxed());
        }),
    ];
    let mut stage = Stage::open().await;
    let rest = stage.rest().await;
    let mut lines = String::new();
    for row in ROWS {
        let device = stage.device();
        let mut act = Act::honest(&stage.loot);
        (row.play)(&mut act, &stage.keys);
        stage.hostile.play(act);
        let (begun, mut agent) = (Instant::now(), device.spawn());
        // Its clock runs for half a minute before it gives up, and then it has to come again to say so.
        let came = tokio::time::timeout(3 * PATIENCE, async {
            while state(&device) != row.agent {
                assert!(agent.is_alive(), "{}", device.log());
                tokio::time::sleep(10 * LOOK).await;
            }
        });
        assert!(came.await.is_ok(), "{}: {}\n{}", row.server, state(&device), device.log());
        let memory = agent.highest_memory().unwrap();
        assert!(memory.saturating_sub(rest) <= MOST_MEMORY, "{memory} bytes");
        assert_eq!(super::stage::touched(&device), None);
        lines.push_str(&format!("| {} | {} | {:.0} |\n", row.server, state(&device), begun.elapsed().as_secs_f64()));
        agent.kill();
    }
    tell(&format!("\n| what the server does | what the agent says | s |\n| --- | --- | --- |\n{lines}"));
}
