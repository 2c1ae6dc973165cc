//! Why the engine did not do what was asked.

use crate::deployment::ports::Exhausted;
use crate::deployment::{BootError, ImageId, ResolveError};
use crate::names::{
    ComponentName, ContainerName, Generation, ImageRef, NetworkName, ServiceName, UnitName,
};
use crate::quadlet::RenderError;
use crate::registry::RegistryError;
use crate::systemd::SystemdError;
use crate::units::{GeneratorError, UnitsError};

/// Why the engine did not do what was asked. Until an operation has begun,
/// nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No port is left for a container that is to run beside another one.
    #[error("no port of the node's range is free to run {container} twice for a moment")]
    NoSparePort {
        /// The container.
        container: ContainerName,
    },
    /// The definition has mistakes.
    #[error("the definition is not valid:\n{}", lines.join("\n"))]
    Invalid {
        /// Each mistake, with its place.
        lines: Vec<String>,
    },
    /// The service cannot be on this node as it is.
    #[error("{}", joined(.0))]
    Resolve(Vec<ResolveError>),
    /// No port can be leased.
    #[error(transparent)]
    Ports(#[from] Exhausted),
    /// The units cannot be written.
    #[error("the units cannot be rendered")]
    Render(#[from] RenderError),
    /// Podman's generator refuses the units, or reads them otherwise than
    /// they are meant.
    #[error("podman's generator does not take the units as they are meant:\n{}", messages.join("\n"))]
    Proof {
        /// The generator's words, and every difference.
        messages: Vec<String>,
    },
    /// Nothing can be run in a container that is not there.
    #[error("{unit} does not run; `mcp status` says why, and `mcp run` does without it")]
    NotRunning {
        /// Its unit.
        unit: UnitName,
    },
    /// A word is systemd's to expand, and systemd does not start one-offs.
    #[error(
        "{unit} has {word:?} from an `extra` key or a drop-in, which only systemd can expand; a one-off cannot be made like it: write the value out"
    )]
    Unexpanded {
        /// The unit.
        unit: UnitName,
        /// The word.
        word: String,
    },
    /// One of several components must be named.
    #[error("service {service} has several components; name one: {}", paths(service, known))]
    WhichComponent {
        /// The service.
        service: ServiceName,
        /// The components that it has.
        known: Vec<String>,
    },
    /// A session could not be begun.
    #[error("the session could not be begun")]
    Session(#[source] std::io::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random(#[source] getrandom::Error),
    /// The node lacks something.
    #[error("{}", problems.join("\n"))]
    Preflight {
        /// What, with its mend.
        problems: Vec<String>,
    },
    /// The service is not on this node.
    #[error("service {service} is not deployed on this node")]
    NotDeployed {
        /// The service.
        service: ServiceName,
    },
    /// The service has no such component.
    #[error("service {service} has no component {component}; it has {}", known.join(", "))]
    NoComponent {
        /// The service.
        service: ServiceName,
        /// The component.
        component: ComponentName,
        /// The components that it has.
        known: Vec<String>,
    },
    /// A component cannot be deployed before its service.
    #[error("service {service} is not deployed yet; deploy all of it first: mcp deploy {service}")]
    ComponentFirst {
        /// The service.
        service: ServiceName,
    },
    /// A generation is not kept.
    #[error("generation {number} of {service} is not kept; there are {}", numbers(kept))]
    NoGeneration {
        /// The service.
        service: ServiceName,
        /// The generation.
        number: Generation,
        /// Those that are kept.
        kept: Vec<Generation>,
    },
    /// There is no older generation.
    #[error("there is no generation of {service} before {number}")]
    NothingBefore {
        /// The service.
        service: ServiceName,
        /// The generation.
        number: Generation,
    },
    /// An image that a generation ran can be had in no way.
    #[error(
        "component {component} ran the image {} under the name {image}; it is no longer on this node, and no image registry has it; load it again (podman load), or deploy another image",
        id.short()
    )]
    ImageGone {
        /// The component.
        component: ComponentName,
        /// The image's name.
        image: ImageRef,
        /// The image.
        id: ImageId,
    },
    /// Another operation on the service is under way.
    #[error("a {operation} of {service} is under way; {}", way_out(service, *gives_way))]
    Busy {
        /// The service.
        service: ServiceName,
        /// What is under way.
        operation: &'static str,
        /// Whether it gives way to a stop.
        gives_way: bool,
    },
    /// The operation was given up, because the service is to be stopped.
    #[error("this {operation} of {service} was given up: somebody stops the service")]
    GaveWay {
        /// The service.
        service: ServiceName,
        /// What was under way.
        operation: &'static str,
    },
    /// What was under way could be neither finished nor undone yet.
    #[error(
        "the {operation} of {service} could be neither finished nor undone yet; the agent goes on trying, and stops the service then; its journal says what keeps it: repeat mcp stop {service}"
    )]
    NotUndone {
        /// The service.
        service: ServiceName,
        /// What it is.
        operation: String,
    },
    /// The service was deployed by somebody else in between.
    #[error("{service} was changed while this was being planned; look at it and try again")]
    Overtaken {
        /// The service.
        service: ServiceName,
    },
    /// The service cannot be where the boot sequence puts it.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// What the boot order was made from cannot be written down.
    #[error("the boot order cannot be written down")]
    BootRecord(#[source] serde_json::Error),
    /// The unit directories cannot be read.
    #[error("cannot read the unit directories")]
    LoadPath(#[source] std::io::Error),
    /// Something cannot be done to a single component.
    #[error("{0}")]
    WholeServiceOnly(&'static str),
    /// Podman has another network of that name.
    #[error(
        "podman has a network {network} already, which is another one, and would be taken as it is; podman network inspect {network} shows it: remove it, or give this one another name"
    )]
    OtherNetwork {
        /// The network.
        network: NetworkName,
    },
    /// Other services need this one.
    #[error("{} on {service}; undeploy them first", depend(.others))]
    Needed {
        /// The service.
        service: ServiceName,
        /// Those that need it.
        others: Vec<ServiceName>,
    },
    /// A service cannot be handed over as it is.
    #[error("{service} cannot be released: {why}")]
    NotReleasable {
        /// The service.
        service: ServiceName,
        /// What stands against it, and what mends it.
        why: String,
    },
    /// What is to be taken over is ours already.
    #[error("{service} is MCP's already; mcp service export {service} writes its definition")]
    IsOurs {
        /// The service.
        service: ServiceName,
    },
    /// An earlier takeover has not come to its end.
    #[error(
        "a takeover of {service} is still being finished or undone; the agent's journal says what keeps it"
    )]
    Unsettled {
        /// The service.
        service: ServiceName,
    },
    /// There is nothing to take over.
    #[error("no container called {service} or {service}-* runs{}", stopped(left_alone))]
    NothingRuns {
        /// The service.
        service: ServiceName,
        /// Containers of that name that do not run.
        left_alone: Vec<String>,
    },
    /// No definition can be made of what runs.
    #[error("it cannot be taken over")]
    NotAdoptable(#[source] crate::import::containers::ContainersError),
    /// What a takeover puts aside cannot be written down, or read.
    #[error("what is put aside cannot be written down")]
    AdoptionJournal(#[source] std::io::Error),
    /// What ran before does not come up again.
    #[error("{unit} does not come up again: {result}")]
    NotBack {
        /// Its unit.
        unit: UnitName,
        /// How its start ended.
        result: String,
    },
    /// There is no usable podman.
    #[error("this node cannot deploy: {0}")]
    Podman(String),
    /// Podman did not do what was asked.
    #[error(transparent)]
    PodmanCall(#[from] crate::podman::PodmanError),
    /// The generator cannot be asked.
    #[error("podman's generator cannot be asked")]
    Generator(#[from] GeneratorError),
    /// The registry did not do what was asked.
    #[error("the registry failed")]
    Registry(#[from] RegistryError),
    /// systemd did not do what was asked.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// The unit directories could not be changed.
    #[error("the unit directories could not be changed")]
    Units(#[from] UnitsError),
    /// What the registry holds cannot be read.
    #[error("the registry holds a {what} of {service} that cannot be read")]
    Stored {
        /// What it is.
        what: &'static str,
        /// The service.
        service: ServiceName,
        /// Why.
        source: serde_json::Error,
    },
    /// A task of the agent ended early.
    #[error("a task of the agent was lost")]
    Lost(#[source] tokio::task::JoinError),
    /// A state of a deploy that cannot follow: a mistake of ours.
    #[error(transparent)]
    Transition(#[from] crate::agent::deploy_state::IllegalTransition),
}

/// Says what to do about an operation that is under way.
fn way_out(service: &ServiceName, gives_way: bool) -> String {
    if gives_way {
        format!(
            "wait for it to end: mcp explain {service} says what it waits for; or give it up and stop the service: mcp stop {service}"
        )
    } else {
        format!("wait for it to end: mcp status {service}")
    }
}

fn paths(service: &ServiceName, components: &[String]) -> String {
    components.iter().map(|c| format!("{service}/{c}")).collect::<Vec<_>>().join(", ")
}

fn stopped(containers: &[String]) -> String {
    if containers.is_empty() {
        return String::new();
    }
    format!("; {} does not: podman start {0}", containers.join(" "))
}

fn numbers(generations: &[Generation]) -> String {
    generations.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn joined(errors: &[ResolveError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn depend(others: &[ServiceName]) -> String {
    let names = others.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", ");
    if others.len() == 1 { format!("{names} depends") } else { format!("{names} depend") }
}
