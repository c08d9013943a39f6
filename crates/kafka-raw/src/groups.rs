//! `DescribeConfigs` of a consumer group, which rdkafka has under no name of its own.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    ClientContext,
    bindings::{
        rd_kafka_ConfigEntry_name, rd_kafka_ConfigEntry_value, rd_kafka_ConfigResource_configs,
        rd_kafka_ConfigResource_destroy, rd_kafka_ConfigResource_error,
        rd_kafka_ConfigResource_new, rd_kafka_DescribeConfigs,
        rd_kafka_DescribeConfigs_result_resources, rd_kafka_ResourceType_t, rd_kafka_admin_op_t,
        rd_kafka_event_DescribeConfigs_result,
    },
    client::Client,
    error::RDKafkaErrorCode,
};

use super::{
    CStr, CString,
    admin::{Guard, ask},
    rd_kafka_resp_err_t, slice,
};

/// The properties of a group as its coordinator holds to them, from Kafka 4.0. Blocks for `timeout`
/// at most. See `has_controller`.
pub fn describe_group_configs<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    timeout: Duration,
) -> Result<BTreeMap<String, String>, RDKafkaErrorCode> {
    let name = CString::new(group).map_err(|_| RDKafkaErrorCode::InvalidGroupId)?;
    // SAFETY: librdkafka copies the resource, which is destroyed once, by its guard; what is read
    // belongs to the event, which outlives the reading.
    unsafe {
        let resource = rd_kafka_ConfigResource_new(
            rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_GROUP,
            name.as_ptr(),
        );
        if resource.is_null() {
            return Err(RDKafkaErrorCode::InvalidGroupId);
        }
        let _resource = Guard(|| rd_kafka_ConfigResource_destroy(resource));
        let mut resources = [resource];
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
                    return Err(RDKafkaErrorCode::Fail);
                }
                let described = *described;
                let error = rd_kafka_ConfigResource_error(described);
                if error != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    return Err(error.into());
                }
                let mut count = 0;
                let entries = rd_kafka_ConfigResource_configs(described, &raw mut count);
                if entries.is_null() || count == 0 {
                    return Ok(BTreeMap::new());
                }
                let text = |text: *const std::ffi::c_char| {
                    (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
                };
                Ok(slice::from_raw_parts(entries, count)
                    .iter()
                    .filter_map(|entry| {
                        let name = text(rd_kafka_ConfigEntry_name(*entry))?;
                        Some((name, text(rd_kafka_ConfigEntry_value(*entry))?))
                    })
                    .collect())
            },
        )
    }
}
