//! The answer: of bundles by the documents, of devices by the server.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use suture_core::clock::{day_of, format_utc};
use suture_core::exposure::{self, Bundle, Claim, Finding, Part, Question, Source, Verdict};
use suture_core::id::ProductId;
use suture_core::life::Stage;
use suture_core::limits::MAX_SHOWN_COMPONENTS;
use suture_core::version::Release;
use suture_proto::v1;

use super::device::{Device, Hospital, counts, instant};
use super::{Args, served};
use crate::client::Client;
use crate::context::Context;
use crate::exposure::{Known, Listed};
use crate::failure::{Failure, Outcome};

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Answer {
    pub(super) question: Question,
    /// Whether what is said of bundles is computed from the documents that the catalog pins; else it is the server's word.
    pub(super) checked: bool,
    pub(super) bundles: Vec<Row>,
    pub(super) rollouts: Vec<Rollout>,
    /// A hospital's devices that run exposed bundles.
    pub(super) devices: Vec<Device>,
    /// For a manufacturer: hospitals, in counts.
    pub(super) hospitals: Vec<Hospital>,
    /// Devices of which nothing is known, by product; and those that run what the catalog does not list.
    pub(super) unknown_devices: BTreeMap<String, u64>,
    pub(super) unlisted_devices: u64,
    /// Bundles whose documents the server has not read yet.
    pub(super) pending: u32,
    /// Where the server says otherwise than the documents.
    pub(super) differs: Vec<String>,
    /// For how many days a device must have said nothing for that to be told.
    pub(super) silent_days: u32,
}

/// A bundle.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Row {
    pub(super) product: String,
    pub(super) release: u64,
    pub(super) version: String,
    pub(super) installable: bool,
    pub(super) verdict: String,
    pub(super) exposed: bool,
    /// Whether it ends it.
    pub(super) fix: bool,
    pub(super) components: Vec<String>,
    pub(super) more_components: u64,
    /// The statement that decides.
    pub(super) by: Option<Statement>,
    /// Statements that contradict it.
    pub(super) overruled: Vec<Statement>,
    /// What of its documents cannot be read.
    pub(super) problem: Option<String>,
    /// Whether the product's support has ended.
    pub(super) past_end_of_support: bool,
    /// Devices of this hospital that run it: by signed report, and by what they said.
    pub(super) proven_devices: u64,
    pub(super) believed_devices: u64,
    pub(super) whys: BTreeMap<String, u64>,
}

/// A statement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Statement {
    pub(super) path: String,
    pub(super) document: String,
    pub(super) status: String,
    pub(super) justification: Option<String>,
    pub(super) impact: Option<String>,
    pub(super) action: Option<String>,
    pub(super) at: Option<String>,
}

/// A rollout that is bringing what ends it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Rollout {
    pub(super) id: String,
    pub(super) bundle: String,
    pub(super) version: String,
    pub(super) state: String,
    /// Counted from 1.
    pub(super) wave: u32,
    pub(super) waves: u32,
    pub(super) expires: String,
    pub(super) devices: u64,
    pub(super) confirmed: u64,
    pub(super) failed: u64,
}

/// Asks the server, and the documents.
pub(super) async fn find(context: &mut Context<'_>, question: &Question, args: &Args) -> Outcome<Answer> {
    let mut client = context.connect().await?;
    let is_hospital = context.home.server()?.hdo().is_ok();
    let asked = served::question(question, args.product.as_ref());
    let served = client.get_exposure(v1::GetExposureRequest { question: Some(asked.clone()) }).await?;
    let v1::GetExposureResponse { bundles, rollouts, unknown_devices, unlisted_devices, pending } = served;
    let mut answer = Answer {
        question: question.clone(),
        checked: !args.quick,
        rollouts: rollouts.into_iter().map(Rollout::from).collect(),
        unknown_devices: unknown_devices.into_iter().collect(),
        unlisted_devices,
        pending,
        silent_days: args.silent,
        ..Answer::default()
    };
    if args.quick {
        answer.bundles = bundles.into_iter().map(Row::from).collect();
    } else {
        let listed = Listed::read(context, &mut client).await?;
        let known = Known::read(context, &mut client, &listed, args.product.as_ref()).await?;
        let found = exposure::answer(question, &known.bundles, &known.claims);
        (answer.bundles, answer.differs) = compare(bundles, &known, &found);
        let exposed: BTreeSet<String> =
            answer.bundles.iter().filter(|row| row.exposed).map(|row| row.product.clone()).collect();
        for product in exposed {
            support(context, &mut client, &listed, &product, &mut answer.bundles).await?;
        }
    }
    if is_hospital {
        let devices = served::devices(&mut client, &asked).await?;
        let now = context.now();
        answer.devices = devices.into_iter().map(|told| Device::of(told, &answer, now)).collect();
    } else {
        answer.hospitals = served::hospitals(&mut client, &asked).await?.into_iter().map(Hospital::from).collect();
    }
    Ok(answer)
}

/// Notes which of a product's bundles are past their end of support.
async fn support(
    context: &mut Context<'_>,
    client: &mut Client,
    listed: &Listed,
    product: &str,
    rows: &mut [Row],
) -> Outcome {
    let Ok(product) = product.parse::<ProductId>() else { return Ok(()) };
    let target = listed.known.get(&suture_core::life::path(&product));
    if let Some(life) = crate::life::read(context, client, target, &product).await? {
        let day = day_of(context.now());
        for row in rows.iter_mut().filter(|row| row.product == product.as_str()) {
            row.past_end_of_support = life.standing(Some(Release(row.release)), day).stage == Stage::EndOfSupport;
        }
    }
    Ok(())
}

/// The bundles by the documents, with the server's counts; and where the server says otherwise of one.
pub(super) fn compare(
    served: Vec<v1::ExposedBundle>,
    known: &Known,
    found: &exposure::Answer,
) -> (Vec<Row>, Vec<String>) {
    let mut told: BTreeMap<(String, u64), v1::ExposedBundle> =
        served.into_iter().map(|b| ((b.product.clone(), b.release), b)).collect();
    let (mut rows, mut differs) = (Vec::new(), Vec::new());
    for (bundle, finding) in known.bundles.iter().zip(&found.findings) {
        let fix = found.fixes.get(&bundle.product).is_some_and(|fixes| fixes.contains(&bundle.release));
        let server = told.remove(&(bundle.product.to_string(), bundle.release.0));
        let (name, here) = (format!("{}@{}", bundle.product, bundle.release), said(finding.verdict.as_str(), fix));
        match &server {
            Some(server) if server.manifest_sha256.as_ref() != bundle.manifest.as_bytes() => {
                differs.push(format!("{name}: the server speaks of another manifest than the catalog lists"));
            }
            Some(server) if server.verdict != finding.verdict.as_str() || server.fix != fix => {
                let there = said(&server.verdict, server.fix);
                differs.push(format!("{name}: by its documents it is {here}, by the server {there}"));
            }
            None if finding.verdict.is_exposed() || fix => {
                differs.push(format!("{name}: by its documents it is {here}, and the server does not speak of it"));
            }
            _ => {}
        }
        let runs = server.as_ref().is_some_and(|s| s.proven_devices.saturating_add(s.believed_devices) > 0);
        if finding.verdict.is_exposed() || fix || runs || finding.verdict == Verdict::Unknown {
            rows.push(row(bundle, finding, fix, known.problems.get(&bundle.path), server.unwrap_or_default()));
        }
    }
    let unlisted = told.into_keys().map(|(product, release)| {
        format!("{product}@{release}: the server speaks of it, and the catalog does not list it")
    });
    differs.extend(unlisted);
    (rows, differs)
}

fn said(verdict: &str, fix: bool) -> String {
    if fix { format!("{verdict} and ends it") } else { verdict.to_owned() }
}

fn row(bundle: &Bundle, finding: &Finding, fix: bool, problem: Option<&String>, served: v1::ExposedBundle) -> Row {
    let component = |part: &Part| named(part.package.as_deref(), &part.name, &part.version);
    let overruled = finding.overruled.iter().take(MAX_SHOWN_COMPONENTS).map(|o| Statement {
        path: o.source.path.clone(),
        document: o.source.document.clone(),
        status: o.status.as_str().to_owned(),
        ..Statement::default()
    });
    Row {
        product: bundle.product.to_string(),
        release: bundle.release.0,
        version: bundle.version.to_string(),
        installable: bundle.installable,
        verdict: finding.verdict.as_str().to_owned(),
        exposed: finding.verdict.is_exposed(),
        fix,
        components: finding.parts.iter().take(MAX_SHOWN_COMPONENTS).map(component).collect(),
        more_components: finding.parts.len().saturating_sub(MAX_SHOWN_COMPONENTS) as u64,
        by: finding.by.as_ref().map(|(source, claim)| statement(source, claim)),
        overruled: overruled.collect(),
        problem: problem.cloned(),
        past_end_of_support: false,
        proven_devices: served.proven_devices,
        believed_devices: served.believed_devices,
        whys: counts(served.whys),
    }
}

fn named(package: Option<&str>, name: &str, version: &str) -> String {
    let name = package.filter(|p| !p.is_empty()).unwrap_or(name);
    if version.is_empty() { name.to_owned() } else { format!("{name}@{version}") }
}

fn statement(source: &Source, claim: &Claim) -> Statement {
    Statement {
        path: source.path.clone(),
        document: source.document.clone(),
        status: claim.status.as_str().to_owned(),
        justification: claim.justification.clone(),
        impact: claim.impact.clone(),
        action: claim.action.clone(),
        at: claim.at.map(format_utc),
    }
}

impl From<v1::ExposedBundle> for Row {
    fn from(b: v1::ExposedBundle) -> Self {
        let some = |text: String| Some(text).filter(|t| !t.is_empty());
        let statement = |s: v1::ExposureStatement| Statement {
            path: s.path,
            document: s.document,
            status: s.status,
            justification: some(s.justification),
            impact: some(s.impact),
            action: some(s.action),
            at: instant(s.at_ms).map(format_utc),
        };
        Self {
            // A verdict that this program does not know is no all-clear.
            exposed: Verdict::from_name(&b.verdict).is_none_or(Verdict::is_exposed),
            installable: b.status != "withdrawn",
            product: b.product,
            release: b.release,
            version: b.version,
            verdict: b.verdict,
            fix: b.fix,
            components: b.components.iter().map(|c| named(Some(&c.package), &c.name, &c.version)).collect(),
            more_components: b.more_components.into(),
            by: b.by.map(statement),
            overruled: b.overruled.into_iter().map(statement).collect(),
            problem: some(b.problem),
            past_end_of_support: false,
            proven_devices: b.proven_devices,
            believed_devices: b.believed_devices,
            whys: counts(b.whys),
        }
    }
}

impl From<v1::BringingRollout> for Rollout {
    fn from(r: v1::BringingRollout) -> Self {
        Self {
            bundle: format!("{}@{}", r.product, r.release),
            id: r.id,
            version: r.version,
            state: r.state,
            wave: r.wave.saturating_add(1),
            waves: r.waves,
            expires: instant(r.expires_ms).map(format_utc).unwrap_or_default(),
            devices: r.devices,
            confirmed: r.confirmed,
            failed: r.failed,
        }
    }
}

impl Answer {
    /// Fails where the server hides something: a component, a statement, a bundle. While it has documents left to read it may
    /// not know better.
    pub(super) fn raise(&self) -> Outcome {
        match self.differs.first().filter(|_| self.pending == 0) {
            None => Ok(()),
            Some(first) => Err(Failure::untrusted(format!(
                "the server's index is not what the documents say, of {} bundles: {first}",
                self.differs.len()
            ))
            .next(
                "what is said of bundles above is by the documents; which devices run them may be incomplete: \
                 `suturectl device list`",
            )),
        }
    }
}
