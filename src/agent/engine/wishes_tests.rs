//! Stops that an agent was left with: each is carried out or dropped.

use super::*;
use crate::agent::engine::busy::tests::engine;
use crate::agent::engine::told::tests::cut_off;
use crate::agent::engine::{deploy, undeploy};
use crate::names::Generation;
use crate::registry::Commit;

fn shop() -> ServiceName {
    "shop".parse().unwrap()
}

/// Has the service in force, and an agent begin that was left with a wish.
async fn deployed_and_to_be_stopped(dir: &Path) -> Engine {
    let before = engine(dir).await;
    let commit = Commit {
        operation: cut_off(&before, r#"{"state":"pulling"}"#).await,
        service: shop(),
        number: Generation(1),
        active: true,
        images: None,
        by: "kyle".to_owned(),
        at_ms: 1,
    };
    before.registry().commit(commit).await.unwrap();
    before.write_wish(&shop(), "kyle").await;
    engine(dir).await
}

/// Tells whether the wish is kept: in the file, and in memory.
fn kept(engine: &Engine) -> (bool, bool) {
    let file = engine.tools().state_dir.join("stops/shop");
    (file.exists(), engine.stops().contains_key(&shop()))
}

#[test]
fn what_cannot_be_read_does_not_take_the_rest_along() {
    let dir = tempfile::tempdir().unwrap();
    assert!(load(dir.path()).is_empty());
    write(dir.path(), &shop(), "kyle").unwrap();
    std::fs::create_dir(dir.path().join("stops/api")).unwrap();
    atomic_file::write(&dir.path().join("stops/web"), &[0xff], 0o600).unwrap();
    assert_eq!(load(dir.path()), BTreeMap::from([(shop(), "kyle".to_owned())]));
    for _ in 0..2 {
        remove(dir.path(), &shop()).unwrap();
    }
    assert!(load(dir.path()).is_empty());
}

#[tokio::test]
async fn a_stop_with_nothing_to_undo_comes_before_what_a_person_starts() {
    let dir = tempfile::tempdir().unwrap();
    let engine = deployed_and_to_be_stopped(dir.path()).await;
    let (service, unheard) = (shop(), Progress::unheard());
    let found = engine.cut_off().await.unwrap();
    assert_eq!(engine.under_way(&shop()), Some(lifecycle::STOP));
    let refused = engine.start(&service, "kyle", &unheard).await.unwrap_err();
    assert!(matches!(refused, EngineError::Busy { operation: lifecycle::STOP, .. }), "{refused}");
    // There is no systemd: it fails, and is tried again.
    engine.recover(found).await;
    engine.stuck().await;
    assert_eq!((kept(&engine), engine.under_way(&shop())), ((true, true), None));
    assert!(engine.registry().unfinished_operations().await.unwrap().is_empty());
    assert_eq!(engine.cut_off().await.unwrap().len(), 1);
    // A person's stop that fails as well takes nothing away.
    engine.stop(&service, "kyle", &unheard).await.unwrap_err();
    assert_eq!(kept(&engine), (true, true));
    // The last command wins, whatever comes of it.
    engine.start(&service, "kyle", &unheard).await.unwrap_err();
    assert_eq!(kept(&engine), (false, false));
    assert!(engine.cut_off().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_refused_drops_no_stop() {
    let dir = tempfile::tempdir().unwrap();
    let engine = deployed_and_to_be_stopped(dir.path()).await;
    let (service, unheard) = (shop(), Progress::unheard());
    // What does not give way.
    for operation in [lifecycle::RECOVERY, undeploy::UNDEPLOY] {
        let busy = engine.take(&service, operation).unwrap();
        engine.stop(&service, "kyle", &unheard).await.unwrap_err();
        engine.start(&service, "kyle", &unheard).await.unwrap_err();
        engine.stop_all_as_asked(&BTreeSet::new()).await;
        engine.stuck().await;
        assert_eq!(kept(&engine), (true, true), "{operation}");
        drop(busy);
    }
    // What waits for a deploy is written down, and is nothing to that deploy.
    engine.drop_wish(&service).await;
    engine.write_wish(&service, "kyle").await;
    engine.overrule_stop(&service).await;
    assert_eq!(kept(&engine), (true, false));
}

#[tokio::test]
async fn a_kept_stop_takes_the_service_from_what_nobody_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let engine = deployed_and_to_be_stopped(dir.path()).await;
    let heal = engine.take(&shop(), reconcile::HEAL).unwrap();
    let healing = engine.clone();
    let heal = tokio::spawn(async move {
        let forever = std::future::pending::<Result<(), EngineError>>();
        let ended = healing.unless_given_up(&shop(), forever).await;
        drop(heal);
        ended
    });
    engine.stop_all_as_asked(&BTreeSet::new()).await;
    assert!(matches!(heal.await.unwrap(), Err(EngineError::GaveWay { .. })));
    assert_eq!(kept(&engine), (true, true));
    // A deploy that has just begun drops it.
    let deploy = engine.take(&shop(), deploy::KIND).unwrap();
    engine.stop_all_as_asked(&BTreeSet::new()).await;
    assert!(!engine.gives_way(&shop()));
    drop(deploy);
}

#[tokio::test]
async fn what_was_lost_is_stopped_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &shop(), "kyle").unwrap();
    let engine = engine(dir.path()).await;
    engine.recover(engine.cut_off().await.unwrap()).await;
    assert_eq!(kept(&engine), (true, true));
    engine.stop_what_came_back().await;
    assert_eq!(kept(&engine), (false, false));
}
