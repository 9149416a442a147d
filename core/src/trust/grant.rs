//! The publishing side of delegations: who is let speak for which paths.

use serde_json::{Value, json};

use super::TrustError;
use super::edit::{RoleDraft, TargetsDraft};
use super::role::{key_id, key_object};

/// A delegation to be signed. It is always a terminating one: what the role does not list of its paths is nobody's, so that
/// a product line has one owner, whatever is delegated after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The role's name.
    pub name: String,
    /// Who signs for it.
    pub role: RoleDraft,
    /// Patterns of the paths that it may speak for; no wildcard matches a `/`.
    pub paths: Vec<String>,
}

impl TargetsDraft {
    /// Lets a role speak for paths, in the place of what it was given before. A new role comes behind the others.
    pub fn delegate(&mut self, grant: &Grant) -> Result<(), TrustError> {
        let mut delegations = self.delegations.take().unwrap_or_else(|| json!({ "keys": {}, "roles": [] }));
        let mut ids = Vec::new();
        for key in &grant.role.keys {
            let id = key_id(key)?.to_string();
            if let Some(Value::Object(keys)) = delegations.get_mut("keys") {
                keys.insert(id.clone(), key_object(key));
            }
            ids.push(id);
        }
        ids.sort_unstable();
        ids.dedup();
        let entry = json!({
            "name": grant.name, "keyids": ids, "threshold": grant.role.threshold, "paths": grant.paths,
            "terminating": true,
        });
        if let Some(Value::Array(roles)) = delegations.get_mut("roles") {
            match roles.iter_mut().find(|role| is_named(role, &grant.name)) {
                Some(role) => *role = entry,
                None => roles.push(entry),
            }
        }
        self.delegations = Some(delegations);
        self.drop_unused_keys();
        // Read back by the rules of readers, so that nobody is asked to sign what nobody will accept.
        super::delegation::read_delegations(self.delegations.as_ref().unwrap_or(&Value::Null)).map(drop)
    }

    /// Lets a role speak no more; false where it was not let.
    pub fn undelegate(&mut self, name: &str) -> bool {
        let Some(Value::Array(roles)) = self.delegations.as_mut().and_then(|d| d.get_mut("roles")) else {
            return false;
        };
        let before = roles.len();
        roles.retain(|role| !is_named(role, name));
        let (removed, left) = (roles.len() < before, roles.len());
        if left == 0 {
            self.delegations = None;
        }
        self.drop_unused_keys();
        removed
    }

    /// Keys that no role lists any more are listed no more themselves.
    fn drop_unused_keys(&mut self) {
        let Some(delegations) = &mut self.delegations else { return };
        let roles = delegations.get("roles").and_then(Value::as_array).cloned().unwrap_or_default();
        let used = |id: &String| {
            let ids = roles.iter().filter_map(|role| role.get("keyids").and_then(Value::as_array)).flatten();
            ids.filter_map(Value::as_str).any(|used| used == id)
        };
        if let Some(Value::Object(keys)) = delegations.get_mut("keys") {
            keys.retain(|id, _| used(id));
        }
    }
}

fn is_named(role: &Value, name: &str) -> bool {
    role.get("name").and_then(Value::as_str) == Some(name)
}
