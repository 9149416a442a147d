//! The face's end of the socket.

use std::fs::{self, File, Permissions};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use suture_core::clock::Clock;
use suture_core::limits::{
    FACE_TIMEOUT, MAX_FACE_CONNECTIONS, MAX_FACE_LINE_BYTES, MAX_FACE_READERS, MAX_PERSON_BYTES,
};
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::said::{Hands, is_plain, said};
use super::wire::{Answer, Done, Refused, RefusedCode, Request, VERSION};
use super::{Who, client};
use crate::config::Settings;

/// What is read at once.
const PIECE: usize = 4 << 10;

/// Why there is no local face. The agent works without one.
#[derive(Debug, thiserror::Error)]
pub enum FaceError {
    /// Its directory is not there.
    #[error("there is no directory {}; systemd makes it by RuntimeDirectory=suture-agent, or name another face.socket", .0.display())]
    NoDirectory(PathBuf),
    /// Another agent has it.
    #[error("another agent answers at {}; name another face.socket", .0.display())]
    Taken(PathBuf),
    /// Something else is there.
    #[error("{} is there already and is no socket; remove it, or name another face.socket", .0.display())]
    Foreign(PathBuf),
    /// The system refused.
    #[error("cannot listen at {}", path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A socket that nobody else answers at.
#[derive(Debug)]
pub struct Listening {
    listener: UnixListener,
    _lock: File,
}

/// Answers as long as it is polled.
pub async fn serve(listening: Listening, settings: Settings, hands: Hands, clock: Arc<dyn Clock>) {
    let Listening { listener, _lock } = listening;
    let face = Arc::new(Face { settings, hands, clock });
    let (all, readers) = (Arc::new(Semaphore::new(MAX_FACE_CONNECTIONS)), Arc::new(Semaphore::new(MAX_FACE_READERS)));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // As where this process has too many files open: it may have fewer soon.
            Err(e) => {
                tracing::warn!(error = %e, "a connection to the local face could not be taken");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let who = match Who::at(&stream) {
            Ok(who) => who,
            Err(e) => {
                tracing::warn!(error = %e, "who asks at the local face is not known; the connection is closed");
                continue;
            }
        };
        let may_change = who.may_change(face.settings.face.control_group.as_deref());
        let place = |of: &Arc<Semaphore>| of.clone().try_acquire_owned().ok();
        let places = match may_change {
            true => place(&all).map(|one| (one, None)),
            false => place(&readers).and_then(|reader| Some((place(&all)?, Some(reader)))),
        };
        let face = face.clone();
        tokio::spawn(async move { face.attend(stream, who, places).await });
    }
}

/// Listens at the configured socket, and keeps others from doing so. Must be called within a runtime.
///
/// # Errors
///
/// It cannot.
pub fn listen(path: &Path) -> Result<Listening, FaceError> {
    let failed = |source| FaceError::Listen { path: path.to_owned(), source };
    let directory = path.parent().unwrap_or(Path::new("/"));
    if !directory.is_dir() {
        return Err(FaceError::NoDirectory(directory.to_owned()));
    }
    let lock = File::create(path.with_added_extension("lock")).map_err(failed)?;
    if !crate::lock::take(&lock).map_err(failed)? {
        return Err(FaceError::Taken(path.to_owned()));
    }
    match fs::symlink_metadata(path) {
        // Left by an agent that was killed: whoever holds the lock is alone.
        Ok(meta) if meta.file_type().is_socket() => fs::remove_file(path).map_err(failed)?,
        Ok(_) => return Err(FaceError::Foreign(path.to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed(e)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Whoever may not ask is told so.
    fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(failed)?;
    Ok(Listening { listener, _lock: lock })
}

struct Face {
    settings: Settings,
    hands: Hands,
    clock: Arc<dyn Clock>,
}

type Places = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

impl Face {
    async fn attend(&self, stream: UnixStream, who: Who, places: Option<Places>) {
        let mut line = Line { stream, read: Vec::new(), brought: None };
        let Some(_places) = places else {
            let refused = Refused::new(RefusedCode::Busy, "too many ask at once; try again in a minute");
            line.answer(Err(refused)).await;
            return;
        };
        while let Some(asked) = line.next().await {
            let brought = line.brought.take();
            let outcome = match asked {
                Ok(bytes) => self.answer(&bytes, brought, &who).await,
                Err(refused) => {
                    line.answer(Err(refused)).await;
                    return;
                }
            };
            if !line.answer(outcome).await {
                return;
            }
        }
    }

    async fn answer(&self, bytes: &[u8], brought: Option<OwnedFd>, who: &Who) -> Result<Done, Refused> {
        let Request { v, ask, by, state_dir } = serde_json::from_slice(bytes).map_err(|e| {
            Refused::new(RefusedCode::NotUnderstood, format!("this is no request of version {VERSION}: {e}"))
        })?;
        if v != VERSION {
            let text = format!("this agent speaks version {VERSION} of the local protocol, not {v}");
            return Err(Refused::new(RefusedCode::NotUnderstood, text));
        }
        let settings = &self.settings;
        if let Some(meant) = state_dir.filter(|dir| *dir != settings.state_dir) {
            let text = format!("this agent works on {}, not on {}", settings.state_dir.display(), meant.display());
            return Err(Refused::new(RefusedCode::OtherAgent, text));
        }
        if by.as_ref().is_some_and(|by| !is_plain(by, MAX_PERSON_BYTES)) {
            let text = format!("`by` is a person's name of 1 to {MAX_PERSON_BYTES} bytes, on one line");
            return Err(Refused::new(RefusedCode::NotUnderstood, text));
        }
        let (reads, changes) = (settings.face.read_group.as_deref(), settings.face.control_group.as_deref());
        if ask.changes() && !who.may_change(changes) {
            let group = changes.map_or_else(String::new, |group| format!(" or by group {group}"));
            let text = format!("{who} may not change anything here; it takes root{group} (face.control_group)");
            return Err(Refused::new(RefusedCode::NotAllowed, text));
        }
        if !who.may_read(reads, changes) {
            let text =
                format!("{who} may not read here; it takes group {} (face.read_group)", reads.unwrap_or_default());
            return Err(Refused::new(RefusedCode::NotAllowed, text));
        }
        let who = who.clone().saying(by);
        let doing = said(&self.hands, settings, (ask, brought), &who, self.clock.now());
        tokio::time::timeout(client::timeout(), doing).await.unwrap_or_else(|_| {
            let text = format!(
                "it took longer than {} s; see `suture-agent status` for what came of it",
                FACE_TIMEOUT.as_secs()
            );
            Err(Refused::new(RefusedCode::Busy, text))
        })
    }
}

/// A connection, read line by line with what comes beside a line.
struct Line {
    stream: UnixStream,
    read: Vec<u8>,
    /// An open directory that came beside; of several the first.
    brought: Option<OwnedFd>,
}

impl Line {
    /// The next line without its end; none where the other end has gone or asks nothing in time.
    async fn next(&mut self) -> Option<Result<Vec<u8>, Refused>> {
        tokio::time::timeout(client::timeout(), self.line()).await.ok()?.transpose()
    }

    async fn line(&mut self) -> Result<Option<Vec<u8>>, Refused> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let rest = self.read.split_off(end.saturating_add(1));
                let mut line = std::mem::replace(&mut self.read, rest);
                line.pop();
                return Ok(Some(line));
            }
            if self.read.len() > MAX_FACE_LINE_BYTES {
                let text = format!("a line has {MAX_FACE_LINE_BYTES} bytes at most");
                return Err(Refused::new(RefusedCode::NotUnderstood, text));
            }
            let stream = &self.stream;
            match stream.async_io(Interest::READABLE, || receive(stream)).await {
                Ok((bytes, _)) if bytes.is_empty() => return Ok(None),
                Ok((bytes, brought)) => {
                    self.read.extend_from_slice(&bytes);
                    self.brought = self.brought.take().or(brought);
                }
                Err(_) => return Ok(None),
            }
        }
    }

    /// Answers; false where the other end does not take it.
    async fn answer(&mut self, outcome: Result<Done, Refused>) -> bool {
        let mut line = serde_json::to_vec(&Answer::of(outcome)).unwrap_or_default();
        line.push(b'\n');
        matches!(tokio::time::timeout(client::timeout(), self.stream.write_all(&line)).await, Ok(Ok(())))
    }
}

/// What has come, and a descriptor beside it.
fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut piece = vec![0; PIECE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(stream, &mut [IoSliceMut::new(&mut piece)], &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    piece.truncate(got.bytes);
    let mut brought = None;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            for fd in fds {
                brought.get_or_insert(fd);
            }
        }
    }
    Ok((piece, brought))
}
