//! `notice list`.

use jiff::Timestamp;
use serde::Serialize;
use suture_core::digest::Digest;
use suture_core::id::HdoId;
use suture_core::limits::MAX_ROWS_PER_CALL;
use suture_core::notice::{Notice, Said, Side, Standing};
use suture_proto::{parse_digest, v1};

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::letters::{self, From, Kept, States, StepShown, fetch, instant, root_of};
use crate::print::Table;

/// A notice of one series.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Listed {
    pub(super) number: u64,
    pub(super) sha256: Digest,
    pub(super) notice: Notice,
    pub(super) by: String,
    pub(super) written: String,
    pub(super) standing: Standing,
    #[serde(flatten)]
    pub(super) states: States,
    pub(super) overdue: bool,
}

impl Listed {
    /// Of a letter that is a notice.
    pub(super) fn of(kept: &Kept, now: Timestamp) -> Option<Self> {
        let Kept { letter, standing, states } = kept;
        let Said::Notice(notice) = &letter.said else { return None };
        Some(Self {
            number: letter.number,
            sha256: letter.digest(),
            notice: (**notice).clone(),
            by: letter.name.to_string(),
            written: suture_core::clock::format_utc(letter.written_at),
            standing: *standing,
            states: states.clone(),
            overdue: states.is_overdue(now),
        })
    }
}

/// A notice of the manufacturer's, counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Sent {
    pub(super) id: Digest,
    kind: String,
    product: String,
    first: Option<String>,
    #[serde(skip)]
    first_ms: i64,
    hospitals: u32,
    delivered: u32,
    read: u32,
    acknowledged: u32,
    overdue: u32,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, hdo: Option<HdoId>, open: bool) -> Outcome {
    let own = context.home.server()?.hdo().ok();
    let mut client = context.connect().await?;
    let hdo = match (own.clone(), hdo) {
        (Some(own), None) => own,
        (Some(own), Some(named)) if named == own => own,
        (Some(own), Some(_)) => {
            return Err(Failure::new(format!("this is {own}'s home, and lists no other's notices")));
        }
        (None, Some(hdo)) => hdo,
        (None, None) => return sent(context, &mut client, open).await,
    };
    let root = root_of(context, &mut client, (&hdo, Side::Manufacturer)).await?;
    let kept = fetch(context, &mut client, (&hdo, Side::Manufacturer), &root, From::First).await?;
    if own.is_some() {
        delivered(&mut client, &kept).await?;
    }
    let now = context.now();
    let mut rows: Vec<Listed> = kept.iter().filter_map(|kept| Listed::of(kept, now)).collect();
    rows.retain(|row| !open || row.states.is_open());
    rows.reverse();
    for row in rows.iter().filter(|row| row.standing == Standing::Unlisted) {
        context.print.note(&format!(
            "warning: notice {} is signed by a key that the catalog's root does not list: it may be anybody's",
            row.number
        ));
    }
    context.print.result(&rows, |rows| table(rows, now))
}

/// Tells the server which letters this program has verified.
pub(super) async fn delivered(client: &mut Client, kept: &[Kept]) -> Outcome {
    let verified = kept.iter().rev().find(|kept| kept.standing != Standing::Unlisted);
    let through = verified.map_or(0, |kept| kept.letter.number);
    if kept.iter().any(|k| k.letter.number <= through && k.states.delivered.is_none()) {
        client.mark_letters(v1::MarkLettersRequest { hdo: String::new(), delivered_through: through, read: 0 }).await?;
    }
    Ok(())
}

fn table(rows: &[Listed], now: Timestamp) -> String {
    if rows.is_empty() {
        return "there are no such notices".to_owned();
    }
    let mut table = Table::new(["no", "kind", "product", "severity", "subject", "published", "read", "state"]);
    for row in rows {
        let unlisted = if row.standing == Standing::Unlisted { "UNVERIFIED KEY " } else { "" };
        table.row([
            row.number.to_string(),
            row.notice.kind.to_string(),
            row.notice.product.to_string(),
            row.notice.severity.to_string(),
            format!("{unlisted}{}", row.notice.subject),
            row.states.published.clone().unwrap_or_default(),
            StepShown::to_text(&row.states.read),
            row.states.to_text(now),
        ]);
    }
    format!("{}one of them: suturectl notice show NO", table.to_text())
}

/// The manufacturer's, over all hospitals, page by page.
pub(super) async fn all_sent(client: &mut Client) -> Outcome<Vec<Sent>> {
    let mut found: Vec<Sent> = Vec::new();
    loop {
        let (before_ms, before_id) =
            found.last().map_or((0, Vec::new()), |last| (last.first_ms, last.id.as_bytes().to_vec()));
        let request = v1::ListNoticesRequest { before_ms, before_id: before_id.into(), limit: MAX_ROWS_PER_CALL };
        let v1::ListNoticesResponse { notices, more } = client.list_notices(request).await?;
        let before = found.len();
        for notice in notices {
            let v1::SentNotice { id, kind, product, first_ms, hospitals, delivered, read, answered, overdue } = notice;
            let id = parse_digest("id", &id)?;
            if found.last().is_some_and(|last| (last.first_ms, last.id) <= (first_ms, id)) {
                return Err(Failure::untrusted("the server's list of notices does not come to an end"));
            }
            found.push(Sent {
                id,
                kind,
                product,
                first: instant(first_ms),
                first_ms,
                hospitals,
                delivered,
                read,
                acknowledged: answered,
                overdue,
            });
        }
        if !more || found.len() == before {
            return Ok(found);
        }
    }
}

async fn sent(context: &mut Context<'_>, client: &mut Client, open: bool) -> Outcome {
    let mut rows = all_sent(client).await?;
    rows.retain(|row| !open || row.acknowledged < row.hospitals);
    context.print.result(&rows, |rows| {
        if rows.is_empty() {
            return "there are no such notices".to_owned();
        }
        let headings =
            ["notice", "kind", "product", "first sent", "hospitals", "delivered", "read", "acknowledged", "overdue"];
        let mut table = Table::new(headings);
        for row in rows {
            table.row([
                row.id.to_string().chars().take(12).collect(),
                row.kind.clone(),
                row.product.clone(),
                row.first.clone().unwrap_or_default(),
                row.hospitals.to_string(),
                row.delivered.to_string(),
                row.read.to_string(),
                row.acknowledged.to_string(),
                row.overdue.to_string(),
            ]);
        }
        format!("{}at each hospital: suturectl notice status NOTICE", table.to_text())
    })
}

/// The notice whose id begins so.
pub(super) async fn by_beginning(client: &mut Client, beginning: &str) -> Outcome<Digest> {
    let found = all_sent(client).await?;
    let mut fit = found.iter().filter(|sent| sent.id.to_string().starts_with(beginning));
    match (beginning.len() >= 4, fit.next(), fit.next()) {
        (true, Some(one), None) => Ok(one.id),
        (true, None, _) => {
            Err(Failure::new(format!("no notice's id begins with {beginning:?}")).next("`suturectl notice list`"))
        }
        (true, Some(_), Some(_)) => {
            Err(Failure::new(format!("several notices' ids begin with {beginning:?}; write more of it")))
        }
        (false, ..) => Err(Failure::new("write at least 4 characters of a notice's id")),
    }
}

/// The first hospital's letter of a notice, verified.
pub(super) async fn first_letter(context: &mut Context<'_>, client: &mut Client, id: Digest) -> Outcome<(HdoId, Kept)> {
    let request = v1::GetNoticeStatusRequest { id: id.as_bytes().to_vec().into(), after: String::new(), limit: 1 };
    let v1::GetNoticeStatusResponse { hospitals, more: _ } = client.get_notice_status(request).await?;
    let hospital = hospitals.into_iter().next().ok_or_else(|| {
        Failure::new(format!("no hospital has got the notice {id}"))
            .next("`suturectl notice list` names those that were sent")
    })?;
    let stored = hospital.letter.unwrap_or_default();
    let letter = letters::read(&stored.content, Side::Manufacturer)?;
    let root = root_of(context, client, (&letter.hdo, Side::Manufacturer)).await?;
    let says = match &letter.said {
        Said::Notice(notice) => notice.id().ok() == Some(id),
        Said::Suspicion(_) | Said::Acknowledgement(_) => false,
    };
    if !says || !letter.is_listed(&root) {
        return Err(Failure::untrusted(
            "the server shows another letter under that notice's id, or one by no key of the catalog's",
        ));
    }
    let hdo = letter.hdo.clone();
    Ok((hdo, Kept { letter, standing: Standing::Listed, states: States::read(stored)? }))
}
