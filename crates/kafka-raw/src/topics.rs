//! `DescribeTopics`: what a topic is, beyond its name.

use std::time::Duration;

use rdkafka::{
    ClientContext,
    bindings::{
        rd_kafka_DescribeTopics, rd_kafka_DescribeTopics_result_topics,
        rd_kafka_TopicCollection_destroy, rd_kafka_TopicCollection_of_topic_names,
        rd_kafka_TopicDescription_error, rd_kafka_TopicDescription_name,
        rd_kafka_TopicDescription_partitions, rd_kafka_TopicDescription_t,
        rd_kafka_TopicDescription_topic_id, rd_kafka_Uuid_least_significant_bits,
        rd_kafka_Uuid_most_significant_bits, rd_kafka_admin_op_t, rd_kafka_error_code,
        rd_kafka_event_DescribeTopics_result,
    },
    client::Client,
    error::RDKafkaErrorCode,
};

use super::{
    CStr, CString,
    admin::{Guard, ask},
    c_char, rd_kafka_resp_err_t, slice,
};

/// A topic as the cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedTopic {
    pub name: String,
    /// Its id, new with each topic of that name; `None` where the broker has none (before 2.8).
    pub id: Option<u128>,
    pub partitions: i32,
    /// Why it is not described: unknown, or not for this principal.
    pub error: Option<RDKafkaErrorCode>,
}

/// Describes topics, in no order; a name with a NUL is left out. Blocks for `timeout` at most.
/// See `has_controller`.
pub fn describe_topics<C: ClientContext>(
    client: &Client<C>,
    names: &[&str],
    timeout: Duration,
) -> Result<Vec<DescribedTopic>, RDKafkaErrorCode> {
    // librdkafka refuses a name that is there twice.
    let mut unique = names.to_vec();
    unique.sort_unstable();
    unique.dedup();
    let texts: Vec<CString> =
        unique.into_iter().filter_map(|name| CString::new(name).ok()).collect();
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let mut pointers: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
    // SAFETY: librdkafka copies the names, whose collection is destroyed once, by its guard; what is
    // read belongs to the event, which outlives the reading.
    unsafe {
        let collection =
            rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let _collection = Guard(|| rd_kafka_TopicCollection_destroy(collection));
        ask(
            client,
            rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            timeout,
            |handle, options, queue| rd_kafka_DescribeTopics(handle, collection, options, queue),
            |event| {
                let result = rd_kafka_event_DescribeTopics_result(event);
                if result.is_null() {
                    return Err(RDKafkaErrorCode::Fail);
                }
                let mut count = 0;
                let topics = rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
                if topics.is_null() || count == 0 {
                    return Ok(Vec::new());
                }
                let topics = slice::from_raw_parts(topics, count);
                Ok(topics.iter().map(|topic| described(*topic)).collect())
            },
        )
    }
}

/// # Safety
/// `topic` is a description whose event is alive.
unsafe fn described(topic: *const rd_kafka_TopicDescription_t) -> DescribedTopic {
    // SAFETY: the caller's promise; what is returned belongs to the event.
    unsafe {
        let name = rd_kafka_TopicDescription_name(topic);
        let name = if name.is_null() {
            String::new()
        } else {
            CStr::from_ptr(name).to_string_lossy().into_owned()
        };
        let error = rd_kafka_TopicDescription_error(topic);
        let error = if error.is_null() {
            rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        } else {
            rd_kafka_error_code(error)
        };
        let id = rd_kafka_TopicDescription_topic_id(topic);
        let id = if id.is_null() {
            0
        } else {
            let high = rd_kafka_Uuid_most_significant_bits(id).cast_unsigned();
            let low = rd_kafka_Uuid_least_significant_bits(id).cast_unsigned();
            u128::from(high) << 64 | u128::from(low)
        };
        let mut partitions = 0;
        rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
        DescribedTopic {
            name,
            id: (id != 0).then_some(id),
            partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
            error: (error != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::{
        ClientConfig,
        consumer::{BaseConsumer, Consumer},
        mocking::MockCluster,
    };

    use super::*;
    use crate::has_controller;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a client of the test's own")]
    fn the_mock_cluster_has_no_controller() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("a", 1, 1).unwrap();
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("group.id", "g")
            .create()
            .unwrap();
        let timeout = Duration::from_secs(10);
        assert_eq!(has_controller(consumer.client(), "a", timeout), Ok(false));
        assert_eq!(describe_topics(consumer.client(), &["x\0"], timeout), Ok(Vec::new()));
    }
}
