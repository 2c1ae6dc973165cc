//! Deploys that cannot be undone, for there is no systemd.

use crate::agent::engine::busy::tests::engine;
use crate::agent::engine::{Engine, deploy};
use crate::deployment::{Leases, NodeFacts, resolve};
use crate::names::{Generation, ServiceName};
use crate::quadlet::UnitSet;
use crate::registry::{EventQuery, GenerationRow, NewOperation};

fn shop() -> ServiceName {
    "shop".parse().unwrap()
}

/// Leaves a deploy behind as an agent does that ends in the middle of it.
async fn cut_off(engine: &Engine, state: &str) {
    let registry = engine.registry();
    let text = "name = \"shop\"\n[[components]]\nname = \"shop\"\nimage = \"localhost/shop:1\"\n";
    let deployment = resolve(
        &crate::definition::load(text).unwrap(),
        &NodeFacts::default(),
        &Leases::new(),
        None,
        Generation(1),
    )
    .unwrap();
    let row = GenerationRow {
        service: shop(),
        number: Generation(1),
        definition: String::new(),
        file_name: "shop.toml".to_owned(),
        deployment: serde_json::to_string(&deployment).unwrap(),
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
        started_at_ms: 1,
        by: "kyle".to_owned(),
    };
    registry.begin_operation(operation).await.unwrap();
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

#[tokio::test]
async fn what_cannot_be_undone_is_told_once_and_so_is_its_end() {
    for state in
        [r#"{"state":"rolling_back","before":{},"reason":"it crashed"}"#, r#"{"state":"pulling"}"#]
    {
        let dir = tempfile::tempdir().unwrap();
        let first = engine(dir.path()).await;
        cut_off(&first, state).await;
        for _ in 0..3 {
            tried(&first).await;
        }
        // Another agent knows what this one has told.
        let engine = engine(dir.path()).await;
        tried(&engine).await;
        let all = told(&engine).await;
        assert!(
            all.len() == 1 && all[0].starts_with("deploy_failed it could not be undone: "),
            "{all:?}"
        );

        engine.registry().discard_generation(&shop(), Generation(1)).await.unwrap();
        for _ in 0..2 {
            tried(&engine).await;
        }
        assert_eq!(told(&engine).await[1..], ["rolled_back nothing of it is left on the node"]);
    }
}
