//! The other end: how `suture-agent` asks the agent that runs.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use jiff::Timestamp;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use suture_core::limits::{FACE_TIMEOUT, MAX_FACE_ANSWER_BYTES};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Interest};
use tokio::net::UnixStream;

use super::Who;
use super::said::{Hands, said};
use super::wire::{Answer, Ask, Done, Refused, RefusedCode, Request, VERSION};
use crate::config::Settings;

/// What came of asking.
#[derive(Debug)]
pub enum Asked {
    /// The agent has answered.
    Answered(Result<Done, Refused>),
    /// No agent of this configuration answers, and why.
    Nobody(String),
}

/// The bound on each part of a talk.
pub(super) fn timeout() -> Duration {
    Duration::try_from(FACE_TIMEOUT).unwrap_or(Duration::from_secs(60))
}

/// Asks the agent of this configuration. `brought`: an open directory that goes beside the question.
pub async fn ask(settings: &Settings, ask: Ask, by: Option<String>, brought: Option<&OwnedFd>) -> Asked {
    let path = &settings.face.socket;
    let mut stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(e) => return Asked::Nobody(format!("no agent answers at {}: {e}", path.display())),
    };
    let request = Request { v: VERSION, ask, by, state_dir: Some(settings.state_dir.clone()) };
    let failed = |text: String| Asked::Answered(Err(Refused::new(RefusedCode::Failed, text)));
    // What is asked for, and both ways.
    let talk = tokio::time::timeout(timeout().saturating_mul(3), talk(&mut stream, &request, brought)).await;
    match talk {
        Ok(Ok(answer)) => match answer.into_result() {
            Err(Refused { code: RefusedCode::OtherAgent, text }) => Asked::Nobody(text),
            outcome => Asked::Answered(outcome),
        },
        Ok(Err(e)) => failed(format!("the agent at {} gave no answer: {e}", path.display())),
        Err(_) => failed(format!("the agent at {} gave no answer in time", path.display())),
    }
}

/// Asks the agent of this configuration, or does it in its place where none answers; that, and why, comes second.
pub async fn ask_or_do(
    settings: &Settings,
    asked: Ask,
    by: Option<String>,
    brought: Option<OwnedFd>,
    now: Timestamp,
) -> (Result<Done, Refused>, Option<String>) {
    match ask(settings, asked.clone(), by.clone(), brought.as_ref()).await {
        Asked::Answered(outcome) => (outcome, None),
        Asked::Nobody(why) => {
            let who = Who::here().saying(by);
            (said(&Hands::Own, settings, (asked, brought), &who, now).await, Some(why))
        }
    }
}

async fn talk(stream: &mut UnixStream, request: &Request, brought: Option<&OwnedFd>) -> io::Result<Answer> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    let sent = match brought {
        None => 0,
        Some(directory) => {
            let stream = &*stream;
            stream.async_io(Interest::WRITABLE, || send(stream, &line, directory)).await?
        }
    };
    stream.write_all(line.get(sent..).unwrap_or_default()).await?;
    let mut answer = Vec::new();
    let bound = MAX_FACE_ANSWER_BYTES as u64;
    BufReader::new(stream).take(bound).read_until(b'\n', &mut answer).await?;
    serde_json::from_slice(&answer).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// The line's beginning, with the directory beside it.
fn send(stream: &UnixStream, line: &[u8], directory: &OwnedFd) -> io::Result<usize> {
    let fds = [directory.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    beside.push(SendAncillaryMessage::ScmRights(&fds));
    Ok(sendmsg(stream, &[IoSlice::new(line)], &mut beside, SendFlags::NOSIGNAL)?)
}
