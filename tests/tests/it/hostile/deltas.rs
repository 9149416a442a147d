//! A captured server's deltas. They cost bytes, and never what is installed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use suture_core::delta::{Frame, Head, Payload, Region};
use suture_core::digest::Digest;
use suture_core::limits::FRAME_BYTES;
use suture_proto::v1;
use suture_tests::hostile::{Act, Answers};
use tonic::Status;

use super::stage::Stage;

/// Bytes of the only frame that it offers.
const FRAME: u32 = 1_000;

/// A head over the whole payload, as if one frame from nothing made it: it looks cheap.
fn offer(act: &mut Act, bend: fn(&mut Head)) {
    let payload = act.loot.payloads.iter().map(|(index, chunks)| (*index, chunks.clone())).collect::<Vec<_>>();
    act.delta = Some(Arc::new(move |(new, _)| {
        let (_, chunks) = payload.iter().find(|(_, chunks)| Digest::of(&chunks.concat()) == new)?;
        let length: u64 = chunks.iter().map(|c| c.len() as u64).sum();
        let frame = Frame { length: u32::try_from(length).unwrap(), bytes: FRAME };
        let mut head = Head {
            old: Payload { sha256: Digest::of(b""), length: 0 },
            new: Payload { sha256: new, length },
            regions: vec![Region { map_bytes: 100, frames: vec![frame] }],
        };
        // A frame makes no more than 4 MiB: as many as it takes, cut where chunks end.
        head.regions[0].frames = frames(chunks.iter().map(|c| u32::try_from(c.len()).unwrap()));
        bend(&mut head);
        let chunk_bytes = head.regions.iter().flat_map(|r| &r.frames).map(|_| u32::MAX).collect();
        let delta = v1::Delta { head: head.to_bytes().ok()?.into(), chunk_bytes };
        Some(v1::GetDeltaResponse { delta: Some(delta), ask_again_ms: 0 })
    }));
}

fn frames(chunks: impl Iterator<Item = u32>) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    for length in chunks {
        match frames.last_mut() {
            Some(frame) if frame.length + length <= 1 << 20 => frame.length += length,
            _ => frames.push(Frame { length, bytes: FRAME }),
        }
    }
    frames
}

fn parts(act: &mut Act, pieces: fn(u64) -> Vec<Result<Bytes, Status>>) {
    act.delta_parts = Some(Arc::new(move |asked| {
        let pieces = pieces(asked).into_iter().map(|piece| Ok(v1::FetchDeltaResponse { data: piece? }));
        Some(Box::pin(futures::stream::iter(pieces)) as Answers<v1::FetchDeltaResponse>)
    }));
}

fn filled(byte: u8, asked: u64) -> Vec<Result<Bytes, Status>> {
    vec![Ok(vec![byte; usize::try_from(asked).unwrap()].into())]
}

/// What it is called, what the agent's log says of it, and how it is played.
type Lie = (&'static str, &'static str, fn(&mut Act));

const REFUSED: &str = "a delta was refused";
const STUCK: &str = "the delta does not come";

const LIES: &[Lie] = &[
    ("a delta of noise", REFUSED, |act| {
        offer(act, |_| {});
        parts(act, |asked| filled(0x5a, asked));
    }),
    ("a delta of zeros", REFUSED, |act| {
        offer(act, |_| {});
        parts(act, |asked| filled(0, asked));
    }),
    ("a delta without end", REFUSED, |act| {
        offer(act, |_| {});
        parts(act, |_| (0..4_000).map(|_| Ok(Bytes::from_static(&[7; FRAME_BYTES]))).collect());
    }),
    ("empty pieces without end", REFUSED, |act| {
        offer(act, |_| {});
        parts(act, |_| (0..4_000).map(|_| Ok(Bytes::new())).collect());
    }),
    ("a delta that never goes on", STUCK, |act| {
        offer(act, |_| {});
        parts(act, |_| Vec::new());
    }),
    ("a delta that fails each time", STUCK, |act| {
        offer(act, |_| {});
        parts(act, |_| vec![Err(Status::internal("the disk is broken"))]);
    }),
    ("a delta that is not there", "", |act| offer(act, |_| {})),
    ("a delta of another payload", REFUSED, |act| offer(act, |head| head.new.sha256 = Digest::of(b"another"))),
    ("a delta from what the device has not", REFUSED, |act| {
        offer(act, |head| head.old.sha256 = Digest::of(b"another"))
    }),
    ("frames across chunks", REFUSED, |act| {
        offer(act, |head| {
            head.regions[0].frames[0].length -= 1;
            head.regions[0].frames[1].length += 1;
        });
    }),
    ("a head that is none", REFUSED, |act| {
        act.delta = Some(Arc::new(|_| {
            let delta = v1::Delta { head: Bytes::from_static(b"SUTURED\x02"), chunk_bytes: vec![1] };
            Some(v1::GetDeltaResponse { delta: Some(delta), ask_again_ms: 0 })
        }));
    }),
    ("a promise without end, in an open slot", "", |act| {
        act.delta = Some(Arc::new(|_| Some(v1::GetDeltaResponse { delta: None, ask_again_ms: 1 })));
    }),
];

/// Whatever the server's deltas are, the device installs what was signed, from chunks, and says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lying_delta_costs_bytes_and_no_more() {
    let mut stage = Stage::open().await;
    for (lie, says, play) in LIES {
        let device = stage.device();
        let mut act = Act::honest(&stage.loot);
        play(&mut act);
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        // Counts the chunks, and serves them.
        act.chunks = Some(Arc::new(move |chunks| {
            counter.fetch_add(chunks.len(), Ordering::SeqCst);
            None
        }));
        stage.hostile.play(act);
        let mut agent = device.spawn();
        stage.installs(&device, &mut agent).await;
        agent.kill();
        assert!(asked.load(Ordering::SeqCst) > 0, "{lie}: it was installed without chunks");
        assert!(device.log().contains(says), "{lie}:\n{}", device.log());
    }
}
