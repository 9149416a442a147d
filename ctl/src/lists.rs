//! Lists that the server answers page by page, each as a whole.

use suture_core::limits::{MAX_LISTED_ROWS, MAX_ROWS_PER_CALL};
use suture_proto::v1;

use crate::client::Client;
use crate::failure::{Failure, Outcome};

/// Puts a page to those before it; whether there is another. An older server answers all at once, and says of no more.
fn is_followed<T>(all: &mut Vec<T>, page: Vec<T>, more: bool, what: &str) -> Outcome<bool> {
    let moved = !page.is_empty();
    all.extend(page);
    if more && all.len() > MAX_LISTED_ROWS {
        return Err(Failure::new(format!("the server has more than {MAX_LISTED_ROWS} {what}, and no more are taken")));
    }
    // Attack: a server that sends pages without end.
    if more && !moved {
        return Err(Failure::untrusted(format!("the server's list of {what} does not come to an end")));
    }
    Ok(more)
}

/// Bundles that are published, by product and release.
pub async fn bundles(client: &mut Client) -> Outcome<Vec<v1::Bundle>> {
    let mut all: Vec<v1::Bundle> = Vec::new();
    loop {
        let (after_product, after_release) = all.last().map(|b| (b.product.clone(), b.release)).unwrap_or_default();
        let request = v1::ListBundlesRequest { after_product, after_release, limit: MAX_ROWS_PER_CALL };
        let v1::ListBundlesResponse { bundles, more } = client.list_bundles(request).await?;
        if !is_followed(&mut all, bundles, more, "bundles")? {
            return Ok(all);
        }
    }
}

/// The hospitals, by id.
pub async fn hospitals(client: &mut Client) -> Outcome<Vec<v1::Hdo>> {
    let mut all: Vec<v1::Hdo> = Vec::new();
    loop {
        let after = all.last().map(|hdo| hdo.id.clone()).unwrap_or_default();
        let request = v1::ListHdosRequest { after, limit: MAX_ROWS_PER_CALL };
        let v1::ListHdosResponse { hdos, more } = client.list_hdos(request).await?;
        if !is_followed(&mut all, hdos, more, "hospitals")? {
            return Ok(all);
        }
    }
}

/// The hospital's rollouts, newest first; those that have ended only where they are `ended`.
pub async fn rollouts(client: &mut Client, ended: bool) -> Outcome<Vec<v1::Rollout>> {
    let mut all: Vec<v1::Rollout> = Vec::new();
    loop {
        let after = all.last().map(|rollout| rollout.id.clone()).unwrap_or_default();
        let request = v1::ListRolloutsRequest { all: ended, after, limit: MAX_ROWS_PER_CALL };
        let v1::ListRolloutsResponse { rollouts, more } = client.list_rollouts(request).await?;
        if !is_followed(&mut all, rollouts, more, "rollouts")? {
            return Ok(all);
        }
    }
}

/// What is suggested, newest first.
pub async fn proposals(client: &mut Client) -> Outcome<Vec<v1::RolloutProposal>> {
    let mut all: Vec<v1::RolloutProposal> = Vec::new();
    loop {
        let after = all.last().map(|last| v1::ProposalPlace {
            created_ms: last.created_ms,
            hdo: last.hdo.clone(),
            product: last.product.clone(),
            release: last.release,
        });
        let request = v1::ListProposalsRequest { after, limit: MAX_ROWS_PER_CALL };
        let v1::ListProposalsResponse { proposals, more } = client.list_proposals(request).await?;
        if !is_followed(&mut all, proposals, more, "proposals")? {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_does_not_end_is_not_followed_for_ever() {
        let mut all = Vec::new();
        assert!(is_followed(&mut all, vec![1], true, "numbers").unwrap());
        assert!(!is_followed(&mut all, vec![2], false, "numbers").unwrap());
        assert_eq!(all, [1, 2]);
        assert!(!is_followed(&mut all, Vec::new(), false, "numbers").unwrap(), "nothing more");
        assert!(is_followed(&mut all, Vec::new(), true, "numbers").is_err(), "nothing, and more of it");
        let page = vec![0; MAX_ROWS_PER_CALL as usize];
        let pages = (0..1_000).take_while(|_| is_followed(&mut all, page.clone(), true, "numbers").is_ok()).count();
        assert_eq!(pages, MAX_LISTED_ROWS / page.len() - 1);
    }
}
