use std::convert::Infallible;

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use suture_core::pace::{Hours, Rate};
use tonic::body::Body;

use super::*;
use crate::store::suite::each;

/// Noon, or what it is set to.
struct Hand(Mutex<Timestamp>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

fn hdo() -> HdoId {
    "riverside".parse().unwrap()
}

fn device(n: u32) -> Principal {
    Principal::Device(hdo(), format!("pump-{n}").parse().unwrap())
}

fn body(frames: usize, bytes: usize) -> Body {
    let frame = move |_| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![7; bytes])));
    Body::new(StreamBody::new(stream::iter((0..frames).map(frame))))
}

async fn set(store: &Store, hours: Option<&str>, limits: Limits) {
    let mut tx = store.begin().await.unwrap();
    let hours = hours.map(|text| text.parse::<Hours>().unwrap());
    let timetable = tx.timetable(&hdo()).await.unwrap().with(Some("Europe/Berlin"), hours, limits).unwrap();
    tx.set_timetable(&hdo(), &timetable).await.unwrap();
    tx.commit().await.unwrap();
}

async fn hospital(store: &Store) -> (Pace, Arc<Hand>) {
    let noon: Timestamp = "2026-11-27T11:00:00Z".parse().unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.insert_hdo(&hdo(), "Riverside", noon).await.unwrap();
    tx.commit().await.unwrap();
    let clock = Arc::new(Hand(Mutex::new(noon)));
    (Pace::new(store.clone(), clock.clone()), clock)
}

fn rate(text: &str) -> Limits {
    Limits { rate: text.parse::<Rate>().ok(), ..Limits::default() }
}

#[tokio::test]
async fn without_a_limit_frames_pass_as_they_are() {
    each(async |store| {
        let (pace, _) = hospital(&store).await;
        assert!(pace.admit(&Principal::Mdm("ada".parse().unwrap())).await.unwrap().is_none());
        let stream = pace.admit(&device(1)).await.unwrap().unwrap();
        assert_eq!(pace.crowd(&hdo()), (1, 0));
        let mut paced = Paced::new(body(3, 300_000), stream);
        for _ in 0..3 {
            assert_eq!(paced.frame().await.unwrap().unwrap().into_data().unwrap().len(), 300_000);
        }
        assert!(paced.frame().await.is_none());
    })
    .await;
}

#[tokio::test]
async fn a_rate_is_held_in_small_pieces_and_nothing_is_lost() {
    each(async |store| {
        let (pace, _) = hospital(&store).await;
        set(&store, None, rate("80Mbit")).await;
        let stream = pace.admit(&device(1)).await.unwrap().unwrap();
        let began = Instant::now();
        let mut paced = Paced::new(body(10, 300_001), stream);
        let mut got = 0;
        while let Some(frame) = paced.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= 16 << 10 && data.iter().all(|byte| *byte == 7));
            got += data.len();
            let most = 10_000_000.0 * (began.elapsed().as_secs_f64() + 0.1) + f64::from(16 << 10);
            assert!(got as f64 <= most, "{got} of {most}");
        }
        assert_eq!(got, 3_000_010);
    })
    .await;
}

#[tokio::test]
async fn who_has_no_place_is_told_its_number_and_when_to_ask_again() {
    each(async |store| {
        let (pace, _) = hospital(&store).await;
        set(&store, None, Limits { streams: Some(2), ..Limits::default() }).await;
        let held = (pace.admit(&device(1)).await.unwrap(), pace.admit(&device(2)).await.unwrap());
        for n in [3, 4] {
            let status = pace.admit(&device(n)).await.err().unwrap();
            let text = format!("2 devices of this hospital fetch at once; you are number {}, ask again in 5 s", n - 2);
            assert_eq!(status.message(), text);
            let deferral = Deferral { code: Code::InLine, after: Duration::from_secs(5), until: None };
            assert_eq!(Deferral::of(&status), Some(deferral));
        }
        assert_eq!(pace.crowd(&hdo()), (2, 2));
        // Their operator does not stand in line, and another hospital is not concerned.
        let operator = Principal::Operator(hdo(), "kim".parse().unwrap());
        assert!(pace.admit(&operator).await.unwrap().is_some());
        drop(held);
        assert!(pace.admit(&device(3)).await.is_err(), "a place is kept for a while");
    })
    .await;
}

#[tokio::test]
async fn when_the_quiet_hours_begin_a_stream_ends_with_when_they_end() {
    each(async |store| {
        let (pace, clock) = hospital(&store).await;
        set(&store, Some("13:00-18:00"), Limits { rate: Some(Rate::NOTHING), ..Limits::default() }).await;
        let stream = pace.admit(&device(1)).await.unwrap().unwrap();
        let mut paced = Paced::new(body(3, 1_000), stream);
        assert!(paced.frame().await.unwrap().unwrap().is_data());
        // 13:00 in Berlin.
        *clock.0.lock().unwrap() = "2026-11-27T12:00:00Z".parse().unwrap();
        pace.look().await.unwrap();
        let trailers = paced.frame().await.unwrap().unwrap().into_trailers().unwrap();
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!(status.message(), "this hospital lets nothing be fetched until 2026-11-27T17:00:00Z");
        let deferral = Deferral::of(&status).unwrap();
        assert_eq!((deferral.code, deferral.after), (Code::QuietHours, Duration::from_secs(900)));
        assert_eq!(deferral.until, "2026-11-27T17:00:00Z".parse().ok());
        assert!(paced.frame().await.is_none());
        assert_eq!(Deferral::of(&pace.admit(&device(2)).await.err().unwrap()), Some(deferral));
        // Lifted: at once.
        let mut tx = store.begin().await.unwrap();
        tx.set_timetable(&hdo(), &Timetable::default()).await.unwrap();
        tx.commit().await.unwrap();
        assert!(pace.admit(&device(2)).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_device_that_was_cut_and_comes_again_takes_the_place_of_what_it_left() {
    each(async |store| {
        let (pace, _) = hospital(&store).await;
        let mut bodies = Vec::new();
        for _ in 0..3 {
            bodies.push(Paced::new(body(1, 10), pace.admit(&device(1)).await.unwrap().unwrap()));
        }
        let first = bodies[0].frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(Status::from_header_map(&first).unwrap().code(), tonic::Code::Aborted);
        for body in &mut bodies[1..] {
            assert!(body.frame().await.unwrap().unwrap().is_data());
        }
    })
    .await;
}

#[tokio::test]
async fn a_hospital_that_nobody_fetches_for_is_forgotten() {
    each(async |store| {
        let (pace, _) = hospital(&store).await;
        let operator = Principal::Operator(hdo(), "kim".parse().unwrap());
        let stream = pace.admit(&operator).await.unwrap();
        pace.look().await.unwrap();
        assert_eq!(pace.sites().len(), 1);
        drop(stream);
        pace.look().await.unwrap();
        assert!(pace.sites().is_empty());
    })
    .await;
}
