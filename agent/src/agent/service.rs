//! Where the device connects: by the hospital's signed word, by what enrolment said before that.

use std::sync::Arc;

use suture_core::approval::{Service, SignedDocument as _, path};
use suture_core::trust::Repository;
use suture_proto::connect::ProxyRules;

use super::{Agent, AgentError, chain};
use crate::client::{Client, Manners};
use crate::identity::Identity;
use crate::tls_clock::TlsClock;
use crate::ways::{self, Way, Ways};

/// A client for the present way; it connects with its first call.
pub(super) fn client(
    identity: &Identity,
    ways: &Ways,
    (clock, proxy): (Arc<TlsClock>, ProxyRules),
    manners: &Manners,
) -> Result<Client, AgentError> {
    by(ways.way().ok_or(AgentError::NoWay)?, identity, (clock, proxy), manners)
}

/// A client for this way.
fn by(
    way: Way,
    identity: &Identity,
    (clock, proxy): (Arc<TlsClock>, ProxyRules),
    manners: &Manners,
) -> Result<Client, AgentError> {
    let connection = identity.connection(way, clock, proxy)?;
    Ok(Client::mannered(&connection, manners)?)
}

impl Agent {
    /// Takes what the verified approvals say about the server. A failure changes nothing and is tried again: the device
    /// knows a way that worked.
    pub(super) async fn heed_service(&mut self, approvals: &Repository) {
        if approvals.target(path::SERVICE).is_none() {
            return;
        }
        let bytes = match self.approvals.document(&mut self.client, approvals, path::SERVICE).await {
            Ok(bytes) => bytes,
            Err(e) => return tracing::warn!(error = %chain(&e), "where the server is cannot be read"),
        };
        let signed = match Service::parse(&bytes) {
            Ok(signed) if signed.hdo == self.identity.device().hdo => signed,
            Ok(_) => return tracing::error!("the approvals list another hospital's service.json; it is passed over"),
            Err(e) => return tracing::error!(error = %chain(&e), "service.json is passed over"),
        };
        // Mistake: a certificate that is none, or a host that is no name. Once kept, it would end the agent at its next
        // start.
        for way in ways::of(&signed) {
            let (address, around) = (way.address.clone(), (self.tls_clock.clone(), self.around.proxy.clone()));
            if let Err(e) = by(way, &self.identity, around, &self.manners) {
                return tracing::error!(address, error = %chain(&e), "service.json is passed over: this way cannot be taken");
            }
        }
        match self.ways.heed(signed) {
            Ok(true) => {
                tracing::info!("the hospital has signed where the server is and by whom it is certified");
                self.reconnect();
            }
            Ok(false) => {}
            Err(e) => tracing::error!(error = %chain(&e), "where the server is cannot be kept"),
        }
    }

    /// Tries the signed ways first, however long an older one has worked; where what they lead to has expired, the others too.
    pub(super) fn begin_round(&mut self) {
        if self.ways.begin() {
            self.reconnect();
        }
    }

    /// Goes over to the next way; says whether there is one that was not tried in this round.
    pub(super) fn next_way(&mut self) -> bool {
        let several = self.ways.all().len() > 1;
        let more = self.ways.turn();
        if several {
            self.reconnect();
        }
        more
    }

    /// The present way led to the server.
    pub(super) fn way_worked(&mut self) {
        if let Err(e) = self.ways.worked() {
            tracing::warn!(error = %chain(&e), "which way to the server worked cannot be kept");
        }
    }

    /// Connects anew: the next call goes the present way, with the present certificate.
    pub(super) fn connect(&mut self) -> Result<(), AgentError> {
        self.tls_clock.raise(self.identity.issued());
        let around = (self.tls_clock.clone(), self.around.proxy.clone());
        self.client = client(&self.identity, &self.ways, around, &self.manners)?.counting(self.client.traffic());
        self.lease.rest();
        Ok(())
    }

    fn reconnect(&mut self) {
        if let Err(e) = self.connect() {
            tracing::error!(error = %chain(&e), "this way to the server cannot be taken");
        }
    }
}
