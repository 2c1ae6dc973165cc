//! The user of a container by number: `user[:group]`, looked up in the image's
//! own `passwd(5)` and `group(5)`.

use std::str::FromStr;

/// A user and a group, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ids {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
}

/// `user[:group]`, names or numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserText {
    user: String,
    group: Option<String>,
}

/// Says why there is no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// The text is no user.
    #[error("{0:?} is no owner; write UID or UID:GID, or names that the image has")]
    Malformed(String),
    /// The image has no such user.
    #[error("the image has no user {0:?}; give --owner UID:GID")]
    NoUser(String),
    /// The image has no such group.
    #[error("the image has no group {0:?}; give --owner UID:GID")]
    NoGroup(String),
}

impl FromStr for UserText {
    type Err = OwnerError;

    fn from_str(text: &str) -> Result<Self, OwnerError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let word = |text: &str| {
            !text.is_empty()
                && text.len() <= 64
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-$".contains(&b))
                && !text.starts_with('-')
        };
        if !word(user) || !group.is_none_or(word) {
            return Err(OwnerError::Malformed(text.to_owned()));
        }
        Ok(Self { user: user.to_owned(), group: group.map(str::to_owned) })
    }
}

impl UserText {
    /// Returns the numbers, if nothing needs to be looked up. Root alone has
    /// the same group everywhere.
    pub fn numbers(&self) -> Option<Ids> {
        let user = self.user.parse().ok()?;
        match &self.group {
            Some(group) => Some(Ids { user, group: group.parse().ok()? }),
            None => (user == 0).then_some(Ids { user, group: 0 }),
        }
    }

    /// Looks the names up, as podman does for `User=`: a number that the image
    /// does not know has group 0.
    ///
    /// # Errors
    ///
    /// The image has no such user or group.
    pub fn look_up(&self, passwd: &str, group: &str) -> Result<Ids, OwnerError> {
        let known = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| {
            fields.first() == Some(&self.user.as_str())
                || fields.get(2) == Some(&self.user.as_str())
        });
        let number = |at: usize| known.as_ref()?.get(at)?.parse::<u32>().ok();
        let user = number(2)
            .or_else(|| self.user.parse().ok())
            .ok_or_else(|| OwnerError::NoUser(self.user.clone()))?;
        let Some(wanted) = &self.group else {
            return Ok(Ids { user, group: number(3).unwrap_or(0) });
        };
        let named = group.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, number) = (fields.next()?, fields.nth(1)?);
            (name == wanted).then(|| number.parse().ok())?
        });
        let group = wanted.parse().ok().or(named);
        let group = group.ok_or_else(|| OwnerError::NoGroup(wanted.clone()))?;
        Ok(Ids { user, group })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:44::/:/bin/false\nbroken\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:syslog\n";

    #[test]
    fn users_are_looked_up_as_podman_does() {
        let found = |text: &str| {
            let user: UserText = text.parse().unwrap();
            user.look_up(PASSWD, GROUP).map(|Ids { user, group }| (user, group))
        };
        assert_eq!(found("www"), Ok((33, 44)));
        assert_eq!(found("33"), Ok((33, 44)));
        assert_eq!(found("1000"), Ok((1000, 0)));
        assert_eq!(found("www:adm"), Ok((33, 4)));
        assert_eq!(found("7:8"), Ok((7, 8)));
        assert_eq!(found("nobody"), Err(OwnerError::NoUser("nobody".to_owned())));
        assert_eq!(found("www:staff"), Err(OwnerError::NoGroup("staff".to_owned())));
    }

    #[test]
    fn an_owner_is_one_or_two_words() {
        let numbers = |text: &str| text.parse::<UserText>().unwrap().numbers();
        assert_eq!(numbers("0"), Some(Ids { user: 0, group: 0 }));
        assert_eq!(numbers("5:6"), Some(Ids { user: 5, group: 6 }));
        assert_eq!((numbers("5"), numbers("www")), (None, None));
        for bad in ["", ":", "a:", ":b", "a b", "a:b:c", "-1", "a\n", "../x"] {
            assert!(bad.parse::<UserText>().is_err(), "{bad:?}");
        }
    }
}
