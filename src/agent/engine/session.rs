//! Sessions: a command in a component's container, or in one of its own, held
//! by a unit.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::net::UnixStream;

use super::{Engine, EngineError};
use crate::agent::session::frame;
use crate::agent::session::task::{Reach, Size, Task};
use crate::deployment::{Container, Deployment};
use crate::names::{ComponentName, ContainerName, ServiceName, UnitName};
use crate::systemd::ActiveState;
use crate::systemd::transient::TransientService;

/// How long a command in a container that goes on may take to end.
const GRACE: Duration = Duration::from_secs(5);
/// What a session needs in addition when it is stopped.
pub(super) const MARGIN: Duration = Duration::from_secs(15);
/// Linux's numbers of two signals, the same everywhere (`signal(7)`).
const SIGHUP: i32 = 1;
const SIGTERM: i32 = 15;

/// What is wanted of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// The command; may be empty where the component has one.
    pub command: Vec<String>,
    /// Whether it gets input.
    pub input: bool,
    /// The size of its terminal; none: it has none.
    pub terminal: Option<Size>,
    /// Its variables, in addition to the component's.
    pub env: Vec<(String, String)>,
    /// In the place of the container's user.
    pub user: Option<String>,
    /// In the place of the container's working directory.
    pub working_directory: Option<String>,
    /// In the place of the component's entry point.
    pub entrypoint: Option<String>,
}

/// A session that has been begun.
#[derive(Debug)]
pub struct Session {
    /// The unit that holds it.
    pub unit: UnitName,
    /// The container that the command runs in.
    pub container: ContainerName,
    /// Where its messages come from and go to. It ends when this is closed.
    pub socket: UnixStream,
}

/// A unit that holds a session, but for its socket.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) unit: UnitName,
    pub(super) description: String,
    pub(super) after_end: Vec<Vec<String>>,
    pub(super) requires: Vec<UnitName>,
    pub(super) delegate: bool,
}

impl Engine {
    /// Begins a command in the container of a component.
    ///
    /// # Errors
    ///
    /// The component is not there or does not run, or systemd does not answer.
    pub async fn exec(
        &self,
        service: &ServiceName,
        component: Option<&ComponentName>,
        wish: &Wish,
    ) -> Result<Session, EngineError> {
        let accepted = self.accepted(service)?;
        let container = one(&accepted.deployment, component)?;
        let unit = container.name.unit();
        let listed = self.manager().listed(std::slice::from_ref(&unit)).await?;
        // It may still be starting: then that is what is to be looked into.
        let runs = listed.iter().any(|u| {
            matches!(u.active, ActiveState::Active | ActiveState::Activating)
                && !u.waits_to_be_tried()
        });
        if !runs {
            return Err(EngineError::NotRunning { unit });
        }
        let holder = Holder {
            unit: UnitName::session(&number()?),
            description: format!("A command in {}", container.name),
            after_end: Vec::new(),
            requires: Vec::new(),
            delegate: false,
        };
        let task = exec_task(container, wish);
        self.hold(holder, container.name.clone(), &task).await
    }

    /// Has systemd start a unit that carries out a task.
    pub(super) async fn hold(
        &self,
        holder: Holder,
        container: ContainerName,
        task: &Task,
    ) -> Result<Session, EngineError> {
        // Not in the unit of the session, with whose end it would go.
        self.hold_pause_process().await?;
        let (mut ours, theirs) = UnixStream::pair().map_err(EngineError::Session)?;
        let theirs = theirs.into_std().and_then(|socket| {
            socket.set_nonblocking(false)?;
            Ok(OwnedFd::from(socket))
        });
        let agent = self.toolchain()?.renderer.agent().to_owned();
        let Holder { unit, description, after_end, requires, delegate } = holder;
        let name = unit.as_str().trim_end_matches(".service");
        self.manager()
            .start_transient(TransientService {
                directory: format!("mcp/sessions/{name}"),
                unit: unit.clone(),
                description,
                command: vec![agent, "session".to_owned()],
                after_end,
                input: theirs.map_err(EngineError::Session)?,
                requires,
                delegate,
                stop_timeout: task.grace + MARGIN,
            })
            .await?;
        let text = serde_json::to_vec(task).map_err(std::io::Error::from);
        let text = text.map_err(EngineError::Session)?;
        frame::write(&mut ours, &text).await.map_err(EngineError::Session)?;
        Ok(Session { unit, container, socket: ours })
    }
}

/// Returns the container that is meant: that of the component, else the only
/// one.
pub(super) fn one<'a>(
    deployment: &'a Deployment,
    component: Option<&ComponentName>,
) -> Result<&'a Container, EngineError> {
    let known = || deployment.containers.iter().map(|c| c.spec.name.to_string()).collect();
    match (component, deployment.containers.as_slice()) {
        (None, [only]) => Ok(only),
        (None, _) => {
            Err(EngineError::WhichComponent { service: deployment.service.clone(), known: known() })
        }
        (Some(name), _) => deployment.container(name).ok_or_else(|| EngineError::NoComponent {
            service: deployment.service.clone(),
            component: name.clone(),
            known: known(),
        }),
    }
}

/// Returns eight random digits, for a name that nobody else has.
pub(super) fn number() -> Result<String, EngineError> {
    getrandom::u32().map(|n| format!("{n:08x}")).map_err(EngineError::Random)
}

/// Returns the options of streams, of `podman exec` and `podman run` alike.
pub(super) fn stream_options(wish: &Wish) -> Vec<String> {
    // podman's own keys would take octets out of the input.
    let mut options = vec!["--detach-keys=".to_owned()];
    options.extend(wish.input.then(|| "--interactive".to_owned()));
    options.extend(wish.terminal.map(|_| "--tty".to_owned()));
    options
}

fn exec_task(container: &Container, wish: &Wish) -> Task {
    let mut options = vec!["exec".to_owned()];
    options.extend(stream_options(wish));
    options.extend(wish.user.as_ref().map(|user| format!("--user={user}")));
    options.extend(wish.working_directory.as_ref().map(|path| format!("--workdir={path}")));
    let mut operands = vec![container.name.to_string()];
    operands.extend(wish.command.iter().cloned());
    Task {
        options,
        operands,
        env: wish.env.clone(),
        input: wish.input,
        terminal: wish.terminal,
        reach: Reach::All,
        // What a terminal sends when it is gone; shells ignore the other.
        stop_signal: if wish.terminal.is_some() { SIGHUP } else { SIGTERM },
        grace: GRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{Leases, NodeFacts, resolve};
    use crate::names::Generation;

    fn deployment(components: &[&str]) -> Deployment {
        let mut text = "name = \"web\"\n".to_owned();
        for name in components {
            text += &format!("[[components]]\nname = \"{name}\"\nimage = \"localhost/x:1\"\n");
        }
        let service = crate::definition::load(&text).unwrap();
        resolve(&service, &NodeFacts::default(), &Leases::new(), None, Generation(1)).unwrap()
    }

    #[test]
    fn a_component_may_be_left_out_where_there_is_one() {
        let (single, several) = (deployment(&["api"]), deployment(&["api", "db"]));
        assert_eq!(one(&single, None).unwrap().name.as_str(), "web-api");
        assert_eq!(one(&several, Some(&"db".parse().unwrap())).unwrap().name.as_str(), "web-db");
        let error = one(&several, None).unwrap_err().to_string();
        assert_eq!(error, "service web has several components; name one: web/api, web/db");
        assert!(matches!(
            one(&several, Some(&"x".parse().unwrap())),
            Err(EngineError::NoComponent { .. })
        ));
    }

    #[test]
    fn what_is_wished_stands_before_the_container_and_the_command_after() {
        let deployment = deployment(&["api"]);
        let wish = Wish {
            command: ["sh", "--user=root", "-c", "$X %h"].map(str::to_owned).to_vec(),
            input: true,
            terminal: Some(Size { rows: 1, columns: 2 }),
            env: vec![("A".to_owned(), "secret".to_owned())],
            user: Some("app".to_owned()),
            working_directory: Some("/srv".to_owned()),
            entrypoint: None,
        };
        let task = exec_task(&deployment.containers[0], &wish);
        assert_eq!(
            task.options,
            ["exec", "--detach-keys=", "--interactive", "--tty", "--user=app", "--workdir=/srv"]
        );
        assert_eq!(task.operands, ["web-api", "sh", "--user=root", "-c", "$X %h"]);
        assert_eq!(task.stop_signal, SIGHUP);
    }
}
