//! A Unix socket of the device's own software: a line is asked, a line is answered.
//!
//! ```text
//! agent:   claim APPROVAL        release
//! device:  held | in-use         released
//! ```
//!
//! A connection is for one question. The claim does not end with it, nor with the agent: the device's software writes down
//! that it is held before it answers, and refuses clinical use, also after a restart of its own, until it is released.

use std::io;
use std::path::Path;
use std::time::Duration;

use suture_core::id::ApprovalId;
use suture_core::phase::Reason;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::{Claim, still_held};

/// An answer; the longest has ten letters.
const MAX_ANSWER_BYTES: u64 = 64;

pub(super) async fn claim(path: &Path, timeout: Duration, approval: &ApprovalId) -> Claim {
    let wrong = match ask(path, timeout, &format!("claim {approval}\n")).await {
        Ok(answer) if answer == "held" => return Claim::Held,
        Ok(answer) if answer == "in-use" => return Claim::in_use(),
        Ok(answer) => format!("answered {answer:?}, which is neither held nor in-use"),
        Err(wrong) => wrong,
    };
    Claim::unclear(format!("the interlock's socket {wrong}; whether the device is in use is not known"))
}

pub(super) async fn release(path: &Path, timeout: Duration) -> Result<(), Reason> {
    let wrong = match ask(path, timeout, "release\n").await {
        Ok(answer) if answer == "released" => return Ok(()),
        Ok(answer) => format!("answered {answer:?}, not released,"),
        Err(wrong) => wrong,
    };
    Err(still_held(&format!("the interlock's socket {wrong}")))
}

/// The answer without its end of line, or what went wrong.
async fn ask(path: &Path, timeout: Duration, question: &str) -> Result<String, String> {
    let talk = async {
        let mut stream = UnixStream::connect(path).await?;
        stream.write_all(question.as_bytes()).await?;
        let mut answer = String::new();
        BufReader::new(stream).take(MAX_ANSWER_BYTES).read_line(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    match tokio::time::timeout(timeout, talk).await {
        // A line that was cut short may be the beginning of another.
        Ok(Ok(answer)) => match answer.strip_suffix('\n') {
            Some(line) => Ok(line.to_owned()),
            None => Err(format!("answered {answer:?} without an end of line")),
        },
        Ok(Err(e)) => Err(format!("{} failed: {e}", path.display())),
        Err(_) => Err(format!("{} took longer than {} s", path.display(), timeout.as_secs_f64())),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use suture_core::phase::Code;
    use tokio::net::UnixListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    /// A device's software that gives these answers, and the questions that it heard.
    fn device(answers: &'static [&'static str]) -> (tempfile::TempDir, PathBuf, tokio::task::JoinHandle<Vec<String>>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("interlock");
        let listener = UnixListener::bind(&path).unwrap();
        let heard = tokio::spawn(async move {
            let mut heard = Vec::new();
            for answer in answers {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                heard.push(line);
                let _ = stream.get_mut().write_all(answer.as_bytes()).await;
            }
            heard
        });
        (dir, path, heard)
    }

    #[tokio::test]
    async fn it_claims_and_releases_by_lines() {
        let (_dir, path, heard) = device(&["held\n", "held\n", "in-use\n", "released\n", "no\n"]);
        let id: ApprovalId = "a1".parse().unwrap();
        assert_eq!(claim(&path, SOON, &id).await, Claim::Held);
        assert_eq!(claim(&path, SOON, &id).await, Claim::Held);
        let Claim::Refused(t) = claim(&path, SOON, &id).await else { panic!() };
        assert_eq!(t.reason.code, Code::InUse);
        release(&path, SOON).await.unwrap();
        release(&path, SOON).await.unwrap_err();
        assert_eq!(heard.await.unwrap(), ["claim a1\n", "claim a1\n", "claim a1\n", "release\n", "release\n"]);
    }

    #[tokio::test]
    async fn anything_else_is_not_known() {
        let long: &str = Box::leak("held".repeat(1_000).into_boxed_str());
        let answers: &[&str] = Box::leak(Box::new(["", "held", "HELD\n", "held \n", " held\n", "\n", long]));
        let (_dir, path, heard) = device(answers);
        let id: ApprovalId = "a1".parse().unwrap();
        for answer in answers {
            let Claim::Unclear(t) = claim(&path, SOON, &id).await else { panic!("{answer:?}") };
            assert_eq!(t.reason.code, Code::InterlockUnknown);
        }
        heard.await.unwrap();
        let nobody = claim(Path::new("/nowhere/interlock"), SOON, &id).await;
        assert!(matches!(nobody, Claim::Unclear(_)));
    }

    #[tokio::test]
    async fn silence_is_not_known_either() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("interlock");
        let _listener = UnixListener::bind(&path).unwrap();
        let id: ApprovalId = "a1".parse().unwrap();
        let Claim::Unclear(t) = claim(&path, Duration::from_millis(50), &id).await else { panic!() };
        assert!(t.reason.text.contains("took longer than 0.05 s"), "{}", t.reason.text);
    }
}
