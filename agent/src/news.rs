//! Both repositories' news in one answer, and the refresh that is fed from it.
//!
//! Attack: an answer that leaves something out, or holds other files. [`Fed`] answers nothing but what is in it, by name;
//! the rules are [`suture_core::trust::Refresh`]'s, to which it is all the same where a file came from, and whatever it asks
//! for beyond is asked of the server.

use suture_core::trust::{Answer, Held, News};

use crate::client::{ClientError, Files, Which};

/// What the device holds of both repositories.
#[derive(Debug, Clone, Copy, Default)]
pub struct Holdings {
    /// Of the manufacturer's catalog.
    pub catalog: Held,
    /// Of the hospital's approvals.
    pub approvals: Held,
}

/// What the server sent of both in one answer.
#[derive(Debug, Clone, Default)]
pub struct Tidings {
    /// Of the manufacturer's catalog.
    pub catalog: News,
    /// Of the hospital's approvals.
    pub approvals: News,
    /// Envelopes of stop orders and lifts, not looked at.
    pub stops: Vec<Vec<u8>>,
    /// The envelope of a hospital's word that this device was checked, not looked at.
    pub clearance: Option<Vec<u8>>,
}

/// Files that are answered from the news of one repository first, and by whoever is behind it else.
#[derive(Debug)]
pub struct Fed<'a, F> {
    files: &'a mut F,
    which: Which,
    news: News,
}

impl<'a, F: Files> Fed<'a, F> {
    /// Answers for `which` from `news`; everything else from `files`.
    pub fn new(files: &'a mut F, which: Which, news: News) -> Self {
        Self { files, which, news }
    }
}

impl<F: Files> Files for Fed<'_, F> {
    async fn metadata(&mut self, of: Which, name: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, ClientError> {
        match self.news.answer(name).filter(|_| of == self.which) {
            Some(Answer::Found(bytes)) if bytes.len() as u64 > max_bytes => {
                Err(ClientError::TooLong { call: "the refresh", limit: max_bytes })
            }
            Some(Answer::Found(bytes)) => Ok(Some(bytes)),
            Some(Answer::NotFound) => Ok(None),
            None => self.files.metadata(of, name, max_bytes).await,
        }
    }

    async fn target(&mut self, of: Which, name: &str, max_bytes: u64) -> Result<Vec<u8>, ClientError> {
        self.files.target(of, name, max_bytes).await
    }
}
