//! Deploys that cannot be undone, for there is no systemd.

use std::collections::BTreeSet;

use crate::agent::deploy_state::DeployState;
use crate::agent::engine::busy::tests::engine;
use crate::agent::engine::deploy::{self, Deploy};
use crate::agent::engine::{Engine, ImageWish, now_ms};
use crate::agent::progress::{Outcome, OutcomeKind};
use crate::deployment::{Deployment, Images, Leases, NodeFacts, resolve};
use crate::names::{Generation, ServiceName};
use crate::quadlet::UnitSet;
use crate::registry::{EventQuery, GenerationRow, NewOperation};

fn shop() -> ServiceName {
    "shop".parse().unwrap()
}

fn deployment() -> Deployment {
    let text = "name = \"shop\"\n[[components]]\nname = \"shop\"\nimage = \"localhost/shop:1\"\n";
    resolve(
        &crate::definition::load(text).unwrap(),
        &NodeFacts::default(),
        &Leases::new(),
        None,
        Generation(1),
    )
    .unwrap()
}

/// Leaves a deploy behind as an agent does that ends in the middle of it;
/// returns its operation.
pub(in crate::agent::engine) async fn cut_off(engine: &Engine, state: &str) -> i64 {
    let registry = engine.registry();
    let row = GenerationRow {
        service: shop(),
        number: Generation(1),
        definition: String::new(),
        file_name: "shop.toml".to_owned(),
        deployment: serde_json::to_string(&deployment()).unwrap(),
        files: serde_json::to_string(&UnitSet::new(shop(), true)).unwrap(),
        images: None,
        created_at_ms: 1,
        created_by: "kyle".to_owned(),
    };
    registry.insert_generation(row).await.unwrap();
    let operation = NewOperation {
        service: shop(),
        kind: deploy::KIND.to_owned(),
        state: state.to_owned(),
        from: Generation(0),
        to: Generation(1),
        started_at_ms: now_ms(),
        by: "kyle".to_owned(),
    };
    registry.begin_operation(operation).await.unwrap()
}

async fn told(engine: &Engine) -> Vec<String> {
    let query = EventQuery { limit: 100, ..EventQuery::default() };
    let events = engine.tools().events.select(query).await.unwrap();
    events.into_iter().map(|row| format!("{} {}", row.kind, row.reason)).collect()
}

#[tokio::test]
async fn what_is_recovered_is_known_until_it_is_settled() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path()).await;
    cut_off(&engine, r#"{"state":"pulling"}"#).await;
    assert_eq!(engine.deployments().len(), 0);
    let found = engine.cut_off().await.unwrap();
    assert_eq!(engine.deployments()[0].service, shop());
    drop(found);
    assert_eq!(engine.deployments().len(), 0);
}

async fn tried(engine: &Engine) {
    engine.recover(engine.cut_off().await.unwrap()).await;
}

/// Ends an operation as what undoes its deploy does at last.
async fn discarded(engine: &Engine, operation: i64) {
    let ended = (operation, "rolled back".to_owned(), now_ms());
    let discarded = engine.registry().discard_generation(&shop(), Generation(1), ended).await;
    assert!(discarded.unwrap());
}

#[tokio::test]
async fn what_cannot_be_undone_is_told_once_for_each_deploy() {
    for (state, why) in [
        (r#"{"state":"rolling_back","before":{},"reason":"it crashed"}"#, ": it crashed"),
        (r#"{"state":"pulling"}"#, ""),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let first = engine(dir.path()).await;
        let operation = cut_off(&first, state).await;
        for _ in 0..3 {
            tried(&first).await;
        }
        // Another agent knows what this one has told.
        let engine = engine(dir.path()).await;
        tried(&engine).await;
        let begins = "deploy_failed it could not be undone: ";
        let all = told(&engine).await;
        let [one] = all.as_slice() else { panic!("{all:?}") };
        // Once with why it was undone, and nothing twice.
        let message = one.strip_prefix(begins).and_then(|rest| rest.strip_suffix(why)).unwrap();
        assert!(!message.contains("undone") && !message.contains("crashed"), "{one}");

        // The next deploy that fails so is another, for all that it says.
        discarded(&engine, operation).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        cut_off(&engine, state).await;
        for _ in 0..2 {
            tried(&engine).await;
        }
        assert_eq!(told(&engine).await, [one.clone(), one.clone()]);
    }
}

#[tokio::test]
async fn what_is_undone_at_last_is_told_and_not_again() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path()).await;
    let operation = cut_off(&engine, r#"{"state":"pulling"}"#).await;
    let deploy = Deploy {
        operation,
        since_ms: 1,
        by: "kyle".to_owned(),
        service: shop(),
        old: None,
        old_images: Images::new(),
        from: Generation(0),
        new: deployment(),
        set: UnitSet::new(shop(), true),
        wish: ImageWish::AsThere,
        only: None,
        disk: None,
        state: DeployState::Pulling,
        cut_off: None,
        changed: BTreeSet::new(),
    };
    let outcome = |kind, message: &str| Outcome {
        service: shop(),
        kind,
        generation: Generation(0),
        message: message.to_owned(),
        failures: Vec::new(),
        changed: Vec::new(),
        elapsed: std::time::Duration::ZERO,
    };
    for message in ["the disk", "the disk is full", "the disk is full"] {
        engine.record_outcome(&outcome(OutcomeKind::Unsettled, message), &deploy).await;
    }
    engine.record_outcome(&outcome(OutcomeKind::RolledBack, "it is gone"), &deploy).await;
    engine.tell_settled(&shop()).await;
    let all =
        ["rolled_back it is gone", "deploy_failed the disk is full", "deploy_failed the disk"];
    let mut told = told(&engine).await;
    told.sort_by(|one, other| other.cmp(one));
    assert_eq!(told, all);
}
