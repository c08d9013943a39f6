//! One administrative request through a client that is there already.

use std::{
    ffi::c_char,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext,
    bindings::{
        rd_kafka_AdminOptions_destroy, rd_kafka_AdminOptions_new,
        rd_kafka_AdminOptions_set_request_timeout, rd_kafka_AdminOptions_t, rd_kafka_admin_op_t,
        rd_kafka_controllerid, rd_kafka_event_destroy, rd_kafka_event_error, rd_kafka_event_t,
        rd_kafka_queue_destroy, rd_kafka_queue_new, rd_kafka_queue_poll, rd_kafka_queue_t,
        rd_kafka_resp_err_t,
    },
    client::Client,
    error::{KafkaResult, RDKafkaErrorCode},
    types::RDKafka,
};

/// Whether the cluster names a controller among its brokers: librdkafka sends it administrative
/// requests, and waits in vain where there is none (librdkafka's mock cluster). `topic` is one that
/// the client works with: asking for all of them costs more. Blocks for `timeout` at most.
pub fn has_controller<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> KafkaResult<bool> {
    let metadata = client.fetch_metadata(Some(topic), timeout)?;
    // SAFETY: the client is alive while it is borrowed.
    let controller = unsafe { rd_kafka_controllerid(client.native_ptr(), 0) };
    Ok(metadata.brokers().iter().any(|broker| broker.id() == controller))
}

/// Ends with the block it is made in.
pub(crate) struct Guard<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for Guard<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Sends a request and reads its answer. Blocks for `timeout` at most.
///
/// # Safety
/// `send` hands the request to librdkafka, which copies what it is given; `read` keeps nothing of the
/// answer.
pub(crate) unsafe fn ask<C: ClientContext, T>(
    client: &Client<C>,
    operation: rd_kafka_admin_op_t,
    timeout: Duration,
    send: impl FnOnce(*mut RDKafka, *const rd_kafka_AdminOptions_t, *mut rd_kafka_queue_t),
    read: impl FnOnce(*mut rd_kafka_event_t) -> Result<T, RDKafkaErrorCode>,
) -> Result<T, RDKafkaErrorCode> {
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let handle = client.native_ptr();
    // SAFETY: each object is made here, used while the client lives, and destroyed once, by its
    // guard.
    unsafe {
        let options = rd_kafka_AdminOptions_new(handle, operation);
        let _options = Guard(|| rd_kafka_AdminOptions_destroy(options));
        let mut reason = [0 as c_char; 256];
        let refused = rd_kafka_AdminOptions_set_request_timeout(
            options,
            milliseconds.clamp(1, 3_600_000),
            reason.as_mut_ptr(),
            reason.len(),
        );
        if refused != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(refused.into());
        }
        let queue = rd_kafka_queue_new(handle);
        let _queue = Guard(|| rd_kafka_queue_destroy(queue));
        send(handle, options, queue);
        let event = wait(queue, timeout);
        if event.is_null() {
            return Err(RDKafkaErrorCode::OperationTimedOut);
        }
        let _event = Guard(|| rd_kafka_event_destroy(event));
        let error = rd_kafka_event_error(event);
        if error != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(error.into());
        }
        read(event)
    }
}

/// The answer, at the latest a moment after the request gave up by itself.
///
/// # Safety
/// `queue` is alive.
unsafe fn wait(queue: *mut rd_kafka_queue_t, timeout: Duration) -> *mut rd_kafka_event_t {
    let deadline = Instant::now() + timeout + Duration::from_millis(500);
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        let left = i32::try_from(left).unwrap_or(i32::MAX);
        // SAFETY: the caller's promise.
        let event = unsafe { rd_kafka_queue_poll(queue, left) };
        if !event.is_null() || left == 0 {
            return event;
        }
    }
}
