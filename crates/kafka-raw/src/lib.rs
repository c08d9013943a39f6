//! Reads through librdkafka what rdkafka 0.39 reads only by panicking, or not at all.
//!
//! `BorrowedHeaders::get` and `TopicPartitionListElem::metadata` unwrap the UTF-8 of texts that
//! another client wrote: one record with such a header would end every process that reads its
//! topic, again after each restart. Topic ids and leader epochs, which tell one log from the next one
//! of the same name, have no safe interface there. This crate alone may use `unsafe`; everything that it exports is
//! safe to call.

use std::{
    ffi::{CStr, CString, c_char},
    ptr, slice,
};

use rdkafka::{
    TopicPartitionList,
    bindings::{
        rd_kafka_header_add, rd_kafka_header_get_all, rd_kafka_headers_t, rd_kafka_message_headers,
        rd_kafka_message_leader_epoch, rd_kafka_resp_err_t,
        rd_kafka_topic_partition_get_leader_epoch, rd_kafka_topic_partition_set_leader_epoch,
    },
    message::{BorrowedMessage, OwnedHeaders},
};

mod admin;
mod configs;
mod topics;

pub use admin::has_controller;
pub use configs::{Properties, describe_group_configs, describe_topic_configs};
pub use topics::{DescribedTopic, describe_topics};

/// A header as it is on the wire, but for a name with a NUL: librdkafka ends it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawHeader {
    pub name: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// A record's headers, in their order.
pub fn headers(message: &BorrowedMessage<'_>) -> Vec<RawHeader> {
    let mut list: *mut rd_kafka_headers_t = ptr::null_mut();
    // SAFETY: the message is alive while it is borrowed, and owns the list that is returned.
    let error = unsafe { rd_kafka_message_headers(message.ptr(), &raw mut list) };
    if error != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || list.is_null() {
        return Vec::new();
    }
    let mut headers = Vec::new();
    loop {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list is not null and belongs to the borrowed message; an index beyond its
        // end is answered with an error.
        let error = unsafe {
            rd_kafka_header_get_all(
                list,
                headers.len(),
                &raw mut name,
                &raw mut value,
                &raw mut size,
            )
        };
        if error != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
            return headers;
        }
        // SAFETY: librdkafka ends every name with a NUL; it lives as long as the message.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes().to_vec();
        let value = (!value.is_null()).then(|| {
            // SAFETY: `size` bytes are at `value`, and live as long as the message.
            unsafe { slice::from_raw_parts(value.cast::<u8>(), size) }.to_vec()
        });
        headers.push(RawHeader { name, value });
    }
}

/// The metadata of each element of a list of offsets, in the list's order.
pub fn metadata(list: &TopicPartitionList) -> Vec<Vec<u8>> {
    // SAFETY: the list is alive while it is borrowed, and nothing changes it meanwhile.
    let list = unsafe { &*list.ptr() };
    let count = usize::try_from(list.cnt).unwrap_or(0);
    if list.elems.is_null() || count == 0 {
        return Vec::new();
    }
    // SAFETY: `elems` has `cnt` elements.
    let elements = unsafe { slice::from_raw_parts(list.elems, count) };
    let bytes = |element: &rdkafka::bindings::rd_kafka_topic_partition_t| {
        if element.metadata.is_null() {
            return Vec::new();
        }
        // SAFETY: `metadata_size` bytes are at `metadata`, which belongs to the element.
        unsafe {
            slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size).to_vec()
        }
    };
    elements.iter().map(bytes).collect()
}

/// The epoch of the leader that wrote a record; `None` where the broker does not say.
pub fn leader_epoch(message: &BorrowedMessage<'_>) -> Option<i32> {
    // SAFETY: the message is alive while it is borrowed.
    let epoch = unsafe { rd_kafka_message_leader_epoch(message.ptr()) };
    (epoch >= 0).then_some(epoch)
}

/// The leader epoch of each element of a list of offsets, in the list's order.
pub fn leader_epochs(list: &TopicPartitionList) -> Vec<Option<i32>> {
    (0..list.count())
        .map(|index| {
            // SAFETY: `index` is below `cnt`, and the list is alive while it is borrowed.
            let epoch = unsafe {
                rd_kafka_topic_partition_get_leader_epoch((*list.ptr()).elems.add(index))
            };
            (epoch >= 0).then_some(epoch)
        })
        .collect()
}

/// Sets the leader epoch of the element at `index`; an index beyond the list's end does nothing.
pub fn set_leader_epoch(list: &mut TopicPartitionList, index: usize, epoch: Option<i32>) {
    if index < list.count() {
        // SAFETY: `index` is below `cnt`, and the list is ours alone.
        unsafe {
            rd_kafka_topic_partition_set_leader_epoch(
                (*list.ptr()).elems.add(index),
                epoch.unwrap_or(-1),
            );
        }
    }
}

/// Adds a header whose name is any bytes, as a client in another language can: for tests.
/// `None`: librdkafka refuses it.
pub fn with_header(headers: OwnedHeaders, name: &[u8], value: &[u8]) -> Option<OwnedHeaders> {
    let (name_size, value_size) =
        (isize::try_from(name.len()).ok()?, isize::try_from(value.len()).ok()?);
    let list = ptr::from_ref(headers.as_borrowed()).cast_mut().cast::<rd_kafka_headers_t>();
    // SAFETY: a `BorrowedHeaders` is librdkafka's list itself; this one is ours alone, and both
    // slices are copied.
    let error = unsafe {
        rd_kafka_header_add(
            list,
            name.as_ptr().cast(),
            name_size,
            value.as_ptr().cast(),
            value_size,
        )
    };
    (error == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then_some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leader_epochs_are_kept_by_place() {
        let mut list = TopicPartitionList::new();
        list.add_partition("t", 0);
        list.add_partition("t", 1);
        assert_eq!(leader_epochs(&list), [None, None]);
        set_leader_epoch(&mut list, 1, Some(7));
        set_leader_epoch(&mut list, 2, Some(8));
        assert_eq!(leader_epochs(&list), [None, Some(7)]);
        assert_eq!(leader_epochs(&list.clone()), [None, Some(7)]);
        set_leader_epoch(&mut list, 1, None);
        assert_eq!(leader_epochs(&list), [None, None]);
    }

    #[test]
    fn metadata_is_read_whole_and_in_order() {
        let mut list = TopicPartitionList::new();
        for (partition, metadata) in [(0, "a\0b"), (1, ""), (2, "仓")] {
            list.add_partition("t", partition).set_metadata(metadata);
        }
        list.add_partition("t", 3);
        assert_eq!(metadata(&list), ["a\0b", "", "仓", ""].map(|text| text.as_bytes().to_vec()));
        assert!(metadata(&TopicPartitionList::new()).is_empty());
    }
}
