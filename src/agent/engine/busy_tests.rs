//! A stop and what it takes a service from, without a node.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::*;
use crate::agent::engine::Tools;
use crate::agent::monitor::Events;
use crate::agent::progress::{Event, StepState};
use crate::agent::settings::{NodeSettings, PortRange};
use crate::names::Generation;
use crate::registry::{NewOperation, Registry};
use crate::systemd::{BusAddress, Manager};
use crate::units::UnitStore;

/// An engine with an empty registry, and no systemd.
pub(in crate::agent::engine) async fn engine(dir: &std::path::Path) -> Engine {
    let registry = Registry::open(&dir.join("mcp.db")).unwrap();
    let node = NodeSettings {
        name: "node".parse().unwrap(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        image_registry: None,
        ports: PortRange::DEFAULT,
    };
    let (events, _nobody) = Events::new(registry.clone(), node.name.clone());
    let tools = Tools {
        registry,
        manager: Manager::new(BusAddress::at(&dir.join("no-bus"))),
        store: UnitStore::new(&dir.join("config")),
        toolchain: Err("there is none".to_owned()),
        node,
        runtime: dir.join("run"),
        events,
        state_dir: dir.to_owned(),
        boot: Arc::default(),
        problems: crate::agent::problems::Problems::default(),
    };
    Engine::new(tools).await.unwrap()
}

fn shop() -> ServiceName {
    "shop".parse().unwrap()
}

/// Holds a service until it is to give way; tells whether it was.
async fn given_up(engine: Engine, operation: &'static str, held: mpsc::Sender<()>) -> bool {
    let _busy = engine.take(&shop(), operation).unwrap();
    held.send(()).await.unwrap();
    let forever = std::future::pending::<Result<(), EngineError>>();
    let ended = engine.unless_given_up(&shop(), forever).await;
    assert!(engine.gives_way(&shop()));
    matches!(ended, Err(EngineError::GaveWay { operation: told, .. }) if told == operation)
}

#[tokio::test]
async fn two_stops_of_a_deploy_and_one_of_them_waits_for_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path()).await;
    let (held, mut is_held) = mpsc::channel(1);
    let deploy = tokio::spawn(given_up(engine.clone(), deploy::KIND, held));
    is_held.recv().await.unwrap();
    assert!(matches!(
        engine.take(&shop(), lifecycle::START),
        Err(EngineError::Busy { gives_way: true, .. })
    ));

    let (service, unheard) = (shop(), Progress::unheard());
    let stop = || engine.take_over(&service, lifecycle::STOP, &unheard);
    let (one, other) = tokio::join!(stop(), stop());
    assert!(deploy.await.unwrap());
    // The one that came first has it, and does not give way to the other.
    let (got, refused) = if one.is_ok() { (one, other) } else { (other, one) };
    assert_eq!(got.unwrap().1, Some(deploy::KIND));
    assert!(matches!(
        refused,
        Err(EngineError::Busy { operation: lifecycle::STOP, gives_way: false, .. })
    ));
    assert_eq!(engine.under_way(&shop()), None);
}

#[tokio::test]
async fn what_does_not_give_way_ends_the_step_of_a_stop_that_waits() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path()).await;
    let busy = engine.take(&shop(), deploy::KIND).unwrap();
    let (tell, mut told) = mpsc::channel(8);
    let stop = {
        let engine = engine.clone();
        let progress = Progress::new(tell);
        tokio::spawn(async move {
            engine.take_over(&shop(), lifecycle::STOP, &progress).await.map(|(_, from)| from)
        })
    };
    let next = async |told: &mut mpsc::Receiver<Event>| match told.recv().await.unwrap() {
        Event::Step { name, state, .. } => (name, state),
        other @ (Event::Warning(_) | Event::Outcome(_)) => panic!("{other:?}"),
    };
    assert_eq!(next(&mut told).await, ("give up", StepState::Started));
    // Nothing comes between the two here: neither waits.
    drop(busy);
    let other = engine.take(&shop(), undeploy::UNDEPLOY).unwrap();
    assert_eq!(next(&mut told).await, ("give up", StepState::Failed));
    let refused = stop.await.unwrap().unwrap_err();
    assert!(matches!(refused, EngineError::Busy { gives_way: false, .. }), "{refused}");
    // What does not give way was not asked to, and what is done for it waits.
    assert!(!engine.gives_way(&shop()));
    let done = engine.unless_given_up(&shop(), async { Ok(1) }).await;
    assert_eq!(done.unwrap(), 1);
    drop(other);
}

#[tokio::test]
async fn what_makes_an_operation_give_way_is_nothing_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path()).await;
    let first = engine.take(&shop(), lifecycle::RESTART).unwrap();
    let Err((operation, Some(gives_way))) = engine.try_take(&shop(), lifecycle::STOP) else {
        panic!("a restart gives way")
    };
    drop(first);
    let second = engine.take(&shop(), deploy::KIND).unwrap();
    gives_way.cancel();
    assert_eq!((operation, engine.gives_way(&shop())), (lifecycle::RESTART, false));
    assert_eq!(engine.unless_given_up(&shop(), async { Ok(2) }).await.unwrap(), 2);
    drop(second);
    assert!(!engine.gives_way(&shop()));
}

#[tokio::test]
async fn a_stop_says_that_a_deploy_is_not_undone_and_is_kept_in_mind() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path()).await;
    let (service, unheard) = (shop(), Progress::unheard());
    let stop = || engine.stop(&service, "kyle", &unheard);
    assert!(matches!(stop().await, Err(EngineError::NotDeployed { .. })));
    let row = NewOperation {
        service: shop(),
        kind: deploy::KIND.to_owned(),
        state: r#"{"state":"pulling"}"#.to_owned(),
        from: Generation(0),
        to: Generation(1),
        started_at_ms: 1,
        by: "kyle".to_owned(),
    };
    engine.registry().begin_operation(row).await.unwrap();
    for _ in 0..2 {
        let refused = stop().await.unwrap_err();
        assert!(matches!(refused, EngineError::NotUndone { .. }), "{refused:?}");
        assert!(refused.to_string().ends_with("repeat mcp stop shop"), "{refused}");
    }
    // An agent that comes after this one knows of it.
    let written = dir.path().join("stops/shop");
    assert_eq!(std::fs::read_to_string(&written).unwrap(), "kyle");
    let engine = self::engine(dir.path()).await;
    assert_eq!(engine.stops().keys().collect::<Vec<_>>(), [&service]);
    // Nothing of it is in the registry: all that is left is its last line.
    engine.recover(engine.cut_off().await.unwrap()).await;
    assert!(engine.registry().unfinished_operations().await.unwrap().is_empty());
    assert!(!written.exists() && engine.stops().is_empty());
    let stop = || engine.stop(&service, "kyle", &unheard);
    assert!(matches!(stop().await, Err(EngineError::NotDeployed { .. })));
    assert_eq!(engine.under_way(&shop()), None);
}
