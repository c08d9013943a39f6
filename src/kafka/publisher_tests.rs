//! The publisher against librdkafka's in-process broker, which can be made to fail.

use std::time::Duration;

use rdkafka::{
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use tokio::task::JoinSet;

use super::*;
use crate::kafka::ClientSettings;

const SOON: Duration = Duration::from_secs(10);

fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    cluster
}

fn publisher(
    cluster: &MockCluster<'static, DefaultProducerContext>,
    properties: &[(&str, &str)],
) -> Publisher {
    let settings =
        ClientSettings { bootstrap_servers: cluster.bootstrap_servers(), ..Default::default() };
    let mut config = settings.producer(SOON);
    for (name, value) in properties {
        config.set(*name, *value);
    }
    Publisher::new(config).unwrap()
}

fn record(number: usize) -> OutgoingRecord {
    let payload = Some(number.to_string().into_bytes());
    OutgoingRecord { topic: "t".to_owned(), payload, ..Default::default() }
}

/// Publishes until it succeeds; every failure on the way has to be one that asks to come again.
async fn until_published(publisher: &Publisher) {
    let deadline = Instant::now() + 6 * SOON;
    loop {
        match publisher.publish(record(0), SOON).await {
            Ok(_) => return,
            Err(PublishError::TimedOut { .. } | PublishError::Retriable { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        assert!(Instant::now() < deadline, "the producer is not rebuilt");
    }
}

/// Out of sequence at the head of the line: the idempotent producer gives up for good. What it held
/// is told "not known", and another takes over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_failed_for_good_is_rebuilt_and_what_it_held_is_answered() {
    let cluster = cluster();
    let publisher = publisher(&cluster, &[]);
    publisher.publish(record(0), SOON).await.unwrap();
    let failed = publisher.producer();
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    cluster.request_errors(RDKafkaApiKey::Produce, &[error]);
    let mut held = JoinSet::new();
    for number in 1..=50 {
        let publisher = publisher.clone();
        held.spawn(async move { publisher.publish(record(number), SOON).await });
    }
    let mut unknown = 0;
    for outcome in held.join_all().await {
        match outcome {
            Ok(_) => {}
            Err(PublishError::TimedOut { .. } | PublishError::Retriable { .. }) => unknown += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(unknown > 0, "the error was not met");
    assert!(failed.client().fatal_error().is_some());
    assert!(!Arc::ptr_eq(&failed, &publisher.producer()));
    until_published(&publisher).await;
    publisher.flush(SOON).await.unwrap();
}

/// A cluster that refuses the producer's id is fatal before anything is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_got_no_id_is_rebuilt() {
    let cluster = cluster();
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::InitProducerId, &[error]);
    let publisher = publisher(&cluster, &[]);
    let first = publisher.producer();
    until_published(&publisher).await;
    assert!(first.client().fatal_error().is_some());
    assert!(!Arc::ptr_eq(&first, &publisher.producer()));
}

/// The runtime's threads serve webhooks; ending a producer joins its thread and waits for brokers.
#[tokio::test]
async fn a_producer_ends_on_a_thread_of_its_own() {
    let cluster = cluster();
    let publisher = publisher(&cluster, &[]);
    cluster.broker_down(1).unwrap();
    let producer = publisher.producer();
    let (ends, mut ended) = oneshot::channel();
    enqueue(&producer, &record(2), ends).unwrap();
    drop(publisher);
    // The last one that holds it: with a record in it that no broker takes.
    drop(producer);
    assert!(ended.try_recv().is_err(), "dropping it waited for its end");
    drop(ended.await);
}

/// Beyond its own bound the client takes nothing more: a failure that asks to come again, at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_asks_to_come_again() {
    let cluster = cluster();
    let publisher = publisher(&cluster, &[("queue.buffering.max.messages", "1")]);
    publisher.publish(record(0), SOON).await.unwrap();
    publisher.flush(SOON).await.unwrap();
    cluster.broker_down(1).unwrap();
    let (sender, first) = oneshot::channel();
    enqueue(&publisher.producer(), &record(1), sender).unwrap();
    let refused = publisher.publish(record(2), SOON).await.unwrap_err();
    assert!(matches!(refused, PublishError::Retriable { .. }), "{refused}");
    cluster.broker_up(1).unwrap();
    // In the log or timed out: the client decides how soon it looks for the broker again.
    drop(first.await);
    until_published(&publisher).await;
}
