//! `DescribeConfigs`, through a client that is there already, and of groups, which rdkafka has under no
//! name of its own.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    ClientContext,
    bindings::{
        rd_kafka_ConfigEntry_name, rd_kafka_ConfigEntry_value, rd_kafka_ConfigResource_configs,
        rd_kafka_ConfigResource_destroy, rd_kafka_ConfigResource_error,
        rd_kafka_ConfigResource_name, rd_kafka_ConfigResource_new, rd_kafka_ConfigResource_t,
        rd_kafka_DescribeConfigs, rd_kafka_DescribeConfigs_result_resources,
        rd_kafka_ResourceType_t, rd_kafka_admin_op_t, rd_kafka_event_DescribeConfigs_result,
    },
    client::Client,
    error::RDKafkaErrorCode,
};

use super::{
    CStr, CString,
    admin::{Guard, ask},
    c_char, rd_kafka_resp_err_t, slice,
};

/// The properties of one topic or group, or why they are not told.
pub type Properties = Result<BTreeMap<String, String>, RDKafkaErrorCode>;

/// The properties of a group as its coordinator holds to them, from Kafka 4.0. Blocks for `timeout`
/// at most. See `has_controller`.
pub fn describe_group_configs<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    timeout: Duration,
) -> Properties {
    let of_group = rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_GROUP;
    let mut all = describe(client, of_group, &[group], timeout)?;
    all.remove(group).unwrap_or(Err(RDKafkaErrorCode::InvalidGroupId))
}

/// The properties of topics, by name; those in force, whoever set them. Blocks for `timeout` at most.
/// See `has_controller`.
pub fn describe_topic_configs<C: ClientContext>(
    client: &Client<C>,
    topics: &[&str],
    timeout: Duration,
) -> Result<BTreeMap<String, Properties>, RDKafkaErrorCode> {
    describe(client, rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, topics, timeout)
}

fn describe<C: ClientContext>(
    client: &Client<C>,
    kind: rd_kafka_ResourceType_t,
    names: &[&str],
    timeout: Duration,
) -> Result<BTreeMap<String, Properties>, RDKafkaErrorCode> {
    let mut unique = names.to_vec();
    unique.sort_unstable();
    unique.dedup();
    let mut resources: Vec<*mut rd_kafka_ConfigResource_t> = unique
        .into_iter()
        .filter_map(|name| CString::new(name).ok())
        // SAFETY: the name is copied; each one that is made is destroyed once, by the guard.
        .map(|name| unsafe { rd_kafka_ConfigResource_new(kind, name.as_ptr()) })
        .filter(|resource| !resource.is_null())
        .collect();
    if resources.is_empty() {
        return Ok(BTreeMap::new());
    }
    let made = resources.clone();
    let _made = Guard(move || {
        for resource in &made {
            // SAFETY: see above.
            unsafe { rd_kafka_ConfigResource_destroy(*resource) };
        }
    });
    // SAFETY: librdkafka copies the resources; what is read belongs to the event, which outlives the
    // reading.
    unsafe {
        ask(
            client,
            rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS,
            timeout,
            |handle, options, queue| {
                rd_kafka_DescribeConfigs(
                    handle,
                    resources.as_mut_ptr(),
                    resources.len(),
                    options,
                    queue,
                );
            },
            |event| {
                let result = rd_kafka_event_DescribeConfigs_result(event);
                if result.is_null() {
                    return Err(RDKafkaErrorCode::Fail);
                }
                let mut count = 0;
                let described = rd_kafka_DescribeConfigs_result_resources(result, &raw mut count);
                if described.is_null() || count == 0 {
                    return Ok(BTreeMap::new());
                }
                let described = slice::from_raw_parts(described, count);
                let all = described.iter().filter_map(|resource| {
                    Some((text(rd_kafka_ConfigResource_name(*resource))?, properties(*resource)))
                });
                Ok(all.collect())
            },
        )
    }
}

/// # Safety
/// `resource` belongs to an event that is alive.
unsafe fn properties(resource: *const rd_kafka_ConfigResource_t) -> Properties {
    // SAFETY: the caller's promise.
    unsafe {
        let error = rd_kafka_ConfigResource_error(resource);
        if error != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(error.into());
        }
        let mut count = 0;
        let entries = rd_kafka_ConfigResource_configs(resource, &raw mut count);
        if entries.is_null() || count == 0 {
            return Ok(BTreeMap::new());
        }
        let entries = slice::from_raw_parts(entries, count).iter().filter_map(|entry| {
            let name = text(rd_kafka_ConfigEntry_name(*entry))?;
            Some((name, text(rd_kafka_ConfigEntry_value(*entry))?))
        });
        Ok(entries.collect())
    }
}

/// # Safety
/// `text` is null, or ends with a NUL and is alive.
unsafe fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
