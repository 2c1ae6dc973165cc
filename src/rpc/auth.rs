//! Who may call what: roles, the role that each call needs, bearer tokens.
//!
//! Pure but for the random bytes of a new token; where tokens are stored and
//! who a Unix peer is, the program knows.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::secret::Secret;

/// What a caller may do; each role may do all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Looks.
    Viewer,
    /// Looks, and changes what runs.
    Operator,
    /// Does everything.
    Admin,
}

/// Every role, lowest first.
pub const ROLES: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

impl Role {
    /// Returns the role as it is written in files and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a role; there are viewer, operator and admin")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        ROLES
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

/// What a call asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: gRPC health, which tells nobody more than an open port does.
    Open,
    /// At least this role.
    Role(Role),
}

impl Access {
    /// Tells whether the call may change something, and so is audited.
    pub fn changes(self) -> bool {
        match self {
            Self::Open | Self::Role(Role::Viewer) => false,
            Self::Role(Role::Operator | Role::Admin) => true,
        }
    }
}

/// The methods of the agent's service and the role that each needs.
const METHODS: &[(&str, Role)] = &[
    ("Info", Role::Viewer),
    ("Plan", Role::Viewer),
    ("List", Role::Viewer),
    ("Status", Role::Viewer),
    ("WatchStatus", Role::Viewer),
    ("Definition", Role::Viewer),
    ("Logs", Role::Viewer),
    ("Push", Role::Operator),
    // Files hold secrets, unlike definitions.
    ("Pull", Role::Operator),
    ("ListFiles", Role::Operator),
    ("History", Role::Viewer),
    ("Diff", Role::Viewer),
    ("Rollback", Role::Operator),
    ("Deploy", Role::Operator),
    ("Undeploy", Role::Operator),
    ("Start", Role::Operator),
    ("Stop", Role::Operator),
    ("Restart", Role::Operator),
    ("Events", Role::Viewer),
    ("PlanReconcile", Role::Viewer),
    ("Reconcile", Role::Operator),
    ("Exec", Role::Operator),
    ("RunOnce", Role::Operator),
    ("Release", Role::Operator),
    // The variables of containers hold secrets, unlike definitions.
    ("PlanAdopt", Role::Operator),
    ("Adopt", Role::Operator),
    ("PlanSync", Role::Viewer),
    ("Purge", Role::Operator),
    ("TestAlerts", Role::Operator),
    ("Recover", Role::Operator),
    ("Upgrade", Role::Admin),
    ("AgentStatus", Role::Viewer),
    ("Doctor", Role::Viewer),
    ("Explain", Role::Viewer),
    ("Top", Role::Viewer),
    ("BootReport", Role::Viewer),
    ("BootVerify", Role::Viewer),
    ("BootPlan", Role::Viewer),
];

/// Returns what a call asks of its caller, by its HTTP path
/// `/<package>.<service>/<method>`. A method that is not listed needs `admin`,
/// so a new one is closed until someone decides.
pub fn access(path: &str) -> Access {
    let (service, method) =
        path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or((path, ""));
    match service {
        "grpc.health.v1.Health" => Access::Open,
        "grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection" => {
            Access::Role(Role::Viewer)
        }
        "mcp.agent.v1.AgentService" => {
            let listed = METHODS.iter().find(|(name, _)| *name == method);
            Access::Role(listed.map_or(Role::Admin, |(_, role)| *role))
        }
        _ => Access::Role(Role::Admin),
    }
}

/// Octets of a token's secret.
const SECRET: usize = 32;
/// Octets of a token's identifier.
const ID: usize = 6;

/// A bearer token: `mcp_<id>_<secret>`, the identifier in hexadecimal, the
/// secret 32 random octets in base64url without padding (RFC 4648, section 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    id: String,
    secret: Secret<[u8; SECRET]>,
}

/// The system gave no random octets.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct RandomError(#[source] getrandom::Error);

impl Token {
    /// Makes a new token.
    ///
    /// # Errors
    ///
    /// The system gives no random numbers.
    pub fn generate() -> Result<Self, RandomError> {
        let mut secret = [0; SECRET];
        getrandom::fill(&mut secret).map_err(RandomError)?;
        let number = getrandom::u64().map_err(RandomError)? >> (64 - 8 * ID);
        let id = format!("{number:0width$x}", width = 2 * ID);
        Ok(Self { id, secret: Secret::new(secret) })
    }

    /// Reads a token's text; `None` when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix("mcp_")?.split_once('_')?;
        let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if id.len() != 2 * ID || !id.bytes().all(hex) {
            return None;
        }
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?;
        Some(Self { id: id.to_owned(), secret: Secret::new(secret.try_into().ok()?) })
    }

    /// Returns the identifier, which is no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the text that its owner keeps.
    pub fn text(&self) -> Secret<String> {
        let secret = URL_SAFE_NO_PAD.encode(self.secret.reveal());
        Secret::new(format!("mcp_{}_{secret}", self.id))
    }

    /// Returns what is stored: SHA-256 of the secret. The secret has 256 bits
    /// of its own, so it needs no salt and no slow hash.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret.reveal()).into()
    }
}

/// What is known about a stored token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// SHA-256 of its secret.
    pub hash: [u8; 32],
    /// What its bearer may do.
    pub role: Role,
    /// When it stops being valid, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<i64>,
    /// When it was revoked.
    pub revoked_at_ms: Option<i64>,
}

/// Why a caller was turned away; `reason` is for programs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The call came without a token.
    #[error("a token is needed: `mcp login`, or ask for one made by `mcp-agent token create`")]
    NoToken,
    /// The token is not one, is unknown or has another secret.
    #[error("the token is not valid")]
    BadToken,
    /// The token was good until its time came.
    #[error("the token has expired")]
    Expired,
    /// The token was revoked.
    #[error("the token was revoked")]
    Revoked,
    /// The Unix peer has no role on this node.
    #[error(
        "uid {uid} has no role on this node; name the user under [socket] operators or viewers in mcp-agent.toml"
    )]
    NoRole {
        /// Its user.
        uid: u32,
    },
    /// The caller's role does not reach.
    #[error("{method} needs the role {needed}, the caller is {role}")]
    RoleTooLow {
        /// What was called.
        method: String,
        /// The caller's role.
        role: Role,
        /// The role that the call needs.
        needed: Role,
    },
}

impl Refusal {
    /// Returns the reason for programs, which never changes.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoToken => "no-token",
            Self::BadToken => "bad-token",
            Self::Expired => "token-expired",
            Self::Revoked => "token-revoked",
            Self::NoRole { .. } => "no-role",
            Self::RoleTooLow { .. } => "role-too-low",
        }
    }

    /// Tells whether the caller was recognised, and only may not do this.
    pub fn is_permission(&self) -> bool {
        match self {
            Self::NoRole { .. } | Self::RoleTooLow { .. } => true,
            Self::NoToken | Self::BadToken | Self::Expired | Self::Revoked => false,
        }
    }
}

/// The header by which an agent says its version with each answer.
pub const VERSION_HEADER: &str = "mcp-version";

/// The trailer that carries [`Refusal::reason`].
pub const REASON_HEADER: &str = "mcp-reason";

/// Decides whether a presented token is the stored one and still valid.
///
/// # Errors
///
/// Another secret, revoked, or expired; the last two are told only to someone
/// who knows the secret.
pub fn verify(presented: &Token, stored: &StoredToken, now_ms: i64) -> Result<Role, Refusal> {
    let same: bool = presented.hash().ct_eq(&stored.hash).into();
    if !same {
        return Err(Refusal::BadToken);
    }
    if stored.revoked_at_ms.is_some() {
        return Err(Refusal::Revoked);
    }
    if stored.expires_at_ms.is_some_and(|expires| expires <= now_ms) {
        return Err(Refusal::Expired);
    }
    Ok(stored.role)
}

/// Decides whether a role reaches for a call.
///
/// # Errors
///
/// It does not.
pub fn authorise(role: Role, path: &str) -> Result<(), Refusal> {
    match access(path) {
        Access::Open => Ok(()),
        Access::Role(needed) if role >= needed => Ok(()),
        Access::Role(needed) => {
            Err(Refusal::RoleTooLow { method: method(path).to_owned(), role, needed })
        }
    }
}

/// Returns the method's name alone, as a person says it.
pub fn method(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(token: &Token) -> StoredToken {
        StoredToken {
            hash: token.hash(),
            role: Role::Viewer,
            expires_at_ms: None,
            revoked_at_ms: None,
        }
    }

    #[test]
    fn a_token_reads_back_and_hides_its_secret() {
        for _ in 0..64 {
            let token = Token::generate().unwrap();
            assert_eq!(Token::parse(token.text().reveal()).unwrap(), token);
            assert!(format!("{token:?}").contains("[secret]"));
        }
        for bad in ["", "mcp_", "mcp_12_34", "mcp_00112233445_AAAA", "Bearer x", "mcp_é_é"] {
            assert_eq!(Token::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn wrong_expired_and_revoked_tokens_are_refused() {
        let (token, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        let good = stored(&token);
        assert_eq!(verify(&token, &good, 5), Ok(Role::Viewer));
        assert_eq!(verify(&other, &good, 5), Err(Refusal::BadToken));
        let expiring = StoredToken { expires_at_ms: Some(5), ..good.clone() };
        assert_eq!(verify(&token, &expiring, 4), Ok(Role::Viewer));
        assert_eq!(verify(&token, &expiring, 5), Err(Refusal::Expired));
        assert_eq!(verify(&other, &expiring, 5), Err(Refusal::BadToken));
        let revoked = StoredToken { revoked_at_ms: Some(1), ..good };
        assert_eq!(verify(&token, &revoked, 5), Err(Refusal::Revoked));
    }

    #[test]
    fn each_role_reaches_what_the_table_says() {
        let path = |method: &str| format!("/mcp.agent.v1.AgentService/{method}");
        assert!(authorise(Role::Viewer, &path("Plan")).is_ok());
        assert!(authorise(Role::Viewer, &path("Deploy")).is_err());
        assert!(authorise(Role::Operator, &path("Deploy")).is_ok());
        assert!(authorise(Role::Operator, &path("Invented")).is_err());
        assert!(authorise(Role::Admin, &path("Invented")).is_ok());
        assert_eq!(access("/grpc.health.v1.Health/Check"), Access::Open);
        assert_eq!(
            access("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
            Access::Role(Role::Viewer)
        );
        assert_eq!(access("garbage"), Access::Role(Role::Admin));
    }

    #[test]
    fn every_method_of_the_proto_has_a_role() {
        let proto = include_str!("../../proto/mcp/agent/v1/agent.proto");
        let methods: Vec<&str> = proto
            .lines()
            .filter_map(|line| line.trim().strip_prefix("rpc ")?.split('(').next())
            .collect();
        assert!(!methods.is_empty());
        for method in methods {
            assert!(METHODS.iter().any(|(name, _)| *name == method), "{method}");
        }
    }
}
