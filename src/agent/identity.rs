//! Who a Unix peer is, and what role a user has on the socket.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::settings::SocketRoles;
use crate::rpc::auth::Role;

/// The users of this machine, as `passwd(5)` names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    uids: BTreeMap<String, u32>,
    names: BTreeMap<u32, String>,
}

impl Users {
    /// Reads `/etc/passwd`.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn load() -> io::Result<Self> {
        fs::read(Path::new("/etc/passwd")).map(|text| Self::parse(&String::from_utf8_lossy(&text)))
    }

    /// Reads `/etc/passwd`; without one, nobody has a name.
    pub fn load_or_empty() -> Self {
        Self::load().unwrap_or_default()
    }

    /// Parses `passwd(5)`; lines that are not of its form are passed over.
    pub fn parse(text: &str) -> Self {
        let mut users = Self::default();
        for line in text.lines() {
            let mut fields = line.split(':');
            if let (Some(name), Some(_), Some(uid)) = (fields.next(), fields.next(), fields.next())
                && let Ok(uid) = uid.parse()
                && !name.is_empty()
            {
                users.uids.entry(name.to_owned()).or_insert(uid);
                users.names.entry(uid).or_insert_with(|| name.to_owned());
            }
        }
        users
    }

    /// Returns a user's name.
    pub fn name(&self, uid: u32) -> Option<&str> {
        self.names.get(&uid).map(String::as_str)
    }

    /// Returns a user's number, by name or by the number itself.
    pub fn uid(&self, user: &str) -> Option<u32> {
        self.uids.get(user).copied().or_else(|| user.parse().ok())
    }
}

/// Who has which role on the socket, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    roles: BTreeMap<u32, Role>,
    users: Users,
}

impl Members {
    /// Resolves the configured names; root and the agent's own user are
    /// admins. Returns also the names that no user has.
    pub fn resolve(roles: &SocketRoles, users: Users, own_uid: u32) -> (Self, Vec<String>) {
        let mut resolved = BTreeMap::new();
        let mut unknown = Vec::new();
        let viewers = roles.viewers.iter().map(|user| (user, Role::Viewer));
        let operators = roles.operators.iter().map(|user| (user, Role::Operator));
        for (user, role) in viewers.chain(operators) {
            match users.uid(user) {
                Some(uid) => {
                    resolved.insert(uid, role);
                }
                None => unknown.push(user.clone()),
            }
        }
        resolved.insert(0, Role::Admin);
        resolved.insert(own_uid, Role::Admin);
        (Self { roles: resolved, users }, unknown)
    }

    /// Returns a user's role.
    pub fn role(&self, uid: u32) -> Option<Role> {
        self.roles.get(&uid).copied()
    }

    /// Returns what a user is called: by name, else `uid 1000`.
    pub fn name(&self, uid: u32) -> String {
        self.users.name(uid).map_or_else(|| format!("uid {uid}"), str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nmcp:x:850:850::/srv/mcp:/bin/sh\n\n#x\nkyle:x:1000:1000:K:/home/kyle:/bin/sh\nodd:x:notanumber\n";

    #[test]
    fn names_and_numbers_give_roles_and_unknown_names_are_told() {
        let roles = SocketRoles {
            operators: vec!["kyle".to_owned(), "nobody-here".to_owned()],
            viewers: vec!["1001".to_owned(), "root".to_owned()],
        };
        let (members, unknown) = Members::resolve(&roles, Users::parse(PASSWD), 850);
        assert_eq!(members.role(1000), Some(Role::Operator));
        assert_eq!(members.role(1001), Some(Role::Viewer));
        assert_eq!(members.role(0), Some(Role::Admin));
        assert_eq!(members.role(850), Some(Role::Admin));
        assert_eq!(members.role(33), None);
        assert_eq!(unknown, ["nobody-here"]);
        assert_eq!(members.name(1000), "kyle");
        assert_eq!(members.name(33), "uid 33");
    }
}
