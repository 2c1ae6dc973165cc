//! Properties of systemd's objects, read one by one.

use zbus::{Connection, OwnedVariant};

/// The interface of what every unit has (`org.freedesktop.systemd1(5)`).
pub(super) const UNIT: &str = "org.freedesktop.systemd1.Unit";
/// The interface of what services have.
pub(super) const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// An object of systemd's.
pub(super) struct Properties<'a> {
    pub(super) connection: &'a Connection,
    pub(super) path: String,
}

impl Properties<'_> {
    pub(super) async fn get<T>(&self, interface: &str, property: &str) -> zbus::Result<T>
    where
        T: TryFrom<OwnedVariant, Error = zbus::Error>,
    {
        let reply = self
            .connection
            .call_method(
                Some("org.freedesktop.systemd1"),
                self.path.as_str(),
                Some("org.freedesktop.DBus.Properties"),
                "Get",
                &(interface, property),
            )
            .await?;
        let value: OwnedVariant = reply.body().deserialize()?;
        T::try_from(value)
    }

    pub(super) async fn get_if<T>(
        &self,
        wanted: bool,
        interface: &str,
        property: &str,
    ) -> zbus::Result<Option<T>>
    where
        T: TryFrom<OwnedVariant, Error = zbus::Error>,
    {
        if wanted { self.get(interface, property).await.map(Some) } else { Ok(None) }
    }
}
