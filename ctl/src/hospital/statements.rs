//! What signers state with their signatures on an approval: who, as what, what it means, why.

use jiff::Timestamp;
use suture_core::approval::{Meaning, SignedDocument as _, Statement, StatementError, VerifiedStatement, path};
use suture_core::clock::whole_second;
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, HdoId, OperatorName};
use suture_core::principal::Principal;
use suture_core::sign::{PublicKey, Signer};
use suture_core::trust::Root;

use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};

/// As what somebody signs who does not say it.
const ROLE: &str = "approver";

/// What a person says who signs an approval.
#[derive(Debug, Clone, clap::Args)]
pub struct Saying {
    /// As what you sign, for the record: `clinical engineering`, `IT security`
    #[arg(long, value_name = "ROLE", default_value = ROLE)]
    pub role: String,
    /// What the signature means: `approved` or `reviewed`. One of those who sign must approve
    #[arg(long, default_value = "approved", value_parser = meaning)]
    pub meaning: Meaning,
}

fn meaning(text: &str) -> Result<Meaning, String> {
    text.parse().map_err(str::to_owned)
}

/// Who signs, and what the signature says.
#[derive(Debug, Clone)]
pub struct Words {
    /// Who.
    pub name: OperatorName,
    /// As what.
    pub role: String,
    /// What it means.
    pub meaning: Meaning,
    /// Why.
    pub reason: String,
}

impl Words {
    /// This home's operator, who signs an approval with a key: by no other name, and with no one else's key.
    pub fn of(context: &Context<'_>, saying: &Saying, reason: &str) -> Outcome<Self> {
        let Saying { role, meaning } = saying.clone();
        Ok(Self { name: own_name(context)?, role, meaning, reason: reason.to_owned() })
    }

    /// What somebody says whose words stand in the document for people.
    pub fn of_document(approver: &str, meaning: &str, reason: &str) -> Option<Self> {
        let (name, meaning) = (approver.parse().ok()?, meaning.parse().ok()?);
        Some(Self { name, role: ROLE.to_owned(), meaning, reason: reason.to_owned() })
    }

    /// States them of an approval whose head has that SHA-256, signed by the key.
    ///
    /// # Errors
    ///
    /// A text is empty or too long, or the key does not sign.
    pub fn state(
        &self,
        hdo: &HdoId,
        (approval, head_sha256): (&ApprovalId, Digest),
        key: &dyn Signer,
        now: Timestamp,
    ) -> Result<VerifiedStatement, StatementError> {
        let statement = Statement {
            kind: Statement::TYPE.to_owned(),
            format: 1,
            hdo: hdo.clone(),
            approval: approval.clone(),
            head_sha256,
            key: key.public(),
            name: self.name.clone(),
            role: self.role.clone(),
            meaning: self.meaning,
            reason: self.reason.clone(),
            signed_at: whole_second(now),
        };
        statement.sign(key)
    }
}

/// The name of this home's operator, by its certificate.
pub fn own_name(context: &Context<'_>) -> Outcome<OperatorName> {
    match context.home.server()?.principal()? {
        Principal::Operator(_, name) | Principal::Mdm(name) => Ok(name),
        other => Err(Failure::new(format!("this home is {other}'s, who is no operator"))),
    }
}

/// Refuses a key that the root ties to somebody else than this home's operator.
pub fn may_use(context: &Context<'_>, root: &Root, key: &PublicKey) -> Outcome {
    let Some(holder) = root.holder(key) else { return Ok(()) };
    let own = own_name(context)?;
    if *holder == own {
        return Ok(());
    }
    Err(Failure::new(format!("the key {key} is {holder}'s, as the root says, and this home is {own}'s"))
        .next(format!(
            "{holder} signs it, at a home of their own; nobody signs for two. Where {own} is {holder} come back under a new \
             name, a root says so: `approvals add-key --role targets --public {key} --holder {own}`"
        )))
}

/// The file's path in an envelope.
pub fn place(statement: &VerifiedStatement) -> String {
    path::statement(&statement.approval, &statement.key)
}

/// A statement that is missing or wrong: whoever sees it does not sign upon it.
pub fn unstated(error: StatementError) -> Failure {
    Failure::of(Exit::Untrusted, &error).next("do not sign it; ask whoever made the envelope for another")
}
