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

fn settings(cluster: &MockCluster<'static, DefaultProducerContext>) -> ClientSettings {
    ClientSettings { bootstrap_servers: cluster.bootstrap_servers(), ..Default::default() }
}

fn publisher(
    cluster: &MockCluster<'static, DefaultProducerContext>,
    properties: &[(&str, &str)],
) -> Publisher {
    let mut config = settings(cluster).producer(SOON);
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

fn gathering(cluster: &MockCluster<'static, DefaultProducerContext>) -> Publisher {
    let settings = settings(cluster);
    Publisher::gathering(settings.producer(SOON), settings.gathering_producer(SOON)).unwrap()
}

/// What comes while others are on their way is gathered, and what comes then does not overtake it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_alone_goes_at_once_and_what_comes_with_others_is_gathered() {
    let cluster = cluster();
    let publisher = gathering(&cluster);
    let prompt = publisher.shared.prompt.get();
    for number in 0..3 {
        assert!(Arc::ptr_eq(&publisher.producer(), &prompt), "nothing is on its way");
        publisher.publish(record(number), SOON).await.unwrap();
    }
    cluster.broker_down(1).unwrap();
    let mut delivered = Vec::new();
    for number in 0..10 {
        let producer = publisher.producer();
        assert_eq!(Arc::ptr_eq(&producer, &prompt), number < MOST_PROMPT, "record {number}");
        let (sender, receiver) = oneshot::channel();
        enqueue(&producer, &record(number), sender).unwrap();
        delivered.push(receiver);
    }
    assert_eq!(publisher.in_flight(), 10);
    cluster.broker_up(1).unwrap();
    for receiver in delivered {
        receiver.await.unwrap().unwrap();
    }
    assert_eq!(publisher.in_flight(), 0);
    assert!(Arc::ptr_eq(&publisher.producer(), &prompt), "everything is confirmed");
}

/// A record that a producer does not take is not on its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_taken_does_not_count() {
    let cluster = cluster();
    let publisher = gathering(&cluster);
    let large = OutgoingRecord { payload: Some(vec![0; 2_000_000]), ..record(0) };
    let refused = publisher.publish(large, SOON).await.unwrap_err();
    assert!(matches!(refused, PublishError::TooLarge { .. }), "{refused}");
    let counts: Vec<_> = publisher.producers().iter().map(|one| one.on_their_way()).collect();
    assert_eq!(counts, [0, 0, 0]);
}

/// The producer that gathers fails for good: it alone is rebuilt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gathering_producer_that_failed_for_good_is_rebuilt() {
    let cluster = cluster();
    let publisher = gathering(&cluster);
    let (prompt, failed) = (publisher.shared.prompt.get(), publisher.producers()[1].clone());
    // As if others were on their way all the time.
    prompt.on_their_way.fetch_add(MOST_PROMPT, Ordering::Relaxed);
    publisher.publish(record(0), SOON).await.unwrap();
    assert_eq!(failed.client().fatal_error(), None);
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    cluster.request_errors(RDKafkaApiKey::Produce, &[error]);
    until_published(&publisher).await;
    assert!(failed.client().fatal_error().is_some());
    assert!(!Arc::ptr_eq(&failed, &publisher.producers()[1]));
    assert!(Arc::ptr_eq(&prompt, &publisher.producers()[0]));
}

/// What waited in a spool has an order: none of it may go by the faster way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_an_order_goes_one_way() {
    let cluster = cluster();
    let publisher = gathering(&cluster);
    cluster.broker_down(1).unwrap();
    let records: Vec<_> = (0..10).map(record).collect();
    let sending = records.iter().map(|record| publisher.publish_in_order(record, SOON));
    let sending = futures_util::future::join_all(sending);
    tokio::pin!(sending);
    assert!(futures_util::poll!(&mut sending).is_pending());
    let counts: Vec<_> = publisher.producers().iter().map(|one| one.on_their_way()).collect();
    assert_eq!(counts, [0, 10]);
    cluster.broker_up(1).unwrap();
    let mut offsets: Vec<_> = sending.await.into_iter().map(|sent| sent.unwrap().1).collect();
    assert!(offsets.is_sorted(), "{offsets:?}");
    offsets.dedup();
    assert_eq!(offsets.len(), 10);
}

/// A missing right: a broker that answers does not take what is written. The next record that is taken
/// says that it does again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_known_until_something_is_taken() {
    let cluster = cluster();
    let publisher = publisher(&cluster, &[]);
    publisher.publish(record(0), SOON).await.unwrap();
    assert_eq!(publisher.refused(), None);
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[error]);
    let refused = publisher.publish(record(1), SOON).await;
    assert!(matches!(refused, Err(PublishError::Refused { .. })), "{refused:?}");
    assert!(publisher.refused().is_some_and(|why| why.contains("`t`")));
    publisher.reachable("t".to_owned(), SOON).await.unwrap();
    until_published(&publisher).await;
    assert_eq!(publisher.refused(), None);
}
