//! The Mesos client against the embedded master: HTTP, streams and processes as they are.

use dagpkg::mesos::{Backoff, CallError, Client, Connection, Events, StreamEnd, SubscribeError};
use dagpkg::sandbox::{Cluster, ClusterConfig};
use dagpkg::wire::{
    Accept, Acknowledge, Call, CallType, Capability, CommandInfo, Decline, Event, EventType, Filters,
    FrameworkInfo, Launch, Offer, Operation, OperationType, Resource, Roles, Subscribe, TaskInfo, TaskState,
};
use std::path::Path;
use std::time::Duration;

const ROLE: &str = "hello-role";

async fn cluster(dir: &Path, port: u16) -> Cluster {
    let config = ClusterConfig {
        dir: dir.to_owned(),
        port,
        agents: 1,
        cpus: 4.0,
        mem: 1024.0,
        disk: 1024.0,
        ports: (20_000, 20_100),
        attributes: Vec::new(),
        vip_domain: dagpkg::sandbox::vip::DOMAIN.to_owned(),
    };
    Cluster::start(config).await.unwrap()
}

fn subscribe(id: Option<&str>) -> Subscribe {
    Subscribe {
        framework_info: FrameworkInfo {
            user: "root".to_owned(),
            name: "hello-world".to_owned(),
            id: id.map(Into::into),
            roles: vec![ROLE.to_owned()],
            failover_timeout: Some(3600.0),
            capabilities: ["MULTI_ROLE", "RESERVATION_REFINEMENT", "PARTITION_AWARE"]
                .map(|name| Capability { r#type: name.to_owned() })
                .into(),
            ..FrameworkInfo::default()
        },
        ..Subscribe::default()
    }
}

fn client(cluster: &Cluster) -> Client {
    Client::new(cluster.master_url().parse().unwrap(), None).unwrap()
}

fn call(kind: CallType) -> Call {
    Call { r#type: kind, ..Call::default() }
}

/// The next event of a kind; others are passed over.
async fn next(events: &mut Events, kind: EventType) -> Event {
    let found = async {
        loop {
            let event = events.next().await.unwrap();
            if event.r#type == kind {
                return event;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.unwrap_or_else(|_| panic!("no {kind:?} came"))
}

async fn end_of(events: &mut Events) -> StreamEnd {
    let end = async {
        loop {
            if let Err(end) = events.next().await {
                return end;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), end).await.expect("the stream did not end")
}

async fn offer(events: &mut Events) -> Offer {
    next(events, EventType::Offers).await.offers.unwrap().offers.remove(0)
}

/// A tenth of a CPU and some memory of an offer, allocated as the offer is.
fn some_resources(offer: &Offer) -> Vec<Resource> {
    let take = |name: &str, amount: f64| {
        let mut resource = offer.resources.iter().find(|r| r.name == name).unwrap().clone();
        resource.scalar.as_mut().unwrap().value = amount;
        resource
    };
    vec![take("cpus", 0.1), take("mem", 32.0)]
}

/// Launches a shell command under a task's name and sees it to its end, acknowledging each status.
async fn run_task(connection: &Connection, events: &mut Events, name: &str, command: &str) -> Vec<TaskState> {
    let offer = offer(events).await;
    let task = TaskInfo {
        name: name.to_owned(),
        task_id: name.into(),
        agent_id: offer.agent_id.clone(),
        resources: some_resources(&offer),
        command: Some(CommandInfo {
            shell: Some(true),
            value: Some(command.to_owned()),
            ..CommandInfo::default()
        }),
        ..TaskInfo::default()
    };
    let launch = Operation {
        r#type: OperationType::Launch,
        launch: Some(Launch { task_infos: vec![task] }),
        ..Operation::default()
    };
    let accept = Accept { offer_ids: vec![offer.id], operations: vec![launch], filters: None };
    connection.call(&Call { accept: Some(accept), ..call(CallType::Accept) }).await.unwrap();
    let mut seen = Vec::new();
    loop {
        let status = next(events, EventType::Update).await.update.unwrap().status;
        if seen.last() != Some(&status.state) {
            seen.push(status.state);
        }
        if let (Some(uuid), Some(agent_id)) = (status.uuid, status.agent_id) {
            let acknowledge = Acknowledge { agent_id, task_id: status.task_id, uuid };
            let acknowledge = Call { acknowledge: Some(acknowledge), ..call(CallType::Acknowledge) };
            connection.call(&acknowledge).await.unwrap();
        }
        if status.state.is_terminal() {
            return seen;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_subscribes_declines_revives_and_runs_a_task() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = cluster(folder.path(), 0).await;
    let (connection, mut events) = client(&cluster).subscribe(&subscribe(None)).await.unwrap();
    let first = events.next().await.unwrap();
    assert_eq!(&first.subscribed.unwrap().framework_id, connection.framework_id());

    let declined = offer(&mut events).await;
    let filters = Some(Filters { refuse_seconds: Some(600.0) });
    let decline = Decline { offer_ids: vec![declined.id.clone()], filters };
    connection.call(&Call { decline: Some(decline), ..call(CallType::Decline) }).await.unwrap();
    let revive = Some(Roles { roles: vec![ROLE.to_owned()] });
    connection.call(&Call { revive, ..call(CallType::Revive) }).await.unwrap();

    let proof = folder.path().join("proof");
    let states =
        run_task(&connection, &mut events, "hello", &format!("echo done > {}", proof.display())).await;
    assert_eq!(states, [TaskState::Starting, TaskState::Running, TaskState::Finished]);
    assert_eq!(std::fs::read_to_string(&proof).unwrap(), "done\n");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_of_two_subscriptions_ends_and_its_calls_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = cluster(folder.path(), 0).await;
    let (old, mut old_events) = client(&cluster).subscribe(&subscribe(None)).await.unwrap();
    let id = old.framework_id().value.clone();
    let (new, mut new_events) = client(&cluster).subscribe(&subscribe(Some(&id))).await.unwrap();
    assert_eq!(new.framework_id(), old.framework_id());
    let end = end_of(&mut old_events).await;
    assert!(matches!(&end, StreamEnd::Error(text) if text == "Framework failed over"), "{end:?}");
    let refused = old.call(&call(CallType::Suppress)).await.unwrap_err();
    assert!(matches!(refused, CallError::Refused { .. }), "{refused:?}");
    new.call(&call(CallType::Revive)).await.unwrap();
    offer(&mut new_events).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_a_stream_are_not_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = cluster(folder.path(), 0).await;
    let (connection, events) = client(&cluster).subscribe(&subscribe(None)).await.unwrap();
    drop(events);
    // The master notices the closed stream a moment later.
    let refused = async {
        loop {
            if let Err(error) = connection.call(&call(CallType::Revive)).await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let refused = tokio::time::timeout(Duration::from_secs(20), refused).await.unwrap();
    assert!(matches!(refused, CallError::Forbidden { .. }), "{refused:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_that_was_torn_down_cannot_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = cluster(folder.path(), 0).await;
    let (connection, mut events) = client(&cluster).subscribe(&subscribe(None)).await.unwrap();
    connection.call(&call(CallType::Teardown)).await.unwrap();
    end_of(&mut events).await;
    let id = connection.framework_id().value.clone();
    let mut backoff = Backoff::default();
    let refused = client(&cluster).connect(&subscribe(Some(&id)), &mut backoff).await.unwrap_err();
    assert!(
        matches!(&refused, SubscribeError::Ended { message, .. } if message == "Framework has been removed"),
        "{refused:?}"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_the_master_the_framework_is_itself_again() {
    let folder = tempfile::tempdir().unwrap();
    let first = cluster(folder.path(), 0).await;
    let port = first.master_url().rsplit(':').next().unwrap().parse().unwrap();
    let mut client = client(&first);
    let (connection, mut events) = client.subscribe(&subscribe(None)).await.unwrap();
    let id = connection.framework_id().value.clone();
    first.stop().await;
    end_of(&mut events).await;

    let waiting = tokio::spawn(async move {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(200));
        client
            .connect(&subscribe(Some(&id)), &mut backoff)
            .await
            .map(|(connection, events)| (id, connection, events))
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished(), "it subscribed without a master");
    let second = cluster(folder.path(), port).await;
    let subscribed = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap();
    let (id, connection, mut events) = subscribed.unwrap();
    assert_eq!(connection.framework_id().value, id);
    let states = run_task(&connection, &mut events, "again", "exit 3").await;
    assert_eq!(states.last(), Some(&TaskState::Failed));
    second.stop().await;
}
